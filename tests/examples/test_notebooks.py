"""Every notebook runs from top to bottom against a real service, and its stored outputs are of that code."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.up_process import Up
from tests.examples.notebooks import NOTEBOOKS, executed

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a new service with one worker."""
    up = Up(tmp_path_factory.mktemp("notebooks") / "data", ["--port", "0"])
    up.hears("Ready after")
    yield up.url
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()


def shown(cells: list[dict[str, Any]]) -> list[list[str]]:
    """Return for each cell of code the types of what it shows in a page."""
    return [
        [output.get("name") or "/".join(sorted(output["data"])) for output in cell["outputs"] if _is_kept(output)]
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def _is_kept(output: dict[str, Any]) -> bool:
    return output.get("name") != "stderr"


def test_there_is_one_for_each_capability() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["explain", "grade", "quantize", "translate"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path: Path, url: str) -> None:
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = executed(path, url).cells
    assert shown(found) == shown(stored)
    assert any("image/png" in "".join(kinds) or "text/html" in "".join(kinds) for kinds in shown(found))
