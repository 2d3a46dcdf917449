"""A small dataset of text pairs, with changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.text_pairs import TextPairsDataset
from tests.datasets.archives import write_zip

SETTINGS = Settings(_env_file=None)
FIRST: dict[str, Any] = {
    "premise": "a man plays .",
    "hypothesis": "a man sleeps",
    "premise_tags": "DT NN VBZ .",
    "hypothesis_tags": "DT NN VBZ",
    "label": "contradiction",
}
SECOND: dict[str, Any] = {"premise": "a  man\tplays\n.", "hypothesis": "a tall man", "label": "neutral"}
VOCABULARY = "<pad>\n<unk>\na\nman\nplays\n.\n"
VECTORS = "a 1 2.5 -3e-1\nman 0 0 0\ntall 4 5 6\n"


def lines(*pairs: Any) -> bytes:
    return "\n".join(pair if isinstance(pair, str) else json.dumps(pair) for pair in pairs).encode()


def members(pairs: bytes | None = None, **changes: str | bytes | None) -> dict[str, bytes]:
    """Return the members of a small archive, with changes; `vocab` and `vectors` without their ending."""
    said = {"vocab": VOCABULARY, "vectors": VECTORS, **changes}
    found = {"pairs.jsonl": lines(FIRST, SECOND) if pairs is None else pairs}
    for name, content in said.items():
        if content is not None:
            found[f"{name}.txt"] = content.encode() if isinstance(content, str) else content
    return found


def opened(path: Path, content: dict[str, bytes] | None = None) -> TextPairsDataset:
    return TextPairsDataset.open(write_zip(path / "a.zip", members() if content is None else content), SETTINGS)


def refused(path: Path, content: dict[str, bytes], kind: ProblemKind = ProblemKind.INVALID_DATASET) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", content), DatasetKind.TEXT_PAIRS, SETTINGS)
    assert caught.value.kind is kind, caught.value.detail
    return caught.value.detail
