"""The runbooks of the mixin: each alert has one that answers what one asks, and its queries are PromQL."""

import re
import subprocess
from pathlib import Path

import yaml

from barograph import naming
from barograph.mixin import rules, runbooks
from barograph.mixin.alerts import WATCHDOG
from barograph.mixin.options import Options
from promtool import program


def test_every_alert_has_a_runbook_that_answers_what_one_asks():
    files = runbooks.files(Options())
    assert set(files) == {f"runbooks/{name}.md" for name in [*naming.RULES, WATCHDOG]}
    for path, text in files.items():
        assert text.startswith(f"# {Path(path).stem}\n"), path
        titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert titles == list(runbooks.TITLES), path
        assert len(text.encode()) <= 1_500 + 200 and "{{" not in text, path


def test_queries_in_runbooks_are_promql(tmp_path):
    found = []
    for path, text in runbooks.files(Options()).items():
        queries = re.findall(r"```promql\n(.+?)```", text, re.DOTALL)
        found += [(path, q.strip()) for block in queries for q in block.splitlines() if q.strip()]
    assert len(found) >= len(naming.RULES)
    known = {r["record"] for g in rules.groups(Options()) for r in g["rules"]} | set(naming.METRICS)
    for path, query in found:
        for name in re.findall(r"\b(?:ml_[a-z_]+|[a-z_]+:[a-z_0-9]+:[a-z_0-9]+)\b(?!\")", query):
            bare = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in known or bare in known, (path, name)
    listed = [{"record": f"q{i}", "expr": query} for i, (_, query) in enumerate(found)]
    (tmp_path / "q.yaml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": listed}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", "q.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_runbooks_lead_where_the_options_say():
    options = Options(console_url="https://console", grafana_url="https://grafana")
    text = "".join(runbooks.files(options).values())
    assert "https://console" in text and "https://grafana/d/" in text and "127.0.0.1" not in text
