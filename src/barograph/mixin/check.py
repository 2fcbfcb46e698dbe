"""Whether the queries of a mixin's folder still ask for something that exists, and whether panels answer on a real Prometheus."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from barograph import naming
from barograph.mixin.provisioning import rule_files
from barograph.mixin.write import MixinError

HOUR, STEP = 3600, 60
NO_DATA = "no data"  # what an empty panel says that does not say what that means
TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A query that is not right: the file and the panel or rule, what is wrong in a sentence, and the query."""

    path: str
    where: str
    text: str
    query: str

    def __str__(self) -> str:
        return f"{self.path}, {self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel or a rule."""

    path: str
    where: str
    expression: str
    variables: Mapping[str, str] = field(default_factory=dict)  # of the dashboard, each as wide as it can be
    empty: str = ""  # what a panel says where it has nothing to show

    def finding(self, text: str) -> Finding:
        """What is wrong with it."""
        return Finding(self.path, self.where, text, self.expression)


def check(folder: str | Path, prometheus_url: str | None = None) -> list[Finding]:
    """What is wrong with the queries of a folder.

    A metric is gone if its name is of ours, and neither `naming` nor a rule of the folder makes it. With the address of a
    Prometheus, every panel is also asked there, over the last hour. One that answers nothing is right where Prometheus has all of
    its metrics and the panel says what it means to be empty.

    Raises:
        MixinError: the folder holds no mixin, a file in it cannot be read, Prometheus does not answer.
    """
    place = Path(folder)
    texts = _texts(place)
    rules = [query for path, text in texts.items() if path.endswith(".yaml") for query in _rules(path, text)]
    known = {query.where for query in rules} | _exposed()
    panels = [
        query for path, text in texts.items() if path.endswith(".json") for query in _panels(path, text)
    ]
    if not panels and not rules:
        raise MixinError(
            f"{str(place)!r} holds no rules and no dashboards; write them with barograph mixin {place}"
        )
    found = [finding for query in (*rules, *panels) for finding in _gone(query, known)]
    if prometheus_url is not None:
        told = {(finding.path, finding.where) for finding in found}
        asked = [query for query in panels if (query.path, query.where) not in told]
        found += _unanswered(asked, prometheus_url)
    return found


def _texts(place: Path) -> dict[str, str]:
    try:
        found = (place.glob(pattern) for pattern in ("*.yaml", "adapters/*.yaml", "dashboards/*.json"))
        paths = [path for paths in found for path in sorted(paths)]
        return {str(path.relative_to(place)): path.read_text("utf-8") for path in paths}
    except (OSError, UnicodeError) as error:
        raise MixinError(f"cannot read {str(place)!r} ({error})") from error


def _exposed() -> set[str]:
    found = set[str]()
    for name, metric in naming.METRICS.items():
        suffixes = ("_bucket", "_sum", "_count") if metric.type == "histogram" else ("",)
        found.update(name + suffix for suffix in suffixes)
    return found


def _rules(path: str, text: str) -> Iterator[Query]:
    """The rules of a file, if it is one of rules; `where` is what a rule records, or the name of an alert."""
    try:
        for _ in rule_files({path: text}):
            for group in yaml.safe_load(text)["groups"]:
                for rule in group.get("rules") or ():
                    yield Query(path, rule.get("record") or rule["alert"], str(rule["expr"]))
    except (yaml.YAMLError, LookupError, AttributeError, TypeError) as error:
        raise MixinError(f"{path} is no file of rules ({error!r}); restore it, or remove it") from None


def _gone(query: Query, known: set[str]) -> Iterator[Finding]:
    for name in sorted(metric_names(query.expression) - known):
        if name.startswith((naming.PREFIX, "http_request")):
            yield query.finding(f"{name} is gone: no version of barograph that this is exposes it")
        elif f":{naming.PREFIX}" in name:
            yield query.finding(f"{name} is gone: no rule of this folder records it")


