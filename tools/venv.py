"""Make .venv and install a locked set of packages into it: `python3 tools/venv.py demo|test|newest`.

`demo` and `test` install requirements/NAME.txt, every file checked against its hash. `newest` makes .venv-newest instead,
with the newest release of everything. The Makefile runs this with whatever python3 there is, so it parses on an old one.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
LOCKED = ["--no-deps", "--require-hashes"]


def works(python):
    """Whether `python` is an interpreter that starts, is new enough, and has pip."""
    code = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    try:
        return (
            subprocess.run([str(python), "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0
        )
    except OSError:
        return False


def need_new_python():
    """Go on in a Python that is new enough: this one, or another on the path."""
    if sys.version_info >= OLDEST:
        return
    for minor in (13, 12, 11, 14):
        found = shutil.which(f"python3.{minor}")
        if found and works(found):
            os.execv(found, [found, *sys.argv])
    sys.exit(
        f"barograph needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.\n"
        "Install a newer one, and name it if it is not on the path: make PYTHON=/path/to/python3.12"
    )


def pip(python, *arguments):
    """`pip install`; what it prints is shown only where it fails."""
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def uv(python, *arguments):
    """`uv pip install`, from the package index that pip is set up with; whether it succeeded."""
    asked = [python, "-m", "pip", "config", "get", "global.index-url"]
    index = os.environ.get("PIP_INDEX_URL")
    index = index or subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    environment = {**({"UV_DEFAULT_INDEX": index} if index else {}), **os.environ}
    command = [python.parent / "uv", "pip", "install", "--python", python]
    if not sys.stderr.isatty():
        command.append("--quiet")  # on a terminal its bars show how far it is
    return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, check=False).returncode == 0


def install_locked(python, name):
    """Install requirements/NAME.txt and the package itself. uv is some times faster; where it cannot, pip does it."""
    locked = [*LOCKED, "--no-build-isolation", "-r", f"requirements/{name}.txt"]
    if not uv(python, *locked):
        print("uv did not manage; trying pip, which takes some times longer.", flush=True)
        pip(python, "--use-pep517", *locked)
    pip(python, "--no-deps", "--no-build-isolation", "--editable", ".")


def main(name):
    """Make the environment, install, and leave a stamp for make."""
    started = time.monotonic()
    folder = ROOT / (".venv-newest" if name == "newest" else ".venv")
    python = folder / "bin" / "python"
    if not works(python):
        print(f"Making {folder.name} with {sys.executable}.", flush=True)
        if subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=False).returncode:
            sys.exit(f"{sys.executable} could not make a virtual environment; see the lines above.")
    print("Installing packages (some 200 MB where none are cached).", flush=True)
    pip(python, *LOCKED, "--only-binary", ":all:", "-r", "requirements/build.txt")
    if name != "newest":
        install_locked(python, name)
    elif not uv(python, "--upgrade", "--editable", ".[demo]", "--group", "dev"):
        sys.exit("uv could not install the newest releases; see the lines above.")
    # What the tests need holds all that the demo needs.
    for stamp in ("demo", "test") if name == "test" else (name,):
        (folder / f".{stamp}").touch()
    print(f"{folder.name} is ready, after {time.monotonic() - started:.0f} s.", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] not in (["demo"], ["test"], ["newest"]):
        sys.exit(__doc__)
    need_new_python()
    main(sys.argv[1])
