"""Propagation of distributions through graphs of many forms: it never raises, and never gives the wrong channels."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import GraphBuilder, run, with_outputs
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.propagation import propagate

CHANNELS = 4
SHAPE = (2, CHANNELS, 3, 4)


def distribution(channels: int = CHANNELS) -> ClampedGaussian:
    rng = np.random.default_rng(1)
    return ClampedGaussian.normal(rng.normal(size=channels), rng.uniform(0.5, 2, channels))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


STEPS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "reshape to a vector": (("Reshape", ints(-1)), {}),
    "reshape with a new batch": (("Reshape", ints(-1, 2)), {}),
    "reshape behind channels": (("Reshape", ints(2, 4, -1)), {}),
    "reshape of heads": (("Reshape", ints(2, 2, -1, 3)), {}),
    "flatten": (("Flatten",), {}),
    "flatten all": (("Flatten",), {"axis": 0}),
    "squeeze": (("Squeeze",), {}),
    "unsqueeze the front": (("Unsqueeze", ints(0)), {}),
    "unsqueeze behind": (("Unsqueeze", ints(2)), {}),
    "channels last": (("Transpose",), {"perm": [0, 2, 3, 1]}),
    "reversed": (("Transpose",), {}),
    "split channels": (("Split", ints(1, 3)), {"axis": 1}),
    "split rows": (("Split", ints(1, 2)), {"axis": 2}),
    "split from the end": (("Split", ints(1, 3)), {"axis": -3}),
    "slice channels": (("Slice", ints(1), ints(9), ints(1)), {}),
    "slice from the end": (("Slice", ints(-2), ints(2**31), ints(-3)), {}),
    "slice backwards": (("Slice", ints(-1), ints(-9), ints(1), ints(-1)), {}),
    "slice of the batch": (("Slice", ints(0), ints(1)), {}),
    "pad channels": (("Pad", ints(0, 1, 0, 0, 0, 2, 0, 0)), {}),
    "pad axes": (("Pad", ints(1, 1), np.float32(3), ints(-1)), {}),
    "add a number": (("Add", np.float32(2)), {}),
    "add to channels": (("Add", np.ones((CHANNELS, 1, 1), np.float32)), {}),
    "add to columns": (("Add", np.arange(4, dtype=np.float32)), {}),
    "add to a new axis": (("Add", np.ones((1, 1, 1, 1, 4), np.float32)), {}),
    "scale channels": (("Mul", np.linspace(-1, 2, CHANNELS, dtype=np.float32).reshape(-1, 1, 1)), {}),
    "divide": (("Div", np.float32(-4)), {}),
    "subtract": (("Sub", np.float32(4)), {}),
    "bound channels": (("Min", np.linspace(0, 3, CHANNELS, dtype=np.float32).reshape(-1, 1, 1)), {}),
    "bound from below": (("Max", np.float32(-1)), {}),
    "relu": (("Relu",), {}),
    "relu6": (("Clip", np.float32(0), np.float32(6)), {}),
    "pool": (("GlobalAveragePool",), {}),
    "maximum": (("MaxPool",), {"kernel_shape": [2, 2]}),
    "mean": (("ReduceMean",), {"axes": [1], "keepdims": 0}),
    "everything": (("ReduceMean",), {"keepdims": 0}),
    "shuffle": (("DepthToSpace",), {"blocksize": 2}),
    "upsample": (("Resize", "", np.array([1, 1, 2, 2], np.float32)), {}),
    "twice": (("self", "Add"), {}),
    "joined": (("self", "Concat"), {"axis": 1}),
    "joined rows": (("self", "Concat"), {"axis": -1}),
}


def add(net: GraphBuilder, step: str) -> None:
    (operator, *inputs), attributes = STEPS[step]
    if operator == "self":
        net.add(inputs[0], net.last, net.last, **attributes)
        return
    names = ["" if isinstance(value, str) else net.constant(np.asarray(value)) for value in inputs]
    net.add(operator, net.last, *names, **attributes)
    if operator == "Split":
        net.nodes[-1].output.append(f"{net.last}/rest")


def fitting(steps: list[str], shape: tuple[int | str, ...] = SHAPE) -> onnx.ModelProto:
    """Return a graph of those of the steps that may follow each other."""
    net = GraphBuilder(shape)
    net.add("Relu", output="source")
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for step in steps:
        kept = len(net.nodes), len(net.initializers), net.last
        add(net, step)
        try:
            run(net.build(), x=image)
        except Exception:  # a step that does not fit here: shapes differ
            del net.nodes[kept[0] :], net.initializers[kept[1] :]
            net.last = kept[2]
    return net.build()


@settings(max_examples=80, derandomize=True)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.booleans())
def test_whatever_follows_it_is_measured_or_has_the_right_channels(steps: list[str], open_sizes: bool) -> None:
    model = canonicalize(fitting(steps, ("n", CHANNELS, "h", "w") if open_sizes else SHAPE))
    names = [name for node in model.graph.node for name in node.output]
    known = propagate(model, {"source": distribution()})
    assert "source" in names
    assert set(known) <= set(names)
    image = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    tensors = [name for name in known if name != "source"]
    seen = run(with_outputs(model, tensors), *tensors, x=image) if tensors else []
    for name, values in zip(tensors, seen, strict=True):
        assert values.ndim >= 2
        assert known[name].mean.shape == (values.shape[1],), name


@pytest.mark.parametrize("step", sorted(STEPS))
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 5])
def test_a_tensor_of_any_rank_may_be_a_source(step: str, rank: int) -> None:
    """A node need not be valid behind it: it is only looked at."""
    net = GraphBuilder([CHANNELS] * rank)
    add(net, step)
    graph = helper.make_graph(
        net.nodes, "g", net.inputs, [helper.make_tensor_value_info(net.last, TensorProto.FLOAT, None)], net.initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert propagate(model, {"x": distribution()})["x"].mean.shape == (CHANNELS,)


@pytest.mark.parametrize("step", ["scale channels", "divide", "subtract", "bound channels", "bound from below"])
def test_moments_after_a_constant_are_those_of_samples(step: str) -> None:
    net = GraphBuilder(["n", CHANNELS, 8, 8])
    add(net, step)
    source = distribution()
    known = propagate(canonicalize(net.build()), {"x": source})[net.last]
    rng = np.random.default_rng(0)
    x = rng.normal(source.mean[:, None, None], source.deviation[:, None, None], (256, CHANNELS, 8, 8))
    [values] = run(net.build(), x=x.astype(np.float32))
    np.testing.assert_allclose(known.expectation(), values.mean((0, 2, 3)), atol=0.05)
    np.testing.assert_allclose(np.sqrt(known.variance()), values.std((0, 2, 3)), atol=0.05)


def test_a_split_passes_each_part_its_channels() -> None:
    net = GraphBuilder(["n", CHANNELS, 8, 8])
    add(net, "split channels")
    source = distribution()
    known = propagate(canonicalize(net.build()), {"x": source})
    np.testing.assert_array_equal(known[net.last].mean, source.mean[:1])
    np.testing.assert_array_equal(known[f"{net.last}/rest"].mean, source.mean[1:])
