"""The files of the console: that the package has them, their style, and the types of its modules."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_CONSOLE = _ROOT / "app" / "console"
_OURS = sorted(path for path in _CONSOLE.rglob("*") if path.is_file() and path.parent.name != "vendor")


def test_the_package_has_every_file_and_the_licences() -> None:
    packaged = files("app") / "console"
    for name in ("index.html", "main.js", "vendor/lit.js", "vendor/uplot.js", "vendor/LICENSE-lit"):
        assert (packaged / name).is_file()
    notice = (packaged / "vendor" / "README.md").read_text()
    for file in (_CONSOLE / "vendor").iterdir():
        assert file.name in notice or file.name in ("README.md", "LICENSE-uplot")


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host() -> None:
    page = (_CONSOLE / "index.html").read_text()
    assert not re.search(r"<style|style=|<script(?![^>]*\bsrc=)|\son\w+=", page)
    for path in _OURS:
        if path.suffix in (".js", ".css"):
            text = path.read_text()
            assert "//" not in re.sub(r"(?m)^\s*//.*$", "", text).replace("https?:", ""), path
            assert not re.search(r'style="|innerHTML|eval\(', text), path


@pytest.mark.parametrize("path", _OURS, ids=lambda path: str(path.relative_to(_CONSOLE)))
def test_files_are_of_a_size_to_read_and_say_image(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 120
    assert not re.search(r"\bpictures?\b|\bneurons?\b|\bdata sets?\b", path.read_text(), re.IGNORECASE)


def test_every_module_that_is_imported_exists() -> None:
    for path in _OURS:
        if path.suffix == ".js":
            for target in re.findall(r'(?:from|import) "(\.[^"]+)"', path.read_text()):
                assert (path.parent / target).is_file(), f"{path.name} imports {target}"


def test_the_types_of_the_modules_are_right() -> None:
    checker = shutil.which("tsc", path=f"{_ROOT / 'node_modules' / '.bin'}") or shutil.which("tsc")
    if checker is None or shutil.which("node") is None:
        pytest.skip("no TypeScript: npm install --no-save typescript@7.0.2")
    done = subprocess.run(
        [checker, "-p", "tests/console/tsconfig.json"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
