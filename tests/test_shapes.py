"""Shapes and dtypes of what the public functions take and give, checked as they run, at sizes Hypothesis chooses."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, Float64, Int8, Int64, TypeCheckError, UInt8, jaxtyped
from PIL import Image

from faceter.contracts.preprocessing import ChannelOrder, Preprocessing, ResizeRule
from faceter.graphs.quantizer import Quantizer, asymmetric
from faceter.vision.boxes import iou_matrix, non_maximum_suppression
from faceter.vision.classification import probabilities
from faceter.vision.preprocess import preprocess
from tests.graphs.builders import residual_net
from tests.graphs.quantizers import symmetric
from workers.onnx_module import OnnxModule

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, Any]

counts = st.integers(0, 7)
sizes = st.integers(1, 40)


def checked(function: F) -> F:
    """Check the shapes of a function's arguments and of its result; a name stands for one size throughout a call."""
    return jaxtyped(typechecker=beartype)(function)


@checked
def overlaps(first: Float32[Array, "n 4"], second: Float32[Array, "m 4"]) -> Float64[Array, "n m"]:
    return iou_matrix(first, second)


@checked
def kept(
    boxes: Float32[Array, "n 4"], scores: Float32[Array, " n"], classes: Int64[Array, " n"]
) -> Int64[Array, " kept"]:
    return non_maximum_suppression(boxes, scores, classes, iou=0.5, limit=5)


@checked
def classes_of(logits: Float32[Array, "n classes"]) -> Float64[Array, "n classes"]:
    return probabilities(logits)


@checked
def model_input(pixels: UInt8[Array, "h w 3"], preprocessing: Preprocessing) -> Float32[Array, "channels height width"]:
    return preprocess(Image.fromarray(pixels), preprocessing)[0]


@checked
def activation_codes(quantizer: Quantizer, x: Float32[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    return quantizer.quantize(x)


@checked
def weight_codes(quantizer: Quantizer, x: Float32[Array, "*shape"]) -> Int8[Array, "*shape"]:
    return quantizer.quantize(x)


@checked
def values(quantizer: Quantizer, codes: UInt8[Array, "*shape"] | Int8[Array, "*shape"]) -> Float32[Array, "*shape"]:
    return quantizer.dequantize(codes)


@checked
def logits(network: OnnxModule, image: Float32[torch.Tensor, "batch 3 16 16"]) -> Float32[torch.Tensor, "batch 5"]:
    found: torch.Tensor = network(image)["logits"]
    return found


def normal(*shape: int) -> Array:
    return np.asarray(np.random.default_rng(sum(shape)).normal(size=shape), np.float32)


def test_the_check_notices() -> None:
    with pytest.raises(TypeCheckError):
        overlaps(normal(2, 5), normal(2, 4))
    with pytest.raises(TypeCheckError):
        checked(_transposed)(normal(2, 3))


def _transposed(x: Float32[Array, "n m"]) -> Float32[Array, "n m"]:
    return x.T


@given(counts, counts)
def test_boxes(n: int, m: int) -> None:
    overlaps(normal(n, 4), normal(m, 4))
    assert len(kept(normal(n, 4), normal(n), np.zeros(n, np.int64))) <= min(n, 5)


@given(counts, sizes)
def test_probabilities(n: int, classes: int) -> None:
    classes_of(normal(n, classes))


@given(sizes, sizes, sizes, sizes, st.sampled_from(ChannelOrder), st.sampled_from(ResizeRule))
def test_preprocessing(h: int, w: int, height: int, width: int, order: ChannelOrder, resize: ResizeRule) -> None:
    preprocessing = Preprocessing(size=[height, width], channel_order=order, resize=resize)
    made = model_input(np.zeros((h, w, 3), np.uint8), preprocessing)
    assert made.shape == (preprocessing.channels, height, width)


@given(st.lists(st.integers(1, 4), max_size=4), st.integers(2, 8))
def test_codes_have_the_shape_of_values(shape: list[int], bits: int) -> None:
    x = normal(*shape)
    quantizer = asymmetric(-1, 2, bits)
    values(quantizer, activation_codes(quantizer, x))
    for axis, channels in enumerate(shape):
        quantizer = symmetric(np.ones(channels), bits, axis=axis)
        values(quantizer, weight_codes(quantizer, x))


def test_the_batch_goes_through_a_network() -> None:
    network = OnnxModule(residual_net())
    for batch in (1, 2, 5):
        logits(network, torch.zeros(batch, 3, 16, 16))
