"""Opening sizes: equal at the own size, as torch at others, and the reason where it cannot be."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from faceter.graphs.open_sizes import open_sizes
from faceter.graphs.size_probes import FixedSizeError
from tests.graphs.builders import Array, GraphBuilder, run
from tests.graphs.sized_modules import FIXED, OPENED, SIZE, exported, noise, seeded

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def opened(model: onnx.ModelProto) -> onnx.ModelProto:
    return open_sizes(model, {model.graph.input[0].name: {2: "height", 3: "width"}})


CASES = [
    *((name, False) for name in OPENED),
    *((name, True) for name in ("instance norm", "group norm by hand", "squeeze and excite", "attention")),
]
"""Name, and whether by torch's newer exporter; both write other graphs."""


@pytest.mark.parametrize(("name", "dynamo"), CASES)
def test_an_opened_graph_computes_what_torch_does_at_any_size(name: str, dynamo: bool) -> None:
    module = seeded(OPENED[name]())
    model = exported(module, dynamo=dynamo)
    result = opened(model)
    onnx.checker.check_model(result, full_check=True)
    source = result.graph.input[0]
    assert [size.dim_param or size.dim_value for size in source.type.tensor_type.shape.dim] == [1, 3, "height", "width"]
    own = noise(1, 3, SIZE, SIZE).numpy()
    np.testing.assert_allclose(run(result, **{source.name: own})[0], run(model, **{source.name: own})[0], atol=1e-5)
    for height, width in ((64, 96), (128, 64), (40, 72)):
        image = noise(1, 3, height, width)
        with torch.no_grad():
            expected = module(image).numpy()
        tolerance = 1e-5 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(run(result, **{source.name: image.numpy()})[0], expected, atol=tolerance)


@pytest.mark.parametrize("name", FIXED)
def test_a_graph_of_one_size_is_refused_with_the_reason(name: str) -> None:
    build, words = FIXED[name]
    with pytest.raises(FixedSizeError, match=words):
        opened(exported(seeded(build()), dynamo=False))


def noise_of(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_dynamic_batch_stays_dynamic_when_the_sides_are_opened() -> None:
    builder = GraphBuilder(["batch", 4, 16, 16])
    builder.add("Reshape", "x", builder.constant(np.array([0, 2, 2, 256], np.int64)))
    builder.add("ReduceMean", builder.last, axes=[2], keepdims=1)
    builder.add("Reshape", builder.last, builder.constant(np.array([-1, 2, 16, 16], np.int64)))
    builder.conv(4, 2)
    model = builder.build()
    result = open_sizes(model, {"x": {2: "height", 3: "width"}})
    x = noise_of(3, 4, 16, 16)
    np.testing.assert_array_equal(run(result, x=x)[0], run(model, x=x)[0])
    assert run(result, x=noise_of(5, 4, 24, 40))[0].shape == (5, 4, 24, 40)
    shape = result.graph.output[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shape][2:] == ["height", "width"]


def test_the_batch_is_opened_too() -> None:
    builder = GraphBuilder([2, 3, 8, 8])
    builder.conv(4, 3)
    builder.add("Reshape", builder.last, builder.constant(np.array([2, -1], np.int64)))
    builder.add("Gemm", builder.last, builder.weight(5, 256), builder.weight(5), transB=1)
    model = builder.build()
    result = open_sizes(model, {"x": {0: "batch"}})
    x = noise_of(6, 3, 8, 8)
    expected = np.concatenate([run(model, x=part)[0] for part in np.split(x, 3)])
    np.testing.assert_allclose(run(result, x=x)[0], expected, atol=1e-5)


def test_initial_states_of_zero_and_fixed_ones() -> None:
    def network(state: Array) -> onnx.ModelProto:
        builder = GraphBuilder([7, 2, 4])
        weights = [builder.weight(1, 9, 4), builder.weight(1, 9, 3), builder.weight(1, 18)]
        builder.add("GRU", "x", *weights, "", builder.constant(state), hidden_size=3)
        return builder.build()

    axes = {"x": {0: "time", 1: "batch"}}
    model = network(np.zeros((1, 2, 3), np.float32))
    result = open_sizes(model, axes)
    x = noise_of(7, 2, 4)
    np.testing.assert_allclose(run(result, x=x)[0], run(model, x=x)[0], atol=1e-6)
    assert run(result, x=noise_of(11, 5, 4))[0].shape == (11, 1, 5, 3)
    with pytest.raises(FixedSizeError, match="constant initial states for 2 samples"):
        open_sizes(network(np.ones((1, 2, 3), np.float32)), axes)


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "words"),
    [
        ("Split", [np.array([16], np.int64)], {"axis": 2}, r"splits 16 into \[16\]"),
        ("Gather", [np.arange(16)[::-1].copy()], {"axis": 3}, "constant indices"),
        ("MatMul", [np.ones((16, 16), np.float32)], {}, "takes no other size"),
    ],
)
def test_operators_that_fix_a_size(
    operator: str, constants: list[Array], attributes: dict[str, Any], words: str
) -> None:
    builder = GraphBuilder([1, 3, 16, 16])
    names = [builder.constant(value) for value in constants]
    builder.add(operator, "x", *names, **attributes)
    with pytest.raises(FixedSizeError, match=words):
        open_sizes(builder.build(), {"x": {2: "height", 3: "width"}})


def test_an_older_opset() -> None:
    builder = GraphBuilder([1, 3, 16, 16])
    builder.add("Reshape", "x", builder.constant(np.array([1, 3, 256], np.int64)))
    builder.add("Reshape", builder.last, builder.constant(np.array([1, 3, 16, 16], np.int64)))
    result = open_sizes(builder.build(opset=11), {"x": {2: "height", 3: "width"}})
    x = noise_of(1, 3, 24, 40)
    np.testing.assert_array_equal(run(result, x=x)[0], x)
    builder.add("Split", builder.last, axis=2, split=[16])
    with pytest.raises(FixedSizeError, match="splits 16 into"):
        open_sizes(builder.build(opset=11), {"x": {2: "height", 3: "width"}})


def test_an_output_that_does_not_follow_is_refused() -> None:
    builder = GraphBuilder([1, 3, 16, 16])
    builder.add("GlobalAveragePool")
    with pytest.raises(FixedSizeError, match="does not follow that of the input"):
        open_sizes(builder.build(), {"x": {2: "height"}})


def test_a_pooling_over_everything_stays_one() -> None:
    builder = GraphBuilder([1, 3, 16, 16])
    builder.add("AveragePool", kernel_shape=[16, 16])
    builder.add("Mul", "x", builder.last)
    result = open_sizes(builder.build(), {"x": {2: "height", 3: "width"}})
    x = noise_of(1, 3, 24, 8)
    np.testing.assert_allclose(run(result, x=x)[0], x * x.mean((2, 3), keepdims=True), atol=1e-6)
