"""The command line: help that teaches, errors with a remedy, exit codes that scripts can use."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from barograph import Reference, __version__
from barograph.cli import app

RUN = CliRunner()


def run(*arguments):
    return RUN.invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def table(tmp_path):
    pa, csv = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.csv")
    rng = np.random.default_rng(0)
    csv.write_csv(
        pa.table({"x": rng.normal(size=500), "c": ["a", "b"] * 250, "p": rng.uniform(size=500)}),
        tmp_path / "data.csv",
    )
    return tmp_path / "data.csv"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["serve"],
        ["status"],
        ["event"],
        ["mute"],
        ["unmute"],
        ["ack"],
        ["not-a-problem"],
        ["heuristics"],
        ["errors"],
        ["mixin"],
        ["readiness"],
        ["reference"],
        ["reference", "fit"],
        ["reference", "show"],
        ["reference", "check"],
    ],
)
def test_every_command_explains_itself(command):
    found = run(*command, "--help")
    assert found.exit_code == 0 and len(found.output) > 200


def test_the_version_is_the_packages():
    assert run("--version").output.strip() == f"barograph {__version__}"


def test_a_reference_is_fitted_shown_and_checked_against(table, tmp_path):
    made = tmp_path / "r.json"
    fitted = run(
        "reference", "fit", table, "--task", "binary", "--score", "p", "--threshold", 0.5, "-o", made
    )
    assert fitted.exit_code == 0 and Reference.load(made).schema.features == ("x", "c")
    shown = run("reference", "show", made)
    assert shown.exit_code == 0 and "500 rows" in shown.output
    assert run("reference", "check", made, table).exit_code == 0
    broken = tmp_path / "broken.csv"
    broken.write_text("x,c\n1e9,a\n0.5,zzz\n")
    found = run("reference", "check", made, broken)
    assert found.exit_code == 1 and "row 0: x is" in found.output and "2 violations" in found.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reference", "fit", "gone.csv", "--task", "binary", "-o", "r.json"], "'gone.csv' is no file"),
        (["reference", "show", "gone.json"], "cannot read 'gone.json'"),
        (["status", "--store", "gone.duckdb"], "there is no 'gone.duckdb'"),
        (["serve", "--config", "gone.toml"], "cannot read 'gone.toml'"),
        (["serve", "--clock", "yesterday"], "cannot read 'yesterday'"),
        (["demo", "cats"], "demo 'cats' is not known"),
    ],
)
def test_wrong_use_ends_with_2_and_the_remedy(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert found.exit_code == 2 and said in found.output
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_column_is_named(table, tmp_path):
    found = run("reference", "fit", table, "--task", "binary", "--score", "nope", "-o", tmp_path / "r.json")
    assert found.exit_code == 2 and "nope" in found.output
    assert json.dumps(None) == "null"
