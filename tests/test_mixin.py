"""The mixin's folder: it is the committed one, it is written again without losing what is a user's, and its queries are checked."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from barograph.cli import app
from barograph.mixin import own
from barograph.mixin.check import Finding, check, filled, metric_names
from barograph.mixin.options import Options
from barograph.mixin.write import (
    KEPT,
    MANIFEST,
    NEW,
    REMOVED,
    RENEWED,
    SAME,
    YOURS,
    MixinError,
    render,
    seeds,
    write,
)
from test_prometheus import free_port, program, running, wait_for

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "mixin"
DASHBOARD = "dashboards/barograph-main.json"
CONFIG_MAP = "kubernetes/dashboard-barograph-main.yaml"


def texts(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in folder.rglob("*") if p.is_file()}


def kinds(folder: Path, options: Options | None = None) -> dict[str, str]:
    return {change.path: change.kind for change in write(folder, options)}


def run(*arguments):
    return CliRunner().invoke(app, ["mixin", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "mixin")
    return tmp_path / "mixin"


def edit(folder: Path, path: str, change) -> None:
    """Change a dashboard as a person would."""
    dashboard = json.loads((folder / path).read_text("utf-8"))
    change(dashboard)
    (folder / path).write_text(json.dumps(dashboard), "utf-8")


def added(id: int, title: str, y: int = 90) -> dict:
    place = {"h": 8, "w": 12, "x": 0, "y": y}
    return {"id": id, "type": "timeseries", "title": title, "gridPos": place, "targets": [{"expr": "up"}]}


def titles(dashboard: dict) -> list[str]:
    return [panel["title"] for panel in dashboard["panels"] if panel["id"] > own.ROW]


def read(folder: Path, path: str) -> dict:
    return json.loads((folder / path).read_text("utf-8"))


# The committed folder.


def test_the_example_is_what_the_command_writes(tmp_path):
    write(tmp_path, Options())
    made, committed = texts(tmp_path), texts(EXAMPLES)
    differ = sorted(path for path in made.keys() | committed.keys() if made.get(path) != committed.get(path))
    assert differ == [], "renew it: rm -r examples/mixin && barograph mixin examples/mixin"


def test_it_is_written_the_same_each_time():
    assert render(Options()) == render(Options())


def test_nothing_in_it_names_a_model_or_a_machine():
    for path, text in render(Options()).items():
        assert "/work" not in text and os.sep + "home" not in text, path


def test_every_option_reaches_a_file():
    default = render(Options())
    others = {
        "job": "services", "evaluator_job": "watch", "console_url": "https://console", "grafana_url": "https://grafana",
        "runbook_url": "https://runbooks", "error_objective": 0.95, "latency_seconds": 2.0, "latency_objective": 0.9,
    }  # fmt: skip
    assert set(others) == set(Options.__slots__)
    for name, value in others.items():
        assert render(Options(**{name: value})) != default, name


def test_the_page_of_the_docs_shows_what_there_is():
    page = ROOT / "docs" / "mixin.md"
    text = page.read_text("utf-8")
    helped = run("--help").output
    flags = set(re.findall(r"`(--[a-z-]+)`", text)) | set(
        re.findall(r" (--[a-z-]+)", "\n".join(commands(text)))
    )
    assert len(flags) >= 8 and {flag for flag in flags if flag not in helped} == set()
    assert all((page.parent / link).exists() for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text))
    named = {name.rstrip("/") for name in re.findall(r"`([a-z]+(?:\.yaml|/))`", text)}
    assert len(named) >= 6 and {name for name in named if not (EXAMPLES / name).exists()} == set()


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


# Written again.


def test_a_new_folder_is_written_whole(tmp_path):
    found = write(tmp_path / "a" / "b")
    assert {change.kind for change in found} == {NEW}
    assert set(texts(tmp_path / "a" / "b")) == {change.path for change in found} | {MANIFEST}


def test_written_again_nothing_changes(folder):
    before = texts(folder)
    assert set(kinds(folder).values()) == {SAME, YOURS}
    assert texts(folder) == before


def test_options_are_remembered(folder):
    write(folder, Options(latency_seconds=2.0))
    before = texts(folder)
    assert set(kinds(folder).values()) == {SAME, YOURS}
    assert texts(folder) == before


def test_other_options_renew_the_files_that_say_so(folder):
    found = kinds(folder, Options(runbook_url="https://runbooks"))
    assert found["alerts.yaml"] == RENEWED and found["docker-compose.yaml"] == SAME
    assert "https://runbooks/" in (folder / "alerts.yaml").read_text()


def test_a_file_that_the_user_changed_stays_and_the_new_one_lies_beside_it(folder):
    (folder / "alertmanager.yaml").write_text("route: {receiver: mine}\n")
    changes = {change.path: change for change in write(folder)}
    assert (
        changes["alertmanager.yaml"].kind == KEPT
        and "alertmanager.yaml.new" in changes["alertmanager.yaml"].text
    )
    assert (folder / "alertmanager.yaml").read_text() == "route: {receiver: mine}\n"
    assert (folder / "alertmanager.yaml.new").read_text() == render(Options())["alertmanager.yaml"]


def test_what_was_put_beside_goes_once_it_is_taken(folder):
    (folder / "alertmanager.yaml").write_text("mine\n")
    write(folder)
    (folder / "alertmanager.yaml.new").replace(folder / "alertmanager.yaml")
    assert set(kinds(folder).values()) == {SAME, YOURS}
    (folder / "alertmanager.yaml").write_text("mine\n")
    write(folder)
    (folder / "alertmanager.yaml").unlink()
    assert kinds(folder)["alertmanager.yaml.new"] == REMOVED
    assert not (folder / "alertmanager.yaml.new").exists()


def test_a_changed_file_stays_however_often_it_is_written(folder):
    (folder / "rules.yaml").write_text("groups: []\n")
    for options in (None, Options(latency_seconds=1.0), Options(latency_seconds=2.0)):
        assert kinds(folder, options)["rules.yaml"] == KEPT
    assert (folder / "rules.yaml").read_text() == "groups: []\n"
    assert (folder / "rules.yaml.new").read_text() == render(Options(latency_seconds=2.0))["rules.yaml"]


def test_a_file_beside_that_the_user_made_is_not_written_over(folder):
    (folder / "rules.yaml").write_text("groups: []\n")
    (folder / "rules.yaml.new").write_text("a draft of mine\n")
    changes = {change.path: change for change in write(folder)}
    assert "move that away" in changes["rules.yaml"].text
    assert (folder / "rules.yaml.new").read_text() == "a draft of mine\n"


def test_a_file_that_was_there_before_us_stays(tmp_path):
    (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
    (tmp_path / "notes.md").write_text("mine\n")
    assert kinds(tmp_path)["docker-compose.yaml"] == KEPT
    assert (tmp_path / "docker-compose.yaml").read_text() == "services: {}\n"
    assert (tmp_path / "notes.md").read_text() == "mine\n"


def test_a_file_that_is_no_longer_written_goes_unless_it_was_changed(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in ("old.yaml", "mine.yaml"):
        (folder / name).write_text("x: 1\n")
        manifest["files"][name] = own.fingerprint(name, "x: 1\n")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "mine.yaml").write_text("x: 2\n")
    found = kinds(folder)
    assert (found["old.yaml"], found["mine.yaml"]) == (REMOVED, YOURS)
    assert not (folder / "old.yaml").exists() and (folder / "mine.yaml").read_text() == "x: 2\n"


def test_secrets_and_targets_are_the_users_from_the_start(folder):
    assert seeds(Options())
    for path in seeds(Options()):
        (folder / path).write_text("mine\n")
    kinds(folder, Options(job="services"))
    assert {(folder / path).read_text() for path in seeds(Options())} == {"mine\n"}


def test_a_folder_that_cannot_be_written_to_is_left_as_it_was(folder):
    (folder / "rules.yaml").unlink()
    (folder / "rules.yaml").mkdir()
    before = texts(folder)
    with pytest.raises(MixinError, match=r"rules.yaml.*directory"):
        write(folder, Options(latency_seconds=2.0))
    assert texts(folder) == before


def test_a_damaged_manifest_is_said_and_nothing_is_written(folder):
    (folder / MANIFEST).write_text("{")
    (folder / "rules.yaml").unlink()
    with pytest.raises(MixinError, match="is damaged"):
        write(folder)
    assert not (folder / "rules.yaml").exists()


# Own panels.


def test_own_panels_stay_in_the_row_for_them(folder):
    edit(folder, DASHBOARD, lambda d: d["panels"].append(added(10_001, "Orders")))
    assert kinds(folder, Options(latency_seconds=2.0))[DASHBOARD] == RENEWED
    dashboard = read(folder, DASHBOARD)
    assert titles(dashboard) == ["Orders"]
    (row,) = [panel for panel in dashboard["panels"] if panel["id"] == own.ROW]
    assert (row["type"], row["title"]) == ("row", "Own panels")
    assert dashboard["panels"][-1]["gridPos"]["y"] == row["gridPos"]["y"] + 1
    assert {p["id"] for p in dashboard["panels"][:-2]} == {
        p["id"] for p in read(EXAMPLES, DASHBOARD)["panels"][:-1]
    }


def test_own_panels_come_to_kubernetes_too(folder):
    edit(folder, DASHBOARD, lambda d: d["panels"].append(added(10_001, "Orders")))
    assert kinds(folder)[CONFIG_MAP] == RENEWED
    (text,) = yaml.safe_load((folder / CONFIG_MAP).read_text())["data"].values()
    assert titles(json.loads(text)) == ["Orders"]


def test_own_panels_settle_where_they_are(folder):
    edit(folder, DASHBOARD, lambda d: d["panels"].extend([added(10_001, "a", 3), added(10_002, "b", 11)]))
    write(folder)
    before = texts(folder)
    assert set(kinds(folder).values()) == {SAME, YOURS}
    assert texts(folder) == before
    a, b = read(folder, DASHBOARD)["panels"][-2:]
    assert b["gridPos"]["y"] - a["gridPos"]["y"] == 8


def test_own_panels_in_a_row_that_was_folded_up_stay(folder):
    def fold(dashboard):
        panels = dashboard["panels"]
        panels[-1].update(collapsed=True, panels=[added(10_001, "in ours")])
        panels.append(
            {
                **added(10_002, "my row"),
                "type": "row",
                "collapsed": True,
                "panels": [added(10_003, "in mine")],
            }
        )

    edit(folder, DASHBOARD, fold)
    write(folder)
    dashboard = read(folder, DASHBOARD)
    assert titles(dashboard) == ["in ours", "my row"]
    assert [panel["title"] for panel in dashboard["panels"][-1]["panels"]] == ["in mine"]


def test_what_grafana_adds_when_it_saves_is_no_change_of_the_users(folder):
    def save(dashboard):
        dashboard.update(id=7, version=3, iteration=1)
        for panel in dashboard["panels"]:
            panel["pluginVersion"] = "12.4.12"
            panel.setdefault("fieldConfig", {}).setdefault("defaults", {})["custom"] = {"lineWidth": 1}
        dashboard["panels"].append(added(10_001, "Orders"))

    edit(folder, DASHBOARD, save)
    assert kinds(folder)[DASHBOARD] == RENEWED
    dashboard = read(folder, DASHBOARD)
    assert titles(dashboard) == ["Orders"] and "iteration" not in dashboard


@pytest.mark.parametrize(
    "change",
    [
        lambda panel: panel.update(title="Mine"),
        lambda panel: panel["targets"][0].update(expr="up"),
        lambda panel: panel["fieldConfig"]["defaults"].update(unit="percent"),
        lambda panel: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1].update(value=0.77),
    ],
    ids=["title", "query", "unit", "threshold"],
)
def test_a_panel_of_ours_that_the_user_changed_keeps_the_file_and_the_new_one_has_own_panels(folder, change):
    def edited(dashboard):
        change(next(panel for panel in dashboard["panels"] if panel.get("targets")))
        dashboard["panels"].append(added(10_001, "Orders"))

    edit(folder, DASHBOARD, edited)
    before = (folder / DASHBOARD).read_text()
    assert kinds(folder)[DASHBOARD] == KEPT
    assert (folder / DASHBOARD).read_text() == before
    assert titles(read(folder, f"{DASHBOARD}.new")) == ["Orders"]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"panels": 3}', '{"panels": [{"id": 1, "fieldConfig": null}]}', '{"panels": [null]}']
)
def test_a_dashboard_that_is_none_stays(folder, text):
    (folder / DASHBOARD).write_text(text)
    assert kinds(folder)[DASHBOARD] == KEPT
    assert (folder / DASHBOARD).read_text() == text


def test_ids_of_our_panels_are_below_those_that_grafana_gives(folder):
    for path in filter(own.is_dashboard, render(Options())):
        dashboard = read(folder, path)
        ids = [panel["id"] for panel in dashboard["panels"]]
        ids += [inner["id"] for panel in dashboard["panels"] for inner in panel.get("panels", [])]
        assert max(ids) == own.ROW and Counter(ids).most_common(1)[0][1] == 1, path


# Queries.


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('sum by (model, le) (rate(a_bucket{job=~"x|y"}[$__rate_interval]))', {"a_bucket"}),
        ("sum(a_total) without (instance) / on (model) group_left (version) b:c:d > bool 0", {"a_total", "b:c:d"}),
        ('label_replace(a, "x", "$1", "y", "(.*)b") or vector(1)', {"a"}),
        ('count_over_time({__name__="a_total", job="b"}[1h:5m] offset 1w)', {"a_total"}),
        ("histogram_quantile(0.95, sum(rate(a_bucket[5m])) by (le)) and on () b unless c @ end()", {"a_bucket", "b", "c"}),
        ("topk(5, a{b='}'}) # d\n + ignoring (e) group_right c", {"a", "c"}),
        ("${metric} - 1e3 * Inf + -NaN", set()),
    ],
)  # fmt: skip
def test_the_metrics_of_an_expression(expression, names):
    assert metric_names(expression) == names


def test_the_variables_of_a_query_are_filled_in():
    query = 'rate(a{m=~"$model",v="${version:regex}",w="$1"}[$__range])'
    assert filled(query, {"model": ".*", "version": "3"}) == 'rate(a{m=~".*",v="3",w="$1"}[1h])'


def test_our_own_queries_ask_for_what_is_there(folder):
    assert check(folder) == []


def test_a_metric_that_is_gone_is_found_in_panels_and_rules(folder):
    def edited(dashboard):
        panel = added(10_001, "Old")
        panel["targets"] = [
            {"expr": "rate(ml_prediction_count_total[5m])"},
            {"expr": "model:ml_predictions:forgotten"},
            {"expr": "orders_total + job:mine:sum"},
        ]
        dashboard["panels"].append(panel)

    edit(folder, DASHBOARD, edited)
    rules = yaml.safe_load((folder / "rules.yaml").read_text())
    rules["groups"][0]["rules"].append({"record": "a:b:c", "expr": "http_request_size_bytes"})
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    found = check(folder)
    assert [(f.path, f.where, f.text.split(" ")[0]) for f in found] == [
        ("rules.yaml", "a:b:c", "http_request_size_bytes"),
        (DASHBOARD, "panel 'Old'", "ml_prediction_count_total"),
        (DASHBOARD, "panel 'Old'", "model:ml_predictions:forgotten"),
    ]


def test_a_rule_that_was_taken_out_is_missed_by_what_asked_for_it(folder):
    (folder / "rules.yaml").write_text("groups: []\n")
    assert {finding.path for finding in check(folder)} >= {"alerts.yaml", DASHBOARD}


@pytest.mark.parametrize("damage", ["{", '{"panels": [3]}', '{"templating": {"list": [{}]}}'])
def test_a_dashboard_that_cannot_be_read_is_named(folder, damage):
    (folder / DASHBOARD).write_text(damage)
    with pytest.raises(MixinError, match=f"{DASHBOARD} is no dashboard"):
        check(folder)


def test_a_rule_file_that_cannot_be_read_is_named(folder):
    (folder / "rules.yaml").write_text("groups: [{rules: [{expr: 1, record: a}, {alert: b}]}]\n")
    with pytest.raises(MixinError, match=r"rules\.yaml"):
        check(folder)


@pytest.mark.workers
def test_panels_that_answer_nothing_on_a_real_prometheus_are_found(folder, tmp_path):
    def says(text):
        return {"fieldConfig": {"defaults": {"noValue": text}}}

    def edited(dashboard):
        dashboard["panels"] = [
            {
                "id": 1,
                "title": "answers",
                "targets": [{"expr": 'up{job=~"$job"}'}, {"expr": "no_such_metric"}],
            },
            {"id": 2, "title": "empty", "targets": [{"expr": "no_such_metric"}]},
            {"id": 3, "title": "wrong", "targets": [{"expr": "sum by model (up)"}]},
            {"id": 4, "title": "text"},
            {"id": 5, "title": "past", "targets": [{"expr": "up > 5"}]},
            {"id": 6, "title": "calm", "targets": [{"expr": "up > 5"}], **says("nothing is up so far")},
            {"id": 7, "title": "unread", "targets": [{"expr": "ml_signal > 5"}], **says("not judged yet")},
        ]
        dashboard["templating"] = {
            "list": [{"name": "job", "type": "query", "query": "label_values(up, job)"}]
        }

    for path in sorted((folder / "dashboards").glob("*.json")):
        if path.name != Path(DASHBOARD).name:
            path.unlink()
    edit(folder, DASHBOARD, edited)
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    command = [
        program("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",  # Debian's default is one place for all
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, tmp_path, "log"):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: httpx.get(f"{url}/api/v1/query?query=up").json()["data"]["result"])
        found = {finding.where: finding.text for finding in check(folder, url)}
        said = run(folder, "--check", "--prometheus", url)
    refused = found.pop("panel 'wrong'")
    assert "parse error" in refused
    assert found == {
        "panel 'empty'": "answers nothing: Prometheus has no no_such_metric",
        "panel 'past'": "answers nothing over the last hour, though its metrics are there",
        "panel 'unread'": "answers nothing: Prometheus has no ml_signal (not judged yet)",
    }
    assert said.exit_code == 1 and "4 found" in said.output


# The verb.


def test_the_verb_writes_and_checks(tmp_path):
    made = run(tmp_path / "m", "--latency-seconds", 2, "--runbook-url", "https://runbooks/")
    assert made.exit_code == 0, made.output
    assert "docker compose up" in made.output and "secrets/pages-token: yours" in made.output
    assert texts(tmp_path / "m").keys() == render(Options()).keys() | seeds(Options()).keys() | {MANIFEST}
    assert "https://runbooks/MLModelErrors" in (tmp_path / "m" / "alerts.yaml").read_text()
    checked = run(tmp_path / "m", "--check")
    assert checked.exit_code == 0 and "Every query asks for what exists" in checked.output
    again = run(tmp_path / "m")
    assert again.exit_code == 0 and again.output.strip().endswith("nothing to change")


@pytest.mark.parametrize(("asked", "counted"), [(0.6, "0.5"), (100, "30"), (2, "")])
def test_the_verb_says_where_durations_are_counted_to_another_time_than_asked_for(tmp_path, asked, counted):
    said = " ".join(run(tmp_path / "m", "--latency-seconds", asked).output.split())
    assert (f"up to {counted} s, not {asked:g} s" in said) is bool(counted)
    assert f"took longer than {counted or asked} s" in (tmp_path / "m" / "alerts.yaml").read_text()


def test_the_verb_says_what_it_kept(folder):
    (folder / "alerts.yaml").write_text("groups: []\n")
    said = run(folder)
    assert said.exit_code == 0
    assert "alerts.yaml: you changed it, so it stays; the new one is alerts.yaml.new" in said.output
    assert "1 kept" in said.output


def test_the_verb_ends_with_1_where_a_query_is_not_right(folder):
    (folder / "rules.yaml").write_text("groups: []\n")
    said = run(folder, "--check")
    assert said.exit_code == 1 and "is gone" in said.output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["m", "--error-objective", "99.9"], "give one between 0 and 1"),
        (["m", "--latency-objective", "0"], "give one between 0 and 1"),
        (["m", "--latency-seconds", "-1"], "give seconds above 0"),
        (["m", "--latency-seconds", "nan"], "give seconds above 0"),
        (["m", "--grafana-url", "grafana:3000"], "give an address such as https://"),
        (["m", "--job", "model.*"], "give a name among its alternatives"),
        (["m", "--job", "("], "give a name among its alternatives"),
        (["m", "--prometheus", "http://127.0.0.1:9"], "give both"),
        (["m", "--check", "--job", "a"], "leave --job out"),
        (["nothing", "--check"], "holds no rules and no dashboards"),
        (["file"], "give a folder"),
    ],
)
def test_wrong_use_is_said_with_a_remedy(tmp_path, monkeypatch, arguments, remedy):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    said = run(*arguments)
    assert said.exit_code == 2, said.output
    assert remedy in " ".join(said.output.split())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_prometheus_that_does_not_answer_is_wrong_use(folder):
    said = run(folder, "--check", "--prometheus", f"http://127.0.0.1:{free_port()}")
    assert said.exit_code == 2 and "give its address" in " ".join(said.output.split())


def test_a_finding_says_where(folder):
    assert str(Finding("a.yaml", "rule", "is gone", "x")) == "a.yaml, rule: is gone"