_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    | (?P<text>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*`)
    | (?P<variable>\$\{\w+(?::\w+)?\} | \$\w+ | \[\[\w+\]\])
    | (?P<number>\d[\w.]*)
    | (?P<name>[a-zA-Z_:][\w:]*)
    | (?P<sign>[^\s])
    """,
    re.VERBOSE,
)
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}  # of labels, in brackets
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "atan2"}


def metric_names(expression: str) -> set[str]:
    """The metrics that a PromQL expression names.

    >>> sorted(metric_names('sum by (a) (rate(x_total{b="y"}[5m])) / on (a) group_left () job:x:sum'))
    ['job:x:sum', 'x_total']
    >>> metric_names('{__name__="up", job="a"}')
    {'up'}
    """
    found, tokens = set[str](), [(m.lastgroup, m.group()) for m in _TOKEN.finditer(expression)]
    depth, i = 0, 0  # depth: inside braces or square brackets
    while i < len(tokens):
        kind, token = tokens[i]
        following = tokens[i + 1][1] if i + 1 < len(tokens) else ""
        if kind == "sign":
            depth += (token in "{[") - (token in "}]")
        elif kind == "name" and depth and token == "__name__" and following == "=" and i + 2 < len(tokens):
            found.add(tokens[i + 2][1][1:-1])
        elif kind == "name" and not depth:
            if token.lower() in _LISTS:
                i = _after_list(tokens, i + 1)
                continue
            if (
                following != "("
                and token.lower() not in _WORDS
                and following.lower() not in ("by", "without")
            ):
                found.add(token)
        i += 1
    return found


def _after_list(tokens: list[tuple[str | None, str]], i: int) -> int:
    if i < len(tokens) and tokens[i][1] == "(":
        while i < len(tokens) and tokens[i][1] != ")":
            i += 1
        return i + 1
    return i


def _panels(path: str, text: str) -> Iterator[Query]:
    try:
        dashboard = json.loads(text)
        variables = {v["name"]: _widest(v) for v in dashboard.get("templating", {}).get("list", [])}
        for panel in _flat(dashboard.get("panels") or ()):
            for target in panel.get("targets") or ():
                if target.get("expr"):
                    where = f"panel {panel.get('title') or panel.get('id')!r}"
                    yield Query(path, where, target["expr"], variables, _empty(panel))
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise MixinError(f"{path} is no dashboard ({error!r}); restore it, or remove it") from None


def _empty(panel: Mapping[str, Any]) -> str:
    said = str(panel.get("fieldConfig", {}).get("defaults", {}).get("noValue") or "")
    return "" if said == NO_DATA else said


def _flat(panels: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for panel in panels:
        yield panel
        yield from _flat(panel.get("panels") or ())


def _widest(variable: Mapping[str, Any]) -> str:
    """The value of a variable that matches the most: all where that can be chosen, else its first option, else all again."""
    if variable.get("type") in ("custom", "interval", "textbox", "constant") and not variable.get(
        "includeAll"
    ):
        chosen = variable.get("query", "")
        return str(chosen).split(",")[0].rpartition(" : ")[2].strip()
    return str(variable.get("allValue") or ".*")


# What Grafana fills in: a range of an hour, in steps of a minute.
_GRAFANA = {
    "__interval": "1m",
    "__interval_ms": "60000",
    "__rate_interval": "5m",
    "__range": "1h",
    "__range_s": "3600",
}


def filled(query: str, variables: Mapping[str, str]) -> str:
    """A query with Grafana's variables filled in.

    >>> filled('rate(a{model=~"$model"}[$__rate_interval])', {"model": ".*"})
    'rate(a{model=~".*"}[5m])'
    """
    values = {**variables, **_GRAFANA}

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return values.get(name, found[0])

    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, query)


def _unanswered(queries: Iterable[Query], url: str) -> Iterator[Finding]:
    """A panel answers if one of its queries does."""
    panels: dict[tuple[str, str], list[Query]] = {}
    for query in queries:
        panels.setdefault((query.path, query.where), []).append(query)
    with httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT) as client:
        now = time.time()
        hour: dict[str, Any] = {"start": now - HOUR, "end": now}
        there = set(_asked(client, "/api/v1/label/__name__/values", **hour).get("data", ()))
        for asked in panels.values():
            answers = [
                _asked(
                    client, "/api/v1/query_range", query=filled(q.expression, q.variables), step=STEP, **hour
                )
                for q in asked
            ]
            refused = [(q, a) for q, a in zip(asked, answers, strict=True) if a["status"] != "success"]
            for query, answer in refused:
                yield query.finding(f"Prometheus refuses it: {answer.get('error')}")
            if not refused and not any(answer["data"]["result"] for answer in answers):
                yield from _explained(asked, there)


def _explained(asked: Sequence[Query], there: set[str]) -> Iterator[Finding]:
    missing = sorted(set().union(*(metric_names(query.expression) for query in asked)) - there)
    says = asked[0].empty
    if missing:
        means = f" ({says})" if says else ""
        yield asked[0].finding(f"answers nothing: Prometheus has no {', '.join(missing)}{means}")
    elif not says:
        yield asked[0].finding("answers nothing over the last hour, though its metrics are there")


def _asked(client: httpx.Client, path: str, **parameters: Any) -> Any:
    try:
        long = "query" in parameters  # too long for an address
        answer = client.post(path, data=parameters) if long else client.get(path, params=parameters)
        content = answer.json()
        if not isinstance(content, dict) or "status" not in content:
            raise ValueError("no answer of Prometheus' API")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise MixinError(
            f"--prometheus: {client.base_url} does not answer as Prometheus does ({error}); give its address, "
            "such as http://127.0.0.1:9090"
        ) from None
    return content
