"""The rules of the house that a program can check. The order of modules is import-linter's, in pyproject.toml."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.importing import core_files

import barograph
from barograph.drift import MEASURES
from barograph.naming import METRICS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "barograph"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 600

# What a module may import besides the standard library, numpy and barograph, as it is imported itself ...
THIRD_PARTY: dict[str, set[str]] = {
    "calibrate": {"scipy"},
    "concept": {"scipy"},
    "cli": {"rich", "typer"},
    "console": {"starlette"},
    "deciding": {"rich", "typer"},
    "jumps": {"scipy"},
    "leak": {"scipy"},
    "lines": {"scipy"},
    "usual": {"scipy"},
    "demo": {
        "fastapi",
        "httpx",
        "joblib",
        "pandas",
        "pydantic",
        "rich",
        "sklearn",
        "uvicorn",
    },
    "exposition": {"prometheus_client"},
    "history": {"pyarrow"},
    "integrations.fastapi": {"prometheus_client", "starlette"},
    "inbox": {"starlette"},
    "importing": {"typer"},
    "intake": {"pyarrow"},
    "ledger": {"pyarrow"},
    "drill": {"pyarrow"},
    "drill.demo": {"pandas"},
    "drill.verb": {"rich", "typer"},
    "errors": {"pyarrow"},
    "errors.chance": {"scipy"},
    "errors.verb": {"rich", "typer"},
    "heuristics_job": {"pyarrow"},
    "heuristics_job.verb": {"rich", "typer"},
    "labels": {"pyarrow"},
    "logs": {"pyarrow"},
    "mixin": {"yaml"},
    "mixin.check": {"httpx"},
    "mixin.verb": {"rich", "typer"},
    "notify": {"httpx"},
    "performance": {"scipy"},
    "prometheus": {"httpx", "pyarrow"},
    "serve": {"httpx", "uvicorn"},
    "sources": {"httpx"},
    "readiness": {"scipy"},
    "readying": {"rich", "typer"},
    "tables": {"pyarrow"},
    "terminal": {"rich", "typer"},
    "tables.databases": {"duckdb"},
    "tiles": {"duckdb", "pyarrow"},
}
# ... and what only inside a function, when it is called.
WHEN_CALLED: dict[str, set[str]] = {
    "cli": {"duckdb", "httpx"},
    "deciding": {"httpx"},
    "estimate": {"sklearn"},
    "readying": {"httpx"},
    "logs": {"fsspec"},
    "tables.databases": {"adbc_driver_manager", "adbc_driver_postgresql"},
    "tables.files": {"fsspec", "httpx"},
}
# What the serving process pays for with its memory and its start.
HEAVY = {
    "duckdb",
    "fastapi",
    "fsspec",
    "httpx",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "starlette",
    "typer",
}


def module(path: Path) -> str:
    """`bins`, `console.api`: the module's name under barograph; empty for barograph itself."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def allowed(table: dict[str, set[str]], name: str) -> set[str]:
    """What `table` allows a module: its own entry and those of the packages that it lies in."""
    parts = name.split(".")
    return set().union(*(table.get(".".join(parts[: i + 1]), set()) for i in range(len(parts))))


