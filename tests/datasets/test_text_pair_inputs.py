"""Premise and hypothesis are matched to the inputs of a model."""

from pathlib import Path

import onnx
import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.datasets.kinds import open_inputs
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.graphs.describe import input_specs
from tests.datasets.archives import write_zip
from tests.datasets.text_pairs import SETTINGS, lines, members, opened

Length = int | str | None


def spec(name: str, length: Length = "length", dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=["batch", length])


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
def test_inputs_are_matched_by_name_else_by_order(
    tmp_path: Path, names: tuple[str, str], found: tuple[int, int], dtype: str
) -> None:
    specs = [spec(name, dtype=dtype) for name in names]
    with opened(tmp_path) as data:
        assert data.matching_inputs(specs) == (specs[found[0]], specs[found[1]])


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
        data.matching_inputs(specs)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert "two inputs [N, length] of whole numbers" in caught.value.detail
    assert words in caught.value.detail


def test_sentences_that_are_too_long_for_the_model(tmp_path: Path) -> None:
    short = {"premise": "a", "hypothesis": "a b"}
    pairs = [short, {"premise": "a b c", "hypothesis": "a"}, short, {"premise": "a", "hypothesis": "a b c d"}]
    with opened(tmp_path, members(lines(*pairs))) as data:
        fitting: list[tuple[Length, Length]] = [(3, 4), ("length", None), (3, "length"), (None, 4)]
        for first, second in fitting:
            data.matching_inputs([spec("premise", first), spec("hypothesis", second)])
        short_of: list[tuple[Length, Length, str]] = [
            (2, 4, "The premise of pair 1 (counted from 0) has 3 tokens, and the model takes 2. Leave"),
            ("length", 3, "The hypothesis of pair 3 (counted from 0) has 4 tokens, and the model takes 3. Leave"),
            (
                2,
                3,
                "The premise of pair 1 (counted from 0) has 3 tokens, and the model takes 2. 1 other pair is too long",
            ),
            (
                3,
                1,
                "The hypothesis of pair 0 (counted from 0) has 2 tokens, and the model takes 1. 2 other pairs are too",
            ),
        ]
        for first, second, words in short_of:
            with pytest.raises(FaceterError) as caught:
                data.matching_inputs([spec("hypothesis", second), spec("premise", first)])
            assert caught.value.kind is ProblemKind.DATASET_MISMATCH
            assert words in caught.value.detail


def test_without_a_vocabulary_words_have_no_ids(tmp_path: Path) -> None:
    content = members(vocab=None)
    with open_inputs(write_zip(tmp_path / "a.zip", content), DatasetKind.TEXT_PAIRS, SETTINGS) as data:
        assert isinstance(data, TextPairsDataset)
        assert data.summary().warnings == []
        assert data.text(1) == ("a man plays .", "a tall man")
        with pytest.raises(FaceterError, match=r"has no vocab.txt, so words have no ids.*tokenizer.json") as caught:
            data.matching_inputs([spec("premise"), spec("hypothesis")])
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_the_real_model_takes_shorter_sentences_than_some_of_the_real_set(shared_data: Path) -> None:
    specs = input_specs(onnx.load(str(shared_data / "nli" / "snli_mlp.onnx")))
    with TextPairsDataset.open(shared_data / "nli" / "snli.zip", SETTINGS) as data:
        with pytest.raises(FaceterError) as caught:
            data.matching_inputs(specs)
        assert "The hypothesis of pair 509 (counted from 0) has 26 tokens, and the model" in caught.value.detail
        assert "takes 24. 40 other pairs are too long as well." in caught.value.detail
        longer = [found.model_copy(update={"shape": ["batch", 60]}) for found in specs]
        assert data.matching_inputs(longer) == tuple(longer)
