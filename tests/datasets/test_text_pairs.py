"""Text pairs are read line by line and encoded by the vocabulary."""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.base import composed
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets import archive, text_pairs
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.pairs_file import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from tests.datasets.archives import write_zip
from tests.datasets.text_pairs import FIRST, SECOND, SETTINGS, VECTORS, VOCABULARY, lines, members, opened, refused


def test_pairs_are_read(tmp_path: Path) -> None:
    fractions: list[float] = []
    path = write_zip(tmp_path / "a.zip", members())
    summary = verify_dataset(path, DatasetKind.TEXT_PAIRS, SETTINGS, fractions.append)
    assert (summary.samples, summary.classes) == (2, ["contradiction", "neutral"])
    assert summary.class_counts == {"contradiction": 1, "neutral": 1}
    assert summary.concepts == {}
    assert summary.warnings == [
        "not in vocab.txt, so unknown to the model: 2 words, 2 of 14 occurrences: 'sleeps', 'tall'",
    ]
    assert fractions == [1.0]
    with TextPairsDataset.open(path, SETTINGS) as data:
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
        assert data.warnings == [
            "not in vocab.txt, so unknown to the model: 3 words, 7 of 8 occurrences: 'z', 'y', 'x'"
        ]


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


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=6).map(
    composed
)


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
    monkeypatch.setattr(text_pairs, "_PROGRESS_EVERY", 2)
    fractions: list[float] = []
    with opened(tmp_path, members(vectors="".join(f"w{number} 1 2\n" for number in range(8)))) as data:
        data.verify(fractions.append)
    assert fractions == [0.25, 0.5, 0.75, 1.0, 1.0]


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


def test_pairs_whose_annotators_did_not_agree_are_passed_over(tmp_path: Path) -> None:
    undecided = {**FIRST, "label": "-", "premise": "two dogs"}
    path = write_zip(tmp_path / "a.zip", members(lines(undecided, FIRST, undecided, SECOND).replace(b"\n", b"\r\n")))
    summary = verify_dataset(path, DatasetKind.TEXT_PAIRS, SETTINGS)
    assert (summary.samples, summary.classes) == (2, ["contradiction", "neutral"])
    warning = "ignored, labelled '-' because annotators did not agree: 2 pairs, the first on line 1"
    assert warning in summary.warnings
    with TextPairsDataset.open(path, SETTINGS) as data:
        assert "dogs" not in data.unknown_words
    assert "holds no pairs with a label, only '-'" in refused(tmp_path, members(lines(undecided)))


def test_words_and_labels_are_compared_however_their_letters_are_encoded(tmp_path: Path) -> None:
    decomposed = [unicodedata.normalize("NFD", text) for text in ("café", "été")]
    pair = {"premise": f"{decomposed[0]} a", "hypothesis": "a", "label": decomposed[1]}
    with opened(tmp_path, members(lines(pair), vocab="<pad>\n<unk>\na\ncafé\n" + decomposed[0])) as data:
        assert data.encoded([0], 2, 1)[0].tolist() == [[3, 2]]
        assert data.classes == ["été"]
        for labels in (["x", "été"], ["x", decomposed[1]]):
            found = data.sample_labels(labels)
            assert found is not None
            assert found.tolist() == [1]


def test_what_is_not_known_is_ignored_with_a_warning(tmp_path: Path) -> None:
    content = {**members(lines({**FIRST, "id": 7, "genre": "x"})), "README": b"x"}
    assert verify_dataset(write_zip(tmp_path / "a.zip", content), DatasetKind.TEXT_PAIRS, SETTINGS).warnings[1:] == [
        "ignored, unknown fields of pairs.jsonl: 'genre', 'id'",
        "ignored, unknown: 'README'",
    ]


def test_each_different_word_is_kept_once(tmp_path: Path) -> None:
    with opened(tmp_path, members(lines(FIRST, SECOND))) as data:
        assert data.pairs[0].premise[1] is data.pairs[1].hypothesis[2]


def test_a_real_set_passes(shared_data: Path) -> None:
    path = shared_data / "nli" / "snli.zip"
    summary = verify_dataset(path, DatasetKind.TEXT_PAIRS, SETTINGS)
    assert (summary.samples, summary.classes) == (6000, ["contradiction", "entailment", "neutral"])
    assert summary.class_counts == {"contradiction": 2022, "entailment": 2015, "neutral": 1963}
    (note,) = summary.warnings
    assert "996 words, 996 of" in note
    with TextPairsDataset.open(path, SETTINGS) as data:
        assert data.longest == (59, 55)
        assert len(data.vocabulary) == 4662
        assert all(pair.premise_tags and pair.hypothesis_tags for pair in data.pairs)
        found = data.vectors()
        assert found is not None
        assert found[1].shape == (len(found[0]), 50) == (4660, 50)
        assert set(data.vocabulary) - set(found[0]) == {"<pad>", "<unk>"}
