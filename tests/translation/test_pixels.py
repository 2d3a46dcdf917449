import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.translation.pixels import DEFAULT_PREPROCESSING, PaddedImage, TranslationBuffer, reflected_indices

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
ODD = Preprocessing(
    size=[8, 8], channel_order=ChannelOrder.BGR, scale=1.0, mean=[103.9, 116.8, 123.7], std=[57.0, 58.0, 59.0]
)


@pytest.mark.parametrize("preprocessing", [DEFAULT_PREPROCESSING, ODD, Preprocessing(size=[8, 8])])
def test_pixels_survive_the_round_trip(preprocessing: Preprocessing) -> None:
    every = RNG.permuted(np.tile(np.arange(256, dtype=np.uint8), (3, 1)), axis=1).T.reshape(16, 16, 3)
    values = PaddedImage(every, preprocessing).read((0, 16), (0, 16))
    assert values.dtype == np.float32
    back = TranslationBuffer(16, 16, preprocessing)
    back.write(values, 0, 0)
    assert (back.colour == every).all()


def test_default_values_are_in_minus_one_to_one() -> None:
    values = PaddedImage(np.array([[[0, 51, 255]]], np.uint8)).read((0, 1), (0, 1))
    assert values.reshape(-1).tolist() == pytest.approx([-1, -0.6, 1])


def test_channels_and_statistics_are_in_the_models_order() -> None:
    values = PaddedImage(np.array([[[10, 20, 30]]], np.uint8), ODD).read((0, 1), (0, 1))
    assert values.reshape(-1).tolist() == pytest.approx([(30 - 103.9) / 57, (20 - 116.8) / 58, (10 - 123.7) / 59])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 4), (2, 3), (5, 7)])
def test_padding_equals_numpys_reflection(height: int, width: int) -> None:
    colour = PIXELS[:height, :width]
    padded = np.pad(colour, ((0, 20 - height), (0, 24 - width), (0, 0)), mode="reflect")
    expected = PaddedImage(np.ascontiguousarray(padded)).read((3, 18), (2, 23))
    assert (PaddedImage(colour).read((3, 18), (2, 23)) == expected).all()


@given(st.integers(1, 9), st.integers(0, 30), st.integers(1, 30))
def test_reflected_indices_equal_numpys(size: int, first: int, count: int) -> None:
    expected = np.pad(np.arange(size), (0, 60), mode="reflect")[first : first + count]
    assert reflected_indices(first, first + count, size).tolist() == expected.tolist()


def test_values_are_rounded_and_clipped() -> None:
    buffer = TranslationBuffer(1, 4)
    row = np.array([-1.7, 1.7, 0.005, 0.499 / 127.5 - 1], np.float32)
    buffer.write(np.stack([row[None]] * 3), 0, 0)
    assert buffer.colour[0, :, 0].tolist() == [0, 255, 128, 0]


def test_padding_is_dropped() -> None:
    buffer = TranslationBuffer(3, 3)
    buffer.write(np.ones((3, 2, 2), np.float32), 2, 2)
    buffer.write(np.ones((3, 2, 2), np.float32), 4, 0)
    assert buffer.colour[..., 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 255]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(FaceterError, match="not finite") as caught:
        TranslationBuffer(2, 2).write(np.full((3, 2, 2), value, np.float32), 0, 0)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
