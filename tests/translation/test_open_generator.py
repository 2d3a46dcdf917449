"""Generators exported at one size: opened where the graph allows it, else kept, with the reason."""

import numpy as np
import onnx
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.engines.base import Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.translation.check import GeneratorSignature, check_generator
from faceter.translation.open_generator import OpenedGenerator, open_generator
from tests.graphs.builders import Array, run
from tests.translation import generators

ENGINE = OnnxRuntimeEngine()
METADATA = ModelMetadata()


def signature(content: bytes) -> GeneratorSignature:
    return check_generator(content, METADATA, ENGINE)


def opened(content: bytes, interrupt: Interrupt | None = None) -> OpenedGenerator | str:
    before = ENGINE.load(content, threads=1)
    try:
        return open_generator(before, content, signature(content), METADATA, ENGINE, interrupt=interrupt)
    finally:
        before.close()


def image(height: int, width: int) -> Array:
    return np.random.default_rng(3).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "multiple"), [(generators.resnet, 4), (generators.unet, 16), (generators.inverter, 1)]
)
def test_an_opened_generator_equals_the_one_exported_with_open_sizes(build: generators.Build, multiple: int) -> None:
    fixed, dynamic = build(height=48, width=64, batch=1), onnx.load_model_from_string(build())
    result = opened(fixed)
    assert isinstance(result, OpenedGenerator)
    assert (result.signature.size, result.signature.multiple) == (None, multiple)
    model = onnx.load_model_from_string(result.content)
    own = image(48, 64)
    np.testing.assert_array_equal(run(model, image=own)[0], run(onnx.load_model_from_string(fixed), image=own)[0])
    for size in ((80, 48), (16, 96)):
        np.testing.assert_allclose(run(model, image=image(*size))[0], run(dynamic, image=image(*size))[0], atol=1e-6)


def test_a_quantized_generator_is_opened() -> None:
    content = generators.quantized(generators.resnet(height=32, width=32, batch=1))
    assert isinstance(opened(content), OpenedGenerator)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (generators.positioned(height=32, width=32), "uses the constant .* of shape [1, 3, 32, 32], which is made for"),
        (generators.dense(height=32, width=32), "MatMul 'n1' takes no other size: its inputs would be"),
    ],
)
def test_the_reason_names_the_operator_that_keeps_the_size(content: bytes, words: str) -> None:
    result = opened(content)
    assert isinstance(result, str)
    assert all(part in result for part in words.split(" .* "))


def test_an_interrupt_stops_the_runs() -> None:
    content = generators.resnet(height=32, width=32, batch=1)
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError) as caught:
        opened(content, interrupt)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
