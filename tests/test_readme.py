"""The README keeps its word: its commands are run by CI, its Python runs here, its links lead somewhere."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barograph import naming

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "CONTRIBUTING.md"]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def commands(page: str) -> list[str]:
    """The lines of a page's shell blocks, without comments."""
    lines = (line.partition(" #")[0].strip() for block in blocks(page, "sh") for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_ci_runs_the_commands_of_the_first_screen() -> None:
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    shown = {tuple(shlex.split(line)[:2]) for line in commands("README.md") if line.startswith("make ")}
    run = {tuple(shlex.split(line)[:2]) for line in re.findall(r"\bmake [a-z].*", ci)}
    assert shown == {("make", "demo"), ("make", "test")}
    assert shown <= run


@pytest.mark.parametrize(("page", "line"), [(page, line) for page in PAGES for line in commands(page)])
def test_a_command_is_one_that_there_is(page: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        assert arguments[0] in make_targets()
    elif program == "barograph":
        helped = subprocess.run(
            [Path(sys.executable).with_name(program), arguments[0], "--help"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert [a for a in arguments if a.startswith("--") and a not in helped.stdout] == []
    else:
        pytest.fail(f"{page} shows {line!r}, which no test knows how to check")


class Model:
    """Answers 0.25 to every row."""

    def predict_proba(self, rows: list[Any]) -> np.ndarray:
        return np.tile([0.75, 0.25], (len(rows), 1))


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fastapi = pytest.importorskip("fastapi")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    n = 500
    frame = {
        "dep_delay": random.normal(10.0, 30.0, n),
        "carrier": random.choice(["AA", "UA", "DL"], n).tolist(),
        "p_late": random.random(n),
        "late": (random.random(n) > 0.8).tolist(),
        "scheduled_at": (1_380_000_000 + 60.0 * np.arange(n)).tolist(),
    }
    app = fastapi.FastAPI()
    names: dict[str, Any] = {"frame": frame, "app": app, "model": Model()}
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), names)
    monitor = names["monitor"]
    try:
        names["model"].predict_proba([{"dep_delay": 3.0, "carrier": "AA"}] * 3)
        exposed = monitor.render().decode()
    finally:
        monitor.close()
    assert re.search(rf"^{naming.PREDICTIONS.name}\{{.*\}} 3(\.0)?$", exposed, re.MULTILINE)
    assert "/metrics" in {getattr(route, "path", None) for route in app.routes}


def test_three_lines_instrument_a_service() -> None:
    (lines,) = [block for block in blocks("README.md", "python") if "instrument" in block]
    assert len(ast.parse(lines).body) == len(lines.splitlines()) == 3


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "docs/decisions/README.md"])
def test_the_links_of_a_page_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text) + re.findall(r"""(?:src|srcset)="([^"]+)\"""", text)
    missing = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    assert missing == []


def test_the_extras_that_the_readme_names_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = re.findall(r'pip install "\.\[([a-z,]+)\]"', (ROOT / "README.md").read_text("utf-8"))
    assert named
    for extras in named:
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
