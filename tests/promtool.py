"""Runs `promtool test rules` on rules as the mixin writes them."""

import ast
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from barograph.mixin import alerts, rules
from barograph.mixin.options import Options

RECORDED = re.compile(r"\b[a-z_]+:[a-z_0-9]+:[a-z_0-9]+\b")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@dataclass(frozen=True)
class Story:
    """What Prometheus reads, one value every `step` minutes, and whether the alert fires at minute `at`, with which labels.

    Values are in promtool's notation: `0+20x400` counts up by 20, `_x5` is a scrape that failed five times.
    """

    series: Mapping[str, str]
    at: int
    fires: Sequence[Mapping[str, str]] = ()
    step: int = 1
    evaluate: int = 1  # minutes between evaluations


@cache
def groups(options: Options = Options()) -> tuple[dict[str, Any], ...]:  # noqa: B008 -- frozen
    """All groups of the mixin, recording rules first."""
    return (*rules.groups(options), *alerts.groups(options))


def needed(alert: str, options: Options = Options()) -> list[dict[str, Any]]:  # noqa: B008 -- frozen
    """The alert, and the recording rules that it depends on, in their groups and in their order."""
    wanted, size = {alert}, 0
    while len(wanted) > size:
        size = len(wanted)
        for rule in (r for g in groups(options) for r in g["rules"]):
            if name_of(rule) in wanted:
                wanted |= set(RECORDED.findall(rule["expr"]))
    found = [{**g, "rules": [r for r in g["rules"] if name_of(r) in wanted]} for g in groups(options)]
    return [g for g in found if g["rules"]]


def without_annotations(listed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups whose alerts say nothing: promtool compares what is said to the letter."""
    return [
        {**g, "rules": [{k: v for k, v in r.items() if k != "annotations"} for r in g["rules"]]}
        for g in listed
    ]


def name_of(rule: Mapping[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def run(folder: Path, rule_groups: Sequence[Mapping[str, Any]], test: Mapping[str, Any]) -> str:
    """The output of one run; empty where everything is as expected."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(rule_groups)}))
    (folder / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], **test}))
    command = [program("promtool"), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    text = done.stdout + done.stderr
    assert done.returncode == 0 or "FAILED" in text, text
    return "" if done.returncode == 0 else text


def tell(
    folder: Path,
    alert: str,
    story: Story,
    *,
    annotations: bool = False,
    before: Sequence[Mapping[str, Any]] = (),
) -> str:
    """How the alert differs from the story; empty where it does not. Without `annotations` these are not looked at.

    `before` are groups of rules that are evaluated first.
    """
    listed = needed(alert) if annotations else without_annotations(needed(alert))
    rule = next(r for g in listed for r in g["rules"] if r.get("alert") == alert)
    expected = [{"exp_labels": {**rule["labels"], **labels}} for labels in story.fires]
    test = {
        "interval": f"{story.step}m",
        "input_series": [{"series": name, "values": values} for name, values in story.series.items()],
        "alert_rule_test": [{"eval_time": f"{story.at}m", "alertname": alert, "exp_alerts": expected}],
    }
    return run(folder, [*before, *listed], {"evaluation_interval": f"{story.evaluate}m", "tests": [test]})


_SAMPLE = re.compile(r'(\S*\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}) (\S+?)(?:,|$)', re.MULTILINE)


def ask(
    rule_groups: Sequence[Mapping[str, Any]],
    series: Mapping[str, str],
    expressions: Sequence[str],
    *,
    at: int,
    step: int = 1,
    evaluate: int = 1,
) -> dict[str, dict[str, float]]:
    """What expressions answer at minute `at`, by labels as promtool writes them; series as in `Story`."""
    wrong = [
        {"labels": "{none='x'}", "value": 0}
    ]  # promtool tells what it got where that is not what it was told
    test = {
        "interval": f"{step}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": e, "eval_time": f"{at}m", "exp_samples": wrong} for e in expressions],
    }
    with tempfile.TemporaryDirectory() as folder:
        output = run(Path(folder), rule_groups, {"evaluation_interval": f"{evaluate}m", "tests": [test]})
    got = [part.partition("got: ")[2] for part in output.split("    expr: ")[1:]]
    return {
        e: {labels: float(n) for labels, n in _SAMPLE.findall(g)}
        for e, g in zip(expressions, got, strict=True)
    }


def annotations(output: str) -> list[dict[str, str]]:
    """The annotations of the alerts that promtool says it got."""
    got = output.partition("got:")[2]
    found = []
    for text in re.findall(r"Annotations:\{(.*)\}", got):
        pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', text)
        found.append({name: ast.literal_eval(value) for name, value in pairs})
    return found
