"""What the pages of documentation promise of themselves; `docs/hooks.py` checks paths and line lengths."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOWS = sorted((ROOT / "docs" / "how-it-works").glob("flow-*.md"))


@pytest.mark.parametrize("page", FLOWS, ids=lambda page: page.stem)
def test_a_flow_lists_each_file_once_and_in_order(page: Path) -> None:
    rows = re.findall(r"^\| (\d+) \| `([^`]+)` \|", page.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    files = [file for _, file in rows]
    assert len(files) > 20
    assert sorted(set(files)) == sorted(files)
    assert files[0].startswith("app/http/")


def test_there_is_a_flow_of_each_long_way() -> None:
    assert [page.stem for page in FLOWS] == ["flow-explain", "flow-quantize", "flow-translate"]


PAGES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
SCRIPTS = [path for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"] if path.is_file()]


def too_long(lines: list[str]) -> list[str]:
    return [line for line in lines if len(line) > 100]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_of_a_page_has_more_than_a_hundred_columns(page: Path) -> None:
    blocks = re.findall(r"```(?:bash|console)\n(.*?)```", page.read_text(), re.DOTALL)
    assert too_long([line for block in blocks for line in block.splitlines()]) == []


def test_no_command_of_the_api_page_has_more_than_a_hundred_columns() -> None:
    document = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())
    texts = [call.get("description", "") for calls in document["paths"].values() for call in calls.values()]
    commands = [line.removeprefix("    ") for text in texts for line in text.splitlines() if line.startswith("    ")]
    assert len(commands) > 10
    assert too_long(commands) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_line_of_a_script_has_more_than_a_hundred_columns(script: Path) -> None:
    assert too_long(script.read_text().splitlines()) == []
