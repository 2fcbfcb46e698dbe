"""Row 7: what `import barograph` costs over a bare interpreter with NumPy, and what is installed."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import barograph
from benchmarks import peers
from benchmarks.measure import Budget, Result, Scale, median, number

# What the evaluator, the verbs, the mixin and the demo have for themselves: no service imports it.
CODE = """
import json, sys, time
def held():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))
import numpy
before, start, known = held(), time.process_time(), set(sys.modules)
import {package}
used = time.process_time() - start
files = [getattr(m, "__file__", None) for name, m in list(sys.modules.items()) if name.split(".")[0] == "{package}"]
print(json.dumps([used, held() - before, len(set(sys.modules) - known), [file for file in files if file]]))
"""


def measure(scale: Scale) -> list[Result]:
    """The row."""
    imported(barograph.__name__)  # makes the bytecode
    ours = [imported("barograph") for _ in range(scale.interpreters)]
    peer = [imported("prometheus_client") for _ in range(scale.interpreters)]
    seconds, memory = (median([found[i] for found in ours]) for i in (0, 1))
    peer_seconds, peer_memory = (median([found[i] for found in peer]) for i in (0, 1))
    package = Path(barograph.__file__).parent
    everything = sum(path.stat().st_size for path in package.rglob("*") if _installed(path))
    core = sum(path.stat().st_size for path in core_files(package))
    loaded = sum(Path(path).stat().st_size for path in ours[0][3])
    return [
        Result(
            row="`import barograph`",
            ours=f"{number(seconds)} CPU s, {number(memory)} MB over NumPy; the core is {number(core / 1e6)} MB, "
            f"of which the {len(ours[0][3])} modules that this loads {number(loaded / 1e6)} MB; with console, demo and mixin "
            f"{number(everything / 1e6)} MB",
            peers=f"prometheus_client, which it imports: {number(peer_seconds)} s, {number(peer_memory)} MB",
            budgets=[
                Budget("CPU over NumPy's import", seconds, 0.2, " s"),
                Budget("memory over NumPy's import", memory, 40, " MB"),
                Budget("installed core", core / 1e6, 1, " MB"),
            ],
            figures={
                "cpu_s": seconds,
                "memory_mb": memory,
                "installed_bytes": everything,
                "core_bytes": core,
                "loaded_bytes": loaded,
            },
        )
    ]


def imported(package: str) -> tuple[float, float, int, list[str]]:
    """CPU seconds and MB that importing a package takes after NumPy, how many modules it loads, and the files of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(package=package)],
        cwd=peers.ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    used, memory, modules, files = json.loads(done.stdout)
    return used, memory, modules, files


def core_files(package: Path) -> set[Path]:
    """The files of all that a serving process may ever import, also within a function: the package itself, its integrations."""
    todo = [package / "__init__.py", *(package / "integrations").glob("*.py")]
    found = set(package.glob("*.so"))
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += _imported_by(ast.parse(path.read_text("utf-8")), package)
    return found


def _imported_by(tree: ast.AST, package: Path) -> Iterator[Path]:
    for node in ast.iter_child_nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from _imported_by(node, package)
        for name in names:
            top, *parts = name.split(".")
            folders = (
                [package.joinpath(*parts[: i + 1]) for i in range(len(parts))] if top == package.name else []
            )
            files = [file for at in folders for file in (at / "__init__.py", at.with_suffix(".py"))]
            yield from (file for file in files if file.is_file())


def _installed(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".c"
