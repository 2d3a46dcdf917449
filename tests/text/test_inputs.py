from collections.abc import Sequence

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.text import TextProcessing
from faceter.text.inputs import TokenInputs, find_token_inputs, job_shapes, token_mask
from faceter.text.tokenizer import TokenizedText, TokenizerProperties

RIGHT = TokenizerProperties(largest_id=9, max_length=None, pad_id=0, pad_type_id=0, pad_left=False, special=(2, 3))
LEFT = TokenizerProperties(largest_id=9, max_length=None, pad_id=7, pad_type_id=0, pad_left=True, special=(0, 0))
SHORT = TokenizedText([2, 5, 3], [0, 0, 0], [True, False, True], False, [])
LONG = TokenizedText([2, 5, 3, 6, 3], [0, 0, 0, 1, 1], [True, False, True, False, True], False, [])


def spec(name: str, *shape: int | str, dtype: str = "int64") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=list(shape) or ["batch", "length"])


def found(*specs: TensorSpec, **said: str) -> TokenInputs:
    return find_token_inputs(TextProcessing.model_validate(said), specs)


def roles(inputs: TokenInputs) -> dict[str, str]:
    return {role: one.name for role, one in inputs.roles.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["input_ids"], ["input_ids"]),
        (["attention_mask", "input_ids"], ["input_ids", "attention_mask"]),
        (["token_type_ids", "attention_mask", "input_ids"], ["input_ids", "attention_mask", "token_type_ids"]),
        (["input_word_ids", "input_mask", "input_type_ids"], ["input_word_ids", "input_mask", "input_type_ids"]),
        (["Ids:0", "Mask:0", "Segment_Ids:0"], ["Ids:0", "Mask:0", "Segment_Ids:0"]),
        (["serving/input-ids", "serving/attention.mask"], ["serving/input-ids", "serving/attention.mask"]),
        (["input_ids", "position_ids"], ["input_ids", "position_ids"]),
        (["words"], ["words"]),
        (["words", "mask"], ["words", "mask"]),
    ],
)
def test_inputs_are_found_by_name(names: Sequence[str], expected: Sequence[str]) -> None:
    assert sorted(roles(found(*map(spec, names))).values()) == sorted(expected)


def test_the_metadata_name_inputs() -> None:
    inputs = found(
        spec("a"), spec("b"), spec("input_ids"), input_ids="b", attention_mask="a", token_type_ids="input_ids"
    )
    assert roles(inputs) == {"input_ids": "b", "attention_mask": "a", "token_type_ids": "input_ids"}


@pytest.mark.parametrize(
    ("specs", "said", "field", "words"),
    [
        ([spec("image", "n", 3, 8, 8, dtype="float32")], {}, "input_ids", "No input of the model is for token ids"),
        ([spec("a"), spec("b")], {}, "input_ids", "No input of the model is for token ids"),
        ([spec("input_ids"), spec("lengths")], {}, None, "It is not known what the input 'lengths' takes"),
        ([spec("input_ids")], {"input_ids": "x"}, "input_ids", "The model has no input 'x'; it has 'input_ids'"),
        ([spec("input_ids", dtype="float32")], {}, "input_ids", "'input_ids' for input_ids is float32 [batch, length]"),
        ([spec("input_ids", "n")], {}, "input_ids", "must be [N, length] of int32 or int64"),
        ([spec("input_ids"), spec("mask", "n", 1, 1, "length")], {}, "attention_mask", "[n, 1, 1, length]"),
        ([spec("input_ids", "n", 8), spec("mask", "n", 9)], {}, None, "different lengths"),
    ],
)
def test_inputs_that_are_unclear_are_refused(
    specs: Sequence[TensorSpec], said: dict[str, str], field: str | None, words: str
) -> None:
    with pytest.raises(FaceterError) as caught:
        found(*specs, **said)
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert words in caught.value.detail
    assert caught.value.errors[0].field == ("metadata.text" if field is None else f"metadata.text.{field}")


def test_texts_are_padded_to_the_longest_on_the_right() -> None:
    inputs = found(spec("input_ids"), spec("attention_mask", dtype="float32"), spec("token_type_ids", dtype="int32"))
    arrays = inputs.arrays([SHORT, LONG], RIGHT)
    np.testing.assert_array_equal(arrays["input_ids"], [[2, 5, 3, 0, 0], [2, 5, 3, 6, 3]])
    np.testing.assert_array_equal(arrays["attention_mask"], [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_array_equal(arrays["token_type_ids"], [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]])
    assert [array.dtype.name for array in arrays.values()] == ["int64", "float32", "int32"]


def test_texts_are_padded_on_the_left_if_the_tokenizer_does() -> None:
    inputs = found(spec("input_ids"), spec("attention_mask", dtype="bool"), spec("position_ids"))
    arrays = inputs.arrays([SHORT, LONG], LEFT)
    np.testing.assert_array_equal(arrays["input_ids"], [[7, 7, 2, 5, 3], [2, 5, 3, 6, 3]])
    np.testing.assert_array_equal(arrays["attention_mask"], [[False, False, True, True, True], [True] * 5])
    np.testing.assert_array_equal(arrays["position_ids"], [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]])


def test_a_fixed_length_is_kept() -> None:
    inputs = found(spec("input_ids", "batch", 8), spec("attention_mask", "batch", 8))
    assert (inputs.fixed_length, inputs.length([SHORT])) == (8, 8)
    assert inputs.arrays([SHORT], RIGHT)["input_ids"].tolist() == [[2, 5, 3, 0, 0, 0, 0, 0]]


def test_jobs_without_data_run_at_short_texts() -> None:
    inputs = [spec("input_ids"), spec("attention_mask")]
    assert job_shapes(TextProcessing(max_length=512), inputs) == {"input_ids": [1, 32], "attention_mask": [1, 32]}
    assert job_shapes(TextProcessing(max_length=12), inputs) == {"input_ids": [1, 12], "attention_mask": [1, 12]}
    assert job_shapes(TextProcessing(max_length=8), [spec("input_ids", "batch", 8)]) == {}


def test_padding_matters_without_mask_and_fixed_length() -> None:
    assert not found(spec("input_ids")).masked
    assert found(spec("input_ids", "batch", 8)).masked
    assert found(spec("input_ids"), spec("mask")).masked


def test_the_mask_of_tokens_may_leave_out_special_ones() -> None:
    every = token_mask([SHORT, LONG], 6, RIGHT, special=True)
    np.testing.assert_array_equal(every.sum(axis=1), [3, 5])
    words = token_mask([SHORT, LONG], 6, LEFT, special=False)
    np.testing.assert_array_equal(words.astype(int), [[0, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 0]])
