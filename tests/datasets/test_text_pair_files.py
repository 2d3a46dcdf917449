"""Invalid files of text pairs are refused, naming the file and the line."""

from pathlib import Path
from typing import Any

import pytest

from faceter.contracts.errors import ProblemKind
from faceter.datasets import text_pairs
from tests.datasets.text_pairs import FIRST, SECOND, VOCABULARY, lines, members, opened, refused


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"premise": "\\ud800", "hypothesis": "a"}', "is not JSON: a string has an unpaired surrogate"),
        ("[]", "must be an object with the texts 'premise' and 'hypothesis'"),
        ({**FIRST, "premise": None}, "has a 'premise' that is not text"),
        ({**FIRST, "premise": ["a", "man"]}, "has a 'premise' that is not text"),
        ({**FIRST, "hypothesis": 1}, "has a 'hypothesis' that is not text"),
        ({"premise": "a", "label": "x"}, "has no 'hypothesis'"),
        ({"hypothesis": "a", "label": "x"}, "has no 'premise'"),
        ({**FIRST, "premise": ""}, "has an empty 'premise'"),
        ({**FIRST, "hypothesis": " \t\n"}, "has an empty 'hypothesis'"),
        ({**FIRST, "premise_tags": "DT NN"}, "has 2 'premise_tags' for the 4 tokens of its premise"),
        ({**FIRST, "hypothesis_tags": "DT NN VBZ ."}, "has 4 'hypothesis_tags' for the 3 tokens of its hypothesis"),
        ({**FIRST, "hypothesis_tags": ""}, "has 0 'hypothesis_tags'"),
        ({**FIRST, "premise_tags": ["DT"]}, "has a 'premise_tags' that is not text"),
        ({"premise": "a", "hypothesis": "a"}, "has no 'label', line 1 has one"),
        ({**FIRST, "label": None}, "has no 'label', line 1 has one"),
        ({**FIRST, "label": 2}, "has a 'label' that is no text"),
        ({**FIRST, "label": "  "}, "has a 'label' that is no text"),
        ({**FIRST, "label": "x" * 201}, "has a 'label' that is no text of 1 to 200 printable characters"),
    ],
)
def test_bad_pairs_are_refused(tmp_path: Path, second: Any, words: str) -> None:
    detail = refused(tmp_path, members(lines(FIRST, "", second)))
    assert detail.startswith("pairs.jsonl: line 3 ")
    assert words in detail


def test_pairs_that_are_labelled_after_others_that_are_not(tmp_path: Path) -> None:
    detail = refused(tmp_path, members(lines("", {"premise": "a", "hypothesis": "a"}, FIRST)))
    assert detail.startswith("pairs.jsonl: line 3 has a 'label', line 2 has none")


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    assert refused(tmp_path, members(lines(FIRST) + b"\n\xff")) == "pairs.jsonl: line 2 is not UTF-8 text at byte 0."
    assert "vocab.txt: line 3 is not UTF-8" in refused(tmp_path, members(vocab=b"a\nb\n\xe4\n"))
    assert "vectors.txt: line 1 is not UTF-8" in refused(tmp_path, members(vectors=b"\xe4 1 2\n"))


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        ("<pad>\n<unk>\na\nman\na\n", "vocab.txt: line 5 has 'a' again, which is on line 3 already"),
        ("<pad>\n<pad>\n", "vocab.txt: line 2 has '<pad>' again"),
        ("<pad>\n<unk>\n\na\n", "vocab.txt: line 3 is empty"),
        ("<pad>\n<unk>\na 7\n", "vocab.txt: line 3 holds more than one word"),
        ("", "vocab.txt needs two lines at least"),
        ("<pad>\n", "vocab.txt needs two lines at least"),
    ],
)
def test_bad_vocabularies_are_refused(tmp_path: Path, vocabulary: str | None, words: str) -> None:
    assert words in refused(tmp_path, members(vocab=vocabulary))


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ("a 1 2\nman 1\n", "vectors.txt: line 2 has 1 numbers after its word, the first has 2"),
        ("a 1 2\n\nman 1 2 3\n", "vectors.txt: line 3 has 3 numbers after its word, the first has 2"),
        ("a 1 2\nman 1 x\n", "vectors.txt: line 2 holds a value that is not a number"),
        ("a 1 2\nman 1 nan\n", "vectors.txt: line 2 holds a number that is not finite"),
        ("a 1 -inf\n", "vectors.txt: line 1 holds a number that is not finite"),
        ("a 1 1e39\n", "vectors.txt: line 1 holds a number that is not finite"),
        ("a 1 2\na 1 2\n", "vectors.txt: line 2 has 'a' again"),
        ("a\n", "vectors.txt: line 1 must be a word and its numbers"),
        (" 1 2\n", "vectors.txt: line 1 must be a word and its numbers"),
        ("", "vectors.txt is empty"),
        ("\n\n", "vectors.txt is empty"),
    ],
)
def test_bad_vectors_are_refused(tmp_path: Path, vectors: str, words: str) -> None:
    assert words in refused(tmp_path, members(vectors=vectors))


def test_archives_that_lack_something_are_refused(tmp_path: Path) -> None:
    assert "holds no pairs.jsonl" in refused(tmp_path, {"vocab.txt": VOCABULARY.encode()})
    elsewhere = {"a/pairs.jsonl": lines(FIRST), "b/vocab.txt": b"a\nb"}
    with opened(tmp_path, elsewhere) as data:
        assert not data.has_vocabulary
        assert "ignored, unknown: 'b/vocab.txt'" in data.warnings
    for nothing in (b"", b"\n \n", b"\xef\xbb\xbf"):
        assert "pairs.jsonl holds no pairs" in refused(tmp_path, members(nothing))


def test_files_and_lines_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = lines(FIRST, {**SECOND, "premise": "a " * (1 << 19)})
    assert "pairs.jsonl: line 2 is longer than 1,048,576 bytes" in refused(tmp_path, members(long))
    endless = lines(FIRST) + b"\n" + bytes(3 << 20)
    assert "pairs.jsonl: line 2 is longer than 1,048,576 bytes" in refused(tmp_path, members(endless))
    for limit, name in (("PAIRS", "pairs.jsonl"), ("VOCABULARY", "vocab.txt"), ("VECTORS", "vectors.txt")):
        with monkeypatch.context() as patched:
            patched.setattr(text_pairs, f"_MAX_{limit}_BYTES", 20)
            assert f"'{name}'" in refused(tmp_path, members(), ProblemKind.ARCHIVE_TOO_LARGE)
