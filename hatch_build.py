"""Compiles what runs for each row and each number, where there is a C compiler; elsewhere the package is pure Python.

The module uses the stable interface of Python, so one wheel a platform serves every Python from 3.11 on.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = "src/barograph/_compiled.c"
MODULE = "src/barograph/_compiled.abi3.so"
OPTIONS = ("-O2", "-fPIC", "-fvisibility=hidden", "-DNDEBUG", "-DPy_LIMITED_API=0x030B0000")


class Compile(BuildHookInterface):
    """Runs before a wheel is made, and before an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the compiled module to the wheel, and says for which platform it is."""
        if self.target_name != "wheel" or not compile_module(Path(self.root)):
            return
        build_data["artifacts"].append(f"/{MODULE}")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{next(platform_tags())}"


def compile_module(root: Path) -> bool:
    """Whether it could be compiled."""
    if os.name != "posix" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    linked = ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    include = sysconfig.get_paths()["include"]
    unfinished = MODULE + ".new"  # a process that has the old one loaded keeps it
    command = [*shlex.split(compiler), *OPTIONS, *linked, f"-I{include}", SOURCE, "-o", unfinished]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        print(f"barograph is installed as pure Python: {error}", file=sys.stderr)
        return False
    if done.returncode:
        print(f"barograph is installed as pure Python: {done.stderr[-2000:]}", file=sys.stderr)
        return False
    (root / unfinished).replace(root / MODULE)
    return True
