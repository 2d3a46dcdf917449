"""One name, one thing; the words of the glossary; files of a size to read. Holds for the product and its tests."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("app", "faceter", "workers")
CODE = (*PRODUCT, "tests", "benchmarks", "examples")
MOST_LINES, MOST_MEDIAN = 400, 150

GONE = {
    r"\bpictures?\b": "image",
    r"\bneurons?\b": "unit",
    r"\bdata sets?\b": "dataset",
    r"\bsee that\b": "check that",
    r"\bwhat is said of\b": "what is known of",
    r"\bkeep[_ ]house": "maintenance",
    r"\bin_one_sentence\b": "message_if_invalid",
}
"""Words that the glossary (docs/glossary.md) replaces, and by which."""

TITLES = re.compile(
    r"Compositional explanations of neurons|neurons are units|Also called neuron|Neuron instead of|^neuron\. ",
    re.IGNORECASE,
)
"""Where a word may stay: the title of a paper, and what tells users of the old word."""


def files(*roots: str) -> Iterator[Path]:
    for root in roots:
        yield from sorted((ROOT / root).rglob("*.py"))


def test_no_class_name_means_two_things() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for path in files(*PRODUCT):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                where[node.name.lstrip("_")].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert {name: places for name, places in where.items() if len(places) > 1} == {}


@pytest.mark.parametrize("word", GONE)
def test_words_that_are_gone_stay_gone(word: str) -> None:
    pattern = re.compile(word, re.IGNORECASE)
    documents = [path for path in (ROOT / "docs").rglob("*.md") if path.name != "glossary.md"]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in [*files(*CODE), *documents, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(TITLES.sub("", line))
    ]
    assert found == [], f"say {GONE[word]}"


def test_files_are_of_a_size_to_read() -> None:
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in files(*CODE)}
    assert {str(path): count for path, count in lines.items() if count > MOST_LINES} == {}
    assert median(count for path, count in lines.items() if path.parts[0] in PRODUCT and count > 1) <= MOST_MEDIAN
