import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.services.inference_protocol.datatypes import (
    TextFormError,
    bfloat16_to_float32,
    float32_to_bfloat16,
    join_texts,
    split_texts,
)


@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=0), elements=st.floats(width=32, allow_nan=False)))
def test_float32_is_rounded_to_bfloat16_as_torch_rounds(numbers: np.ndarray) -> None:
    halves = float32_to_bfloat16(numbers)
    expected = torch.from_numpy(numbers.copy()).to(torch.bfloat16)
    assert halves.dtype == np.uint16
    np.testing.assert_array_equal(halves.view(np.int16), expected.view(torch.int16).numpy())
    np.testing.assert_array_equal(bfloat16_to_float32(halves), expected.to(torch.float32).numpy())


def test_nan_stays_nan() -> None:
    every = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(bfloat16_to_float32(float32_to_bfloat16(every))).all()


@given(st.lists(st.text()))
def test_texts_come_back(texts: list[str]) -> None:
    assert split_texts(join_texts(texts)) == texts


def test_a_text_has_its_length_in_four_little_endian_bytes() -> None:
    assert join_texts(["a", "é"]) == b"\1\0\0\0a\2\0\0\0\xc3\xa9"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\1\0\0", "within the length"),
        (b"\5\0\0\0abc", "5 bytes, of which 3"),
        (b"\1\0\0\0\xff", "not UTF-8"),
        (b"\xff\xff\xff\xffabc", "4294967295 bytes"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(TextFormError, match=words):
        split_texts(content)