def imports(tree: ast.AST, *, within: bool = False) -> Iterator[tuple[str, bool]]:
    """Each import's first name, and whether it waits for a function to be called (or is read by type checkers only)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], within) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0], within
        waits = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or _for_types_only(node)
        yield from imports(node, within=within or waits)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_imports_tells_what_waits_for_a_call() -> None:
    code = "import a.b\nif TYPE_CHECKING:\n    import c\nclass K:\n    from d import e\n    def f(self):\n        import g"
    assert dict(imports(ast.parse(code))) == {"a": False, "c": True, "d": False, "g": True}


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_module_imports_only_the_libraries_it_is_allowed(path: Path) -> None:
    name = module(path)
    own = sys.stdlib_module_names | {"barograph", "numpy"}
    at_once = allowed(THIRD_PARTY, name)
    later = at_once | allowed(WHEN_CALLED, name)
    for library, waits in imports(ast.parse(path.read_text("utf-8"))):
        assert library in own | (later if waits else at_once), (
            f"{name} imports {library}{' in a function' if waits else ''}; move it to an edge, or allow it in this test"
        )


def test_every_library_that_is_allowed_is_used() -> None:
    found = {
        (module(path), library)
        for path in FILES
        for library, _ in imports(ast.parse(path.read_text("utf-8")))
    }
    for table in (THIRD_PARTY, WHEN_CALLED):
        for name, libraries in table.items():
            used = {library for where, library in found if where == name or where.startswith(f"{name}.")}
            assert libraries <= used, (
                f"{name} is allowed {sorted(libraries - used)}, which it does not import: strike it out"
            )


def test_importing_barograph_loads_nothing_heavy() -> None:
    code = "import sys, barograph; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "numpy" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("path", [path for path in FILES if module(path) != "naming"], ids=module)
def test_only_naming_spells_a_metric(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            spelt = re.fullmatch(r"ml_[a-z_]+", node.value) or node.value in METRICS
            assert not spelt, f"{module(path)}:{node.lineno} spells {node.value!r}; take it from naming"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_file_past_600_lines_becomes_a_folder(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=module)
def test_every_module_says_in_a_docstring_what_it_is(path: Path) -> None:
    code = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(code) or not code.body


def test_a_measure_touches_one_source_file() -> None:
    spelt = {
        node.value
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if module(path) != "drift" and isinstance(node, ast.Constant) and node.value in MEASURES
    }
    assert spelt <= {"psi"}  # the one that a page shows beside every column


def test_an_integration_is_known_to_nothing_but_the_demo() -> None:
    for path in FILES:
        if module(path).split(".")[0] not in ("integrations", "demo"):
            imported = r"(from|import) barograph\.integrations|from barograph import .*\bintegrations"
            assert not re.search(imported, path.read_text("utf-8")), module(path)


def test_the_table_of_what_touches_one_file_names_files_that_are_there() -> None:
    table = [
        line for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines() if line.startswith("| ")
    ]
    named = [name for line in table for name in re.findall(r"`(src/barograph/[^`]+|tests/[^`]+)`", line)]
    assert len(named) >= 4
    for name in named:
        assert list(ROOT.glob(name)), f"CONTRIBUTING.md names {name}, which is not there"
    for line in table:
        for registry in re.findall(r"`([A-Z]{3,})`", line):
            (file,) = (ROOT / name for name in named if f"`{name}`" in line)
            assert re.search(rf"^{registry}\b.*=", file.read_text("utf-8"), re.MULTILINE), (
                f"no {registry} in {file.name}"
            )


def test_the_changelog_has_an_entry_for_this_version() -> None:
    assert re.search(
        rf"^## {re.escape(barograph.__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )


def test_the_wheel_holds_the_package_with_the_console_and_stays_small(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    expected = {
        str(path.relative_to(ROOT / "src"))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".c", ".so")
    }
    assert expected - set(sizes) == set()
    assert {name.split("/")[0].split("-")[0] for name in sizes} == {"barograph"}
    core = {str(path.relative_to(ROOT / "src")) for path in core_files(SOURCE) if path.suffix == ".py"}
    assert {"barograph/monitor.py", "barograph/logs/log.py", "barograph/integrations/fastapi.py"} <= core
    assert not {"barograph/cli.py", "barograph/evaluate.py", "barograph/tiles/__init__.py"} & core
    compiled = sum(size for name, size in sizes.items() if name.endswith(".so"))
    assert compiled + sum(sizes[name] for name in core) <= 1_000_000  # bytes, installed
    assert sum(sizes.values()) <= 2_500_000


@pytest.mark.workers
def test_what_fills_the_machine_runs_in_one_process(request: pytest.FixtureRequest) -> None:
    assert ("@alone" in request.node.nodeid) == getattr(request.config.option, "loadgroup", False)
