"""What the console ships: vendored files are as recorded, every module is preloaded, nothing comes from elsewhere."""

import gzip
import hashlib
import re
from pathlib import Path

import barograph

CONSOLE = Path(barograph.__file__).parent / "console"
STATIC = CONSOLE / "static"
CODE = [path for path in sorted(STATIC.rglob("*")) if path.suffix in {".js", ".css", ".html", ".svg"}]
OWN = [path for path in CODE if path.parent.name != "vendor"]
BUDGET = 60_000  # bytes, gzip, all code together without the font


def recorded() -> dict[str, list[str]]:
    lines = (CONSOLE / "vendor.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {row[0]: row[1:] for row in rows}


def test_vendored_files_match_their_recorded_hashes() -> None:
    for name, (*_, digest) in recorded().items():
        assert hashlib.sha256((CONSOLE / name).read_bytes()).hexdigest() == digest, name


def test_every_vendored_file_is_recorded_with_version_and_licence() -> None:
    folders = [STATIC / "vendor", STATIC / "fonts"]
    found = {
        str(path.relative_to(CONSOLE))
        for folder in folders
        for path in folder.iterdir()
        if path.suffix != ".LICENSE"
    }
    assert found == set(recorded())
    for package, version, licence, _ in recorded().values():
        assert re.fullmatch(r"\d+(\.\d+)+", version), package
        assert licence in {"MIT", "Apache-2.0", "OFL-1.1"}
        name = package.split("/")[-1]
        assert any(path.stem == name for folder in folders for path in folder.glob("*.LICENSE")), package


def test_vendored_modules_import_by_relative_path_only() -> None:
    for path in (STATIC / "vendor").glob("*.js"):
        assert all(target.startswith("./") for target in re.findall(r'from\s*"([^"]+)"', path.read_text())), (
            path.name
        )


def test_index_preloads_every_module_that_the_pages_import() -> None:
    index = (STATIC / "index.html").read_text()
    preloaded = set(re.findall(r'rel="modulepreload" href="/static/([^"]+)"', index))
    modules = {str(path.relative_to(STATIC)) for path in CODE if path.suffix == ".js"}
    assert preloaded == modules - {"app.js", "theme.js"}


def test_imports_lead_to_files_that_exist() -> None:
    for path in OWN:
        for target in re.findall(r'^(?:import|export) .*?from "([^"]+)";', path.read_text(), re.M | re.S):
            assert (path.parent / target).resolve().is_file(), f"{path.name}: {target}"


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs_inline() -> None:
    for path in OWN:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|eval\(|new Function|innerHTML", text), path.name
    index = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=", index)


def test_the_code_stays_within_its_budget() -> None:
    shipped = b"".join(path.read_bytes() for path in CODE)
    assert len(gzip.compress(shipped, 9)) <= BUDGET
