"""Pairs of sentences: read by lines, numbered by the vocabulary, and what is wrong is named by its line."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.settings import Settings
from faceter.datasets import archive, text_pairs
from faceter.datasets.kinds import check, open_dataset, open_inputs
from faceter.datasets.pair_lines import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.graphs.describe import input_specs
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
    """Return the members of a small archive, changed as told; `vocab` and `vectors` without their ending."""
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
        check(write_zip(path / "a.zip", content), DatasetKind.TEXT_PAIRS, SETTINGS)
    assert caught.value.kind is kind, caught.value.detail
    return caught.value.detail


Length = int | str | None


def spec(name: str, length: Length = "length", dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=["batch", length])


def test_pairs_are_read(tmp_path: Path) -> None:
    told: list[float] = []
    path = write_zip(tmp_path / "a.zip", members())
    summary = check(path, DatasetKind.TEXT_PAIRS, SETTINGS, told.append)
    assert (summary.samples, summary.classes) == (2, ["contradiction", "neutral"])
    assert summary.class_counts == {"contradiction": 1, "neutral": 1}
    assert summary.concepts == {}
    assert summary.notes == [
        "not in vocab.txt, so taken for unknown: 2 words at 2 of 14 places: 'sleeps', 'tall'",
    ]
    assert told == [1.0]
    with open_dataset(path, DatasetKind.TEXT_PAIRS, SETTINGS) as data:
        assert len(data) == 2
        assert data.pairs == [
            TextPair(
                ("a", "man", "plays", "."), ("a", "man", "sleeps"), ("DT", "NN", "VBZ", "."), ("DT", "NN", "VBZ"),
                "contradiction",
            ),
            TextPair(("a", "man", "plays", "."), ("a", "tall", "man"), (), (), "neutral"),
        ]  # fmt: skip
        assert data.labels == [0, 1]
        assert data.vocabulary == {"<pad>": 0, "<unk>": 1, "a": 2, "man": 3, "plays": 4, ".": 5}
        assert data.unknown_words == Counter({"sleeps": 1, "tall": 1})
        assert data.longest == (4, 3)


def test_the_most_common_unknown_words_are_noted(tmp_path: Path) -> None:
    pair = {"premise": "x y y z z z", "hypothesis": "z a"}
    with opened(tmp_path, members(lines(pair), vocab="<pad>\n<unk>\na")) as data:
        assert data.unknown_words == Counter({"z": 4, "y": 2, "x": 1})
        assert data.notes == ["not in vocab.txt, so taken for unknown: 3 words at 7 of 8 places: 'z', 'y', 'x'"]


def test_labels_in_the_models_order(tmp_path: Path) -> None:
    with opened(tmp_path) as data:
        for model_labels, numbers in ((None, [0, 1]), (["entailment", "neutral", "contradiction"], [2, 1])):
            found = data.sample_labels(model_labels)
            assert found is not None
            assert found.dtype == np.int64
            assert found.tolist() == numbers
        with pytest.raises(FaceterError, match="no labels of the model: 'neutral'") as caught:
            data.sample_labels(["contradiction", "x"])
    assert "Its labels are 'contradiction', 'x'." in caught.value.detail
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


@pytest.mark.parametrize("nothing", [{}, {"label": None, "premise_tags": None, "hypothesis_tags": None}])
def test_labels_and_tags_are_optional(tmp_path: Path, nothing: dict[str, None]) -> None:
    with opened(tmp_path, members(lines({"premise": "a", "hypothesis": "man", **nothing}))) as data:
        assert (data.classes, data.labels, data.sample_labels(["x"])) == ([], None, None)
        assert data.pairs == [TextPair(("a",), ("man",), (), (), None)]
        assert data.summary().class_counts == {}


def test_one_side_may_have_tags(tmp_path: Path) -> None:
    with opened(tmp_path, members(lines({"premise": "a man", "hypothesis": "man", "hypothesis_tags": "NN"}))) as data:
        assert (data.pairs[0].premise_tags, data.pairs[0].hypothesis_tags) == ((), ("NN",))


def test_sentences_as_ids(tmp_path: Path) -> None:
    with opened(tmp_path) as data:
        premises, hypotheses = data.encoded([1, 0], 6, 3)
        assert premises.dtype == hypotheses.dtype == np.int64
        assert premises.tolist() == [[2, 3, 4, 5, 0, 0], [2, 3, 4, 5, 0, 0]]
        assert hypotheses.tolist() == [[2, 1, 3], [2, 3, 1]]
        assert data.encoded([0], 2, 1)[0].tolist() == [[2, 3]], "what is longer is cut off"
        assert [ids.shape for ids in data.encoded([], 6, 3)] == [(0, 6), (0, 3)]


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=6)
sentences = st.lists(words, min_size=1, max_size=8)


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=6), st.data())
def test_ids_are_places_in_the_vocabulary(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[list[str], list[str]]], draw: st.DataObject
) -> None:
    every = sorted({word for pair in pairs for side in pair for word in side} - {"<pad>", "<unk>"})
    known = ["<pad>", "<unk>", *draw.draw(st.lists(st.sampled_from(every or ["x"]), unique=True))]
    said = lines(*({"premise": " ".join(one), "hypothesis": "\t".join(other)} for one, other in pairs))
    content = members(said, vocab="\n".join(known), vectors=None)
    with opened(tmp_path_factory.mktemp("pairs"), content) as data:
        premises, hypotheses = data.encoded(range(len(pairs)), *data.longest)
        for (premise, hypothesis), *ids in zip(pairs, premises.tolist(), hypotheses.tolist(), strict=True):
            for tokens, found in zip((premise, hypothesis), ids, strict=True):
                expected = [known.index(token) if token in known else 1 for token in tokens]
                assert found == expected + [0] * (len(found) - len(tokens))
        unknown = Counter(word for pair in pairs for side in pair for word in side if word not in known)
        assert data.unknown_words == unknown


def test_vectors(tmp_path: Path) -> None:
    with opened(tmp_path) as data:
        found = data.vectors()
        assert found is not None
        assert found[0] == ["a", "man", "tall"]
        assert found[1].dtype == np.float32
        np.testing.assert_array_equal(found[1], np.array([[1, 2.5, -0.3], [0, 0, 0], [4, 5, 6]], np.float32))
    with opened(tmp_path, members(vectors=None)) as data:
        assert data.vectors() is None
        assert data.verify().samples == 2


def test_progress_over_many_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_pairs, "_TOLD_EVERY", 2)
    told: list[float] = []
    with opened(tmp_path, members(vectors="".join(f"w{number} 1 2\n" for number in range(8)))) as data:
        data.verify(told.append)
    assert told == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_lines_come_out_whole_however_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(archive, "_CHUNK", chunk)
    pairs = b"\xef\xbb\xbf" + lines(FIRST, "", {**SECOND, "hypothesis": "ein großer Mann"}, "").replace(b"\n", b"\r\n")
    content = members(pairs, vocab="\ufeff" + VOCABULARY.replace("\n", "\r\n"), vectors=VECTORS.replace("\n", " \r\n"))
    with opened(tmp_path, content) as data:
        assert [pair.hypothesis[1] for pair in data.pairs] == ["man", "großer"]
        assert list(data.vocabulary) == ["<pad>", "<unk>", "a", "man", "plays", "."]
        found = data.vectors()
        assert found is not None
        assert found[0] == ["a", "man", "tall"]


def test_a_folder_around_everything_is_allowed(tmp_path: Path) -> None:
    content = {f"snli/{name}": content for name, content in members().items()}
    with opened(tmp_path, content) as data:
        assert data.verify().samples == 2
        assert data.vectors() is not None


def test_what_is_not_known_is_passed_over_and_said(tmp_path: Path) -> None:
    content = {**members(lines({**FIRST, "id": 7, "genre": "x"})), "README": b"x"}
    assert check(write_zip(tmp_path / "a.zip", content), DatasetKind.TEXT_PAIRS, SETTINGS).notes[1:] == [
        "passed over, not known in pairs.jsonl: 'genre', 'id'",
        "passed over, not known: 'README'",
    ]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"premise": "\\ud800", "hypothesis": "a"}', "is not JSON: a text in it holds half a character"),
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
        (None, "The archive holds no vocab.txt"),
    ],
)
def test_bad_vocabularies_are_refused(tmp_path: Path, vocabulary: str | None, words: str) -> None:
    assert words in refused(tmp_path, members(vocab=vocabulary))


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ("a 1 2\nman 1\n", "vectors.txt: line 2 has 1 numbers after its word, the first has 2"),
        ("a 1 2\n\nman 1 2 3\n", "vectors.txt: line 3 has 3 numbers after its word, the first has 2"),
        ("a 1 2\nman 1 x\n", "vectors.txt: line 2 holds what is no number"),
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
    assert "holds no pairs.jsonl" in refused(tmp_path, {"a/pairs.jsonl": lines(FIRST), "b/vocab.txt": b"a\nb"})
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


def test_each_different_word_is_kept_once(tmp_path: Path) -> None:
    with opened(tmp_path, members(lines(FIRST, SECOND))) as data:
        assert data.pairs[0].premise[1] is data.pairs[1].hypothesis[2]


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("premise", "hypothesis"), (0, 1)),
        (("hypothesis", "premise"), (1, 0)),
        (("the_Hypothesis_ids", "input"), (1, 0)),
        (("input", "Premise.1"), (1, 0)),
        (("input", "hypothesis"), (0, 1)),
        (("input.1", "input.2"), (0, 1)),
    ],
)
def test_inputs_are_told_by_name_else_by_order(
    tmp_path: Path, names: tuple[str, str], found: tuple[int, int], dtype: str
) -> None:
    specs = [spec(name, dtype=dtype) for name in names]
    with opened(tmp_path) as data:
        assert data.inputs_of(specs) == (specs[found[0]], specs[found[1]])


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([spec("premise")], "this one takes 'premise' int64 [batch, length]"),
        ([spec("premise"), spec("hypothesis"), spec("mask")], "'mask' int64 [batch, length]"),
        ([spec("premise"), spec("hypothesis", dtype="float32")], "'hypothesis' float32 [batch, length]"),
        ([TensorSpec(name="image", dtype="float32", shape=[1, 3, None, 8])], "'image' float32 [1, 3, ?, 8]"),
        ([spec("premise"), TensorSpec(name="hypothesis", dtype="int64", shape=["n", 1, 4])], "int64 [n, 1, 4]"),
    ],
)
def test_models_that_take_something_else(tmp_path: Path, specs: list[TensorSpec], words: str) -> None:
    with opened(tmp_path) as data, pytest.raises(FaceterError) as caught:
        data.inputs_of(specs)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert "two inputs [N, length] of whole numbers" in caught.value.detail
    assert words in caught.value.detail


def test_sentences_that_are_too_long_for_the_model(tmp_path: Path) -> None:
    short = {"premise": "a", "hypothesis": "a b"}
    pairs = [short, {"premise": "a b c", "hypothesis": "a"}, short, {"premise": "a", "hypothesis": "a b c d"}]
    with opened(tmp_path, members(lines(*pairs))) as data:
        fitting: list[tuple[Length, Length]] = [(3, 4), ("length", None), (3, "length"), (None, 4)]
        for first, second in fitting:
            data.inputs_of([spec("premise", first), spec("hypothesis", second)])
        short_of: list[tuple[Length, Length, str]] = [
            (2, 4, "The premise of pair 1 (counted from 0) has 3 tokens, and the model takes 2. Leave"),
            ("length", 3, "The hypothesis of pair 3 (counted from 0) has 4 tokens, and the model takes 3. Leave"),
            (2, 3, "The premise of pair 1 (counted from 0) has 3 tokens, and the model takes 2. So it is with 1 other"),
            (3, 1, "The hypothesis of pair 0 (counted from 0) has 2 tokens, and the model takes 1. So it is with 2"),
        ]
        for first, second, words in short_of:
            with pytest.raises(FaceterError) as caught:
                data.inputs_of([spec("hypothesis", second), spec("premise", first)])
            assert caught.value.kind is ProblemKind.DATASET_MISMATCH
            assert words in caught.value.detail


def test_text_pairs_are_no_images_or_signals(tmp_path: Path) -> None:
    with pytest.raises(FaceterError, match="text pairs, which are for explanations") as caught:
        open_inputs(write_zip(tmp_path / "a.zip", members()), DatasetKind.TEXT_PAIRS, SETTINGS)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_a_real_set_passes(shared_data: Path) -> None:
    path = shared_data / "nli" / "snli.zip"
    summary = check(path, DatasetKind.TEXT_PAIRS, SETTINGS)
    assert (summary.samples, summary.classes) == (6000, ["contradiction", "entailment", "neutral"])
    assert summary.class_counts == {"contradiction": 2022, "entailment": 2015, "neutral": 1963}
    (note,) = summary.notes
    assert "996 words at 996 of" in note
    with open_dataset(path, DatasetKind.TEXT_PAIRS, SETTINGS) as data:
        assert data.longest == (59, 55)
        assert len(data.vocabulary) == 4662
        assert all(pair.premise_tags and pair.hypothesis_tags for pair in data.pairs)
        found = data.vectors()
        assert found is not None
        assert found[1].shape == (len(found[0]), 50) == (4660, 50)
        assert set(data.vocabulary) - set(found[0]) == {"<pad>", "<unk>"}


def test_the_real_model_takes_shorter_sentences_than_some_of_the_real_set(shared_data: Path) -> None:
    specs = input_specs(onnx.load(str(shared_data / "nli" / "snli_mlp.onnx")))
    with open_dataset(shared_data / "nli" / "snli.zip", DatasetKind.TEXT_PAIRS, SETTINGS) as data:
        with pytest.raises(FaceterError) as caught:
            data.inputs_of(specs)
        assert "The hypothesis of pair 509 (counted from 0) has 26 tokens, and the model" in caught.value.detail
        assert "takes 24. So it is with 40 other pairs." in caught.value.detail
        longer = [found.model_copy(update={"shape": ["batch", 60]}) for found in specs]
        assert data.inputs_of(longer) == tuple(longer)
