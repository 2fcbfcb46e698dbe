"""The rules that every dashboard keeps, each by name and each shown to find what breaks it; and Grafana's own types."""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barograph import naming, promql
from barograph.glossary import GLOSSARY
from barograph.grafana import DASHBOARDS, dashboards, files
from barograph.grafana.parts import OWN, Dashboard, Panel, Row, Target, lines, rising
from barograph.mixin import rules
from barograph.mixin.options import Options
from panels import every_query, filled, labels_of, panels

Json = dict[str, Any]
FOUND = dashboards(Options())
UIDS = {"barograph-main", "barograph-system", "barograph-model", "barograph-features", "barograph-fleet"}
UNITS = {"none", "percentunit", "s", "reqps", "cps", "bytes", "Bps"}
COLOURS = {"green", "yellow", "red", "blue", "transparent"}
RECORDED = {rule["record"] for group in rules.groups(Options()) for rule in group["rules"]}
KNOWN = set(naming.METRICS) | RECORDED | {"up", "ALERTS"}
SCRAPES, SCRAPE = (
    20,
    15,
)  # how many scrapes a window over a distribution holds at least, and seconds between two
RULES: dict[str, Callable[[Json], Iterator[str]]] = {}


def rule(check: Callable[[Json], Iterator[str]]) -> Callable[[Json], Iterator[str]]:
    """A rule: it tells what breaks it."""
    RULES[check.__name__] = check
    return check


@rule
def classic_schema(d: Json) -> Iterator[str]:
    """Grafana Classic JSON of schema version 41, which files can provide; in UTC, with nobody's number for it."""
    if d["schemaVersion"] != 41 or d["timezone"] != "utc" or d["id"] is not None:
        yield "schemaVersion, timezone or id"


@rule
def fixed_uid(d: Json) -> Iterator[str]:
    """Links of alerts and bookmarks hold: the uid is one of five that never change."""
    if d["uid"] not in UIDS:
        yield d["uid"]


@rule
def says_what_it_is(d: Json) -> Iterator[str]:
    """A title, a description, and a tag to find all of them by."""
    if not (
        d["title"].startswith("barograph / ") and d["description"].endswith("?") and "barograph" in d["tags"]
    ):
        yield "title, description or tags"


@rule
def datasource_by_variable(d: Json) -> Iterator[str]:
    """Everything asks the data source that was chosen at the top."""
    first = d["templating"]["list"][0]
    if (first["name"], first["type"], first["query"]) != ("datasource", "datasource", "prometheus"):
        yield "no datasource variable"
    asking = [*panels(d), *(t for p in panels(d) for t in p["targets"]), *d["templating"]["list"][1:]]
    asking += [a for a in d["annotations"]["list"] if not a.get("builtIn")]
    for one in asking:
        if one["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{one.get('title', one)}: {one['datasource']}"


@rule
def model_and_version_by_variable(d: Json) -> Iterator[str]:
    """What is shown of models is of those that were chosen, and of their versions: but Fleet, which shows all."""
    names = {v["name"] for v in d["templating"]["list"]}
    if not {"model", *(() if d["uid"] == "barograph-fleet" else ("version",))} <= names:
        yield f"variables {names}"
    for variable in d["templating"]["list"][1:]:
        if not (variable["multi"] and variable["description"] and variable["label"]):
            yield f"{variable['name']}: not multi (Grafana escapes no other), or without help"


@rule
def variables_are_declared(d: Json) -> Iterator[str]:
    """Each variable that is used is chosen at the top, or Grafana's own."""
    names = {v["name"] for v in d["templating"]["list"]}
    builtin = {"__rate_interval", "__range", "__all", "__url_time_range", "__value.text"}
    used = set(re.findall(r"\$\{?([A-Za-z_][\w.]*)", json.dumps(d)))
    yield from sorted(used - names - builtin)


@rule
def variables_are_used(d: Json) -> Iterator[str]:
    """Each choice at the top changes something."""
    asked = " ".join(q["expr"] for p in panels(d) for q in p["targets"])
    yield from (v["name"] for v in d["templating"]["list"][1:] if f"${v['name']}" not in asked)


@rule
def names_no_model(d: Json) -> Iterator[str]:
    """One dashboard for every model: none is spelt out, nor a version, nor a replica."""
    for query in _expressions(d):
        yield from re.findall(r'\b(?:model|version|instance|pod|bins)\s*!?=~?\s*"(?!\$)[^"]+"', query)


@rule
def titles_ask_or_name(d: Json) -> Iterator[str]:
    """A title asks a question, or names the thing; no two in a dashboard are alike."""
    titles = [p["title"] for p in panels(d)]
    for title in titles:
        if not re.fullmatch(r"[A-Z$][^.!]{4,70}(\?|[a-z])", title) or titles.count(title) > 1:
            yield title


@rule
def descriptions_help(d: Json) -> Iterator[str]:
    """Help says what is shown, how to read it, and what is good."""
    for p in panels(d):
        what, _, good = p["description"].partition("\n\nGood: ")
        if len(what) < 40 or not what.endswith(".") or not good or not good.split("\n")[0].endswith("."):
            yield p["title"]


@rule
def units_are_given(d: Json) -> Iterator[str]:
    """A unit for each panel, of those that Grafana knows; plain numbers are `none`."""
    yield from (p["title"] for p in panels(d) if p["fieldConfig"]["defaults"].get("unit") not in UNITS)


@rule
def thresholds_go_up(d: Json) -> Iterator[str]:
    """Steps begin at the bottom and go up, in green, yellow and red; what is coloured by them has some."""
    for p in panels(d):
        steps = p["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [s["value"] for s in steps]
        if (
            values[0] is not None
            or values[1:] != sorted(set(values[1:]))
            or {s["color"] for s in steps} - COLOURS
        ):
            yield f"{p['title']}: {steps}"
        if p["type"] == "bargauge" and len(steps) != 3:
            yield f"{p['title']}: not green, yellow and red"


@rule
def thresholds_where_there_is_a_bad_level(d: Json) -> Iterator[str]:
    """A chart has them unless no level is bad by itself, as of traffic or of a distribution: that is not so of two in three."""
    drawn = [p for p in panels(d) if p["type"] in ("timeseries", "stat", "bargauge")]
    coloured = [p for p in drawn if len(p["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1]
    if len(coloured) < len(drawn) / 3:
        yield f"{len(coloured)} of {len(drawn)}"


@rule
def thresholds_are_drawn(d: Json) -> Iterator[str]:
    """On a chart over time thresholds are lines."""
    for p in panels(d):
        if p["type"] == "timeseries":
            given = len(p["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1
            if (p["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] != "off") != given:
                yield p["title"]


@rule
def rates_use_the_rate_interval(d: Json) -> Iterator[str]:
    """`$__interval` would leave panels empty, and a fixed window hides what happens within it when one zooms in."""
    for query in _expressions(d):
        if "$__interval" in query or "irate(" in query:
            yield query
        for counted, window in re.findall(r"\b(rate|increase)\([^\[\]]*\[([^\]\s]+)", query):
            if window not in ("$__rate_interval", "$__range"):
                yield f"{counted}[{window}] in {query}"


@rule
def distributions_have_wide_windows(d: Json) -> Iterator[str]:
    """Shares of cells stand on twenty scrapes at least, or on the time that was picked; never on the rate interval."""
    for query in _expressions(d):
        if "column_values" in query:
            for window in re.findall(r"\[(?:\$__range|(\d+[smhdw])|([^\]]+))", query):
                if window[1] or (window[0] and _seconds(window[0]) < SCRAPES * SCRAPE):
                    yield f"{window} in {query}"


@rule
def bins_are_never_added(d: Json) -> Iterator[str]:
    """Counts over other edges don't add up: whatever sums columns keeps `bins`."""
    for query in _expressions(d):
        if "column_values" in query:
            for kept in re.findall(r"\b(?:sum|avg) by \(([^)]*)\)", query):
                if "bins" not in kept.split(", "):
                    yield f"sum by ({kept})"
            if re.search(r"\bsum\s*\((?!.*\bby\b)", query) or re.search(r"\bsum without \([^)]*bins", query):
                yield query


@rule
def metrics_are_known(d: Json) -> Iterator[str]:
    """Each series is exposed under a name of naming.py, or recorded by the rules."""
    for query in _expressions(d):
        yield from sorted(_metrics(query) - KNOWN)


@rule
def legends_name_series(d: Json) -> Iterator[str]:
    """What is drawn has a legend, of labels that the query keeps; a table shows labels instead."""
    for p in panels(d):
        for t in p["targets"]:
            if (t["legendFormat"] == "__auto") != (t["format"] == "table"):
                yield f"{p['title']}: {t['legendFormat']}"


@rule
def tables_and_ranks_ask_once(d: Json) -> Iterator[str]:
    """What shows one moment asks for one moment; what spans the time picked (`$__range`) does not ask at each step."""
    for p in panels(d):
        for t in p["targets"]:
            once = p["type"] in ("table", "bargauge", "barchart") or "$__range" in t["expr"]
            if t["instant"] != once or t["range"] == once:
                yield p["title"]


@rule
def ids_are_unique(d: Json) -> Iterator[str]:
    """And below those of panels that a user adds."""
    ids = [p["id"] for p in d["panels"]]
    yield from (str(i) for i in ids if ids.count(i) > 1 or not 0 < i < OWN)


@rule
def panels_lie_side_by_side(d: Json) -> Iterator[str]:
    """None overlaps another or leaves the grid of 24."""
    taken: set[tuple[int, int]] = set()
    for p in d["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        if cells & taken or g["x"] + g["w"] > 24:
            yield p["title"]
        taken |= cells


@rule
def links_lead_somewhere(d: Json) -> Iterator[str]:
    """To a dashboard that there is, with the time and the choices, or to the console's and the runbooks' addresses."""
    for link in d["links"]:  # Grafana adds time and variables to these
        to = re.fullmatch(r"/d/([\w-]+)", link["url"])
        kept = to is not None and to[1] in UIDS and link["includeVars"] and link["keepTime"]
        if not kept and not link["url"].startswith(Options().console_url):
            yield str(link)
    given = [link for p in panels(d) for link in p["links"]]
    given += [link for p in panels(d) for o in p["fieldConfig"]["overrides"] for q in o["properties"] if q["id"] == "links" for link in q["value"]]  # fmt: skip
    for link in given:
        to = re.fullmatch(r"/d/([\w-]+)\?(.*)", link["url"])
        kept = (
            to is not None
            and to[1] in UIDS
            and "time_range" in to[2]
            and "model" in to[2]
            and "datasource" in to[2]
        )
        if not kept and not link["url"].startswith(Options().runbook("")):
            yield str(link)


@rule
def every_dashboard_is_reachable(d: Json) -> Iterator[str]:
    """From each to each other one."""
    reached = {m[1] for link in d["links"] if (m := re.match(r"/d/([\w-]+)", link["url"]))}
    yield from sorted(UIDS - {d["uid"]} - reached)


@rule
def deployments_and_alerts_are_marked(d: Json) -> Iterator[str]:
    """Each chart shows what was deployed when, and what fired."""
    marks = {a["name"]: a.get("expr", "") for a in d["annotations"]["list"]}
    if naming.MODEL_INFO.name not in marks.get("Deployments", "") or "ALERTS{" not in marks.get("Alerts", ""):
        yield str(marks)


@rule
def a_page_is_not_endless(d: Json) -> Iterator[str]:
    """Thirty panels at most: more are two dashboards."""
    if (count := len(list(panels(d)))) > 30:
        yield str(count)


def _expressions(d: Json) -> list[str]:
    """Queries of panels and annotations."""
    asked = [t["expr"] for p in panels(d) for t in p["targets"]]
    return [*asked, *(a["expr"] for a in d["annotations"]["list"] if "expr" in a)]


def _seconds(window: str) -> int:
    return int(window[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[window[-1]]


def _metrics(query: str) -> set[str]:
    """The names of series in a query."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)
    text = re.sub(
        r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring|group_left|group_right) \([^)]*\)", " ", text
    )
    text = re.sub(r"\boffset \w+", " ", text)
    names = set(re.findall(r"(?<![\w:$])[A-Za-z_][\w:]*(?![\w:]*\s*\()", text)) - {
        "and",
        "or",
        "unless",
        "bool",
    }
    return {
        re.sub(r"_(bucket|sum|count)$", "", n) if re.sub(r"_(bucket|sum|count)$", "", n) in KNOWN else n
        for n in names
    }


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_dashboard_keeps_each_rule(uid: str, name: str) -> None:
    assert list(RULES[name](FOUND[uid])) == []


def _expr(text: str) -> Callable[[Json], None]:
    return lambda d: next(panels(d))["targets"][0].update(expr=text)


def _panel(**changed: Any) -> Callable[[Json], None]:
    return lambda d: next(panels(d)).update(changed)


# One break of each rule that it must find.
BREAKS: dict[str, Callable[[Json], Any]] = {
    "classic_schema": lambda d: d.update(schemaVersion=42),
    "fixed_uid": lambda d: d.update(uid="barograph-new"),
    "says_what_it_is": lambda d: d.update(description=""),
    "datasource_by_variable": _panel(datasource={"type": "prometheus", "uid": "abc"}),
    "model_and_version_by_variable": lambda d: d["templating"]["list"][1].update(multi=False),
    "variables_are_declared": _expr('up{region="$region"}'),
    "variables_are_used": lambda d: d["templating"]["list"].append({**d["templating"]["list"][1], "name": "spare"}),
    "names_no_model": _expr('ml_predictions_total{model="fraud"}'),
    "titles_ask_or_name": _panel(title="ml_predictions_total"),
    "descriptions_help": _panel(description="Errors."),
    "units_are_given": lambda d: next(panels(d))["fieldConfig"]["defaults"].update(unit="furlongs"),
    "thresholds_go_up": lambda d: next(panels(d))["fieldConfig"]["defaults"]["thresholds"].update(steps=[{"color": "green", "value": 1}]),
    "thresholds_where_there_is_a_bad_level": lambda d: [p["fieldConfig"]["defaults"].update(thresholds={"steps": [0]}) for p in panels(d)],
    "thresholds_are_drawn": lambda d: [p["fieldConfig"]["defaults"]["custom"].update(thresholdsStyle={"mode": "off"}) for p in panels(d)],
    "rates_use_the_rate_interval": _expr("rate(ml_predictions_total[5m])"),
    "distributions_have_wide_windows": _expr(f"sum_over_time({promql.CELLS_5M}[1m])"),
    "bins_are_never_added": _expr("sum by (model, column, cell) (ml_column_values_total)"),
    "metrics_are_known": _expr("sum by (model) (rate(ml_prediction_total[$__rate_interval]))"),
    "legends_name_series": lambda d: next(panels(d))["targets"][0].update(legendFormat="__auto", format="time_series"),
    "tables_and_ranks_ask_once": lambda d: next(panels(d))["targets"][0].update(expr="changes(up[$__range])", instant=False),
    "ids_are_unique": lambda d: d["panels"][1].update(id=d["panels"][0]["id"]),
    "panels_lie_side_by_side": lambda d: next(panels(d))["gridPos"].update(y=0),
    "links_lead_somewhere": lambda d: d["links"][0].update(url="/d/barograph-old?${__url_time_range}"),
    "every_dashboard_is_reachable": lambda d: d["links"].pop(0),
    "deployments_and_alerts_are_marked": lambda d: d["annotations"].update(list=[]),
    "a_page_is_not_endless": lambda d: d["panels"].extend([next(panels(d))] * 30),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_rule_finds_what_breaks_it(name: str) -> None:
    broken = copy.deepcopy(FOUND["barograph-main"])
    BREAKS[name](broken)
    assert list(RULES[name](broken))


def test_the_parser_of_queries_finds_series_and_nothing_else() -> None:
    query = 'topk(5, sum by (model, le) (rate(ml_prediction_duration_seconds_bucket{stage="total"}[5m] offset 1w)) > 0) or vector(0) unless on (model) a:b:c'
    assert _metrics(query) == {"ml_prediction_duration_seconds", "a:b:c"}


def test_there_are_five_dashboards_and_each_is_a_file() -> None:
    assert set(FOUND) == UIDS
    found = files(Options())
    assert {path: json.loads(text) for path, text in found.items()} == {
        f"dashboards/{uid}.json": one for uid, one in FOUND.items()
    }


def test_objectives_are_drawn_as_they_were_chosen() -> None:
    strict = dashboards(Options(latency_seconds=0.123, error_objective=0.95, job="serving"))
    text = json.dumps(strict)
    assert "0.123" in text and "95.00%" in text and 'job=~\\"serving\\"' in text
    assert "0.123" not in json.dumps(FOUND)


def test_all_replicas_are_those_of_the_model_and_not_every_process_that_is_scraped() -> None:
    (instance,) = (v for v in FOUND["barograph-system"]["templating"]["list"] if v["name"] == "instance")
    assert "allValue" not in instance and "$model" in instance["query"]["query"]


def test_an_id_stays_when_other_panels_come_and_go() -> None:
    def ids(*titles: str) -> dict[str, int]:
        shown = tuple(lines(title, "Help.", "few.", "none", Target("up", "{{job}}")) for title in titles)
        one = Dashboard("uid", "Title", "Help?", (Row("Row", shown),), (), (), ())
        return {p["title"]: p["id"] for p in panels(one.to_dict())}

    few, many = ids("How many?", "How few?"), ids("How large?", "How many?", "How small?", "How few?")
    assert few == {title: many[title] for title in few} and len(set(many.values())) == 4


def test_a_panel_explains_the_terms_of_the_glossary_that_it_uses() -> None:
    panel = lines("PSI?", "Shows PSI.", "low.", "none", Target("up"), terms=("PSI",), thresholds=rising(1, 2))
    assert GLOSSARY["PSI"] in panel.description
    assert isinstance(panel, Panel)


def test_every_query_has_its_variables_filled_in() -> None:
    listed = list(every_query(FOUND))
    assert len(listed) > 100
    assert not [q for q in listed if "$" in q.expr.replace("$1", "")]
    assert filled("rate(x[$__rate_interval])") == "rate(x[1m])"
    assert labels_of("{{model}} {{ version }} p95") == {"model", "version"}


# Grafana's own types.

TYPES = Path(__file__).parent / "grafana"
OFFLINE = re.compile(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT")
MISTAKES = {
    "an option that is no option": ('"colorMode": "value"', '"colourMode": "value"'),
    "a value that is none of an enumeration": ('"displayMode": "list"', '"displayMode": "lost"'),
    "a text for a number": ('"lineWidth": 1.5', '"lineWidth": "1.5"'),
    "another version of the schema": ('"schemaVersion": 41', '"schemaVersion": 42'),
    "a query without its expression": ('"expr": ', '"expression": '),
    "a threshold without a colour": ('"color": "green"', '"colour": "green"'),
    "a type of panels that is gone": ('"type": "timeseries"', '"type": "graph"'),
    "a place that is none": ('"gridPos": {"x"', '"gridPos": {"left"'),
}


@pytest.fixture(scope="module")
def complaints(tmp_path_factory) -> dict[str, str]:
    """What TypeScript says of each dashboard, and of each seeded mistake: file -> complaints."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is not installed")
    folder = tmp_path_factory.mktemp("grafana")
    for name in ("package.json", "package-lock.json", "tsconfig.json", "classic.ts"):
        shutil.copy(TYPES / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    got = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if got.returncode and OFFLINE.search(got.stderr):
        pytest.skip("npm cannot reach its registry")
    assert got.returncode == 0, got.stderr
    head = (
        'import type { ClassicDashboard } from "./classic.js";\nexport const dashboard: ClassicDashboard = '
    )
    texts = {uid: json.dumps(one) for uid, one in FOUND.items()}
    for i, (right, wrong) in enumerate(MISTAKES.values()):
        assert right in texts["barograph-main"]
        texts[f"mistake-{i}"] = texts["barograph-main"].replace(right, wrong, 1)
    for name, text in texts.items():
        (folder / f"{name}.ts").write_text(f"{head}{text};\n")
    done = subprocess.run([node, "node_modules/typescript/bin/tsc", "-p", "."], cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    found = {f"{name}.ts": "" for name in texts}
    for said in done.stdout.splitlines():
        if at := re.match(r"([\w.-]+)\(\d+,\d+\): error", said):
            found[at[1]] = found.get(at[1], "") + said[:300] + "\n"
    assert bool(done.returncode) == any(found.values()), done.stdout[:2000] + done.stderr
    return found


def test_grafanas_types_accept_every_dashboard(complaints: dict[str, str]) -> None:
    assert {name: said for name, said in complaints.items() if said and "mistake" not in name} == {}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_grafanas_types_reject_a_seeded_mistake(complaints: dict[str, str], mistake: str) -> None:
    assert complaints[f"mistake-{list(MISTAKES).index(mistake)}.ts"]


def test_the_lock_names_no_host() -> None:
    lock = json.loads((TYPES / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages and all("integrity" in one and "resolved" not in one for one in packages.values())
