"""Ranges known without running the network, and ranges that readers tell apart."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.graphs.canonical import canonicalize
from faceter.graphs.view import GraphView
from tests.graphs.builders import Array, GraphBuilder, run, with_outputs
from tests.workers.quantization.networks import request_for
from workers.quantization.calibration import activation_statistics
from workers.quantization.known_ranges import KnownRange, known_ranges
from workers.quantization.methods import methods
from workers.quantization.prepare import prepare
from workers.quantization.reader_ranges import range_for_readers
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.statistics import StatisticsSource


def number(value: float) -> Array:
    return np.array(value, np.float32)


STEPS = {
    "sigmoid": lambda net: net.add("Sigmoid"),
    "hard sigmoid": lambda net: net.add("HardSigmoid"),
    "tanh": lambda net: net.add("Tanh"),
    "softmax": lambda net: net.add("Softmax"),
    "times 640": lambda net: net.add("Mul", net.last, net.constant(number(640))),
    "times -2": lambda net: net.add("Mul", net.constant(number(-2)), net.last),
    "per channel": lambda net: net.add("Mul", net.last, net.constant(np.array([[1], [-8], [32]], np.float32))),
    "minus a half": lambda net: net.add("Sub", net.last, net.constant(number(0.5))),
    "from one": lambda net: net.add("Sub", net.constant(number(1)), net.last),
    "divided": lambda net: net.add("Div", net.last, net.constant(number(-0.25))),
    "squared": lambda net: net.add("Pow", net.last, net.constant(number(2))),
    "magnitude": lambda net: net.add("Abs"),
    "negated": lambda net: net.add("Neg"),
    "clipped": lambda net: net.add("Clip", net.last, net.constant(number(-1)), net.constant(number(6))),
    "at most": lambda net: net.add("Min", net.last, net.constant(number(0.3))),
    "doubled": lambda net: net.add("Add", net.last, net.last),
    "by itself": lambda net: net.add("Mul", net.last, net.last),
    "reversed": lambda net: net.add("Transpose", perm=[0, 2, 1]),
    "flat": lambda net: net.add("Reshape", net.last, net.constant(np.array([0, 3, -1]))),
    "padded": lambda net: net.add("Pad", net.last, net.constant(np.array([0, 0, 1, 0, 0, 1]))),
    "pooled": lambda net: net.add("AveragePool", kernel_shape=[3], pads=[1, 1], count_include_pad=1),
    "joined": lambda net: net.add("Concat", net.last, net.constant(np.full((2, 3, 1), 9, np.float32)), axis=2),
    "relu": lambda net: net.add("Relu"),
    "exp": lambda net: net.add("Exp"),
    "root": lambda net: net.add("Sqrt", net.add("Relu")),
}


def chain(steps: list[str]) -> onnx.ModelProto:
    net = GraphBuilder([2, 3, 4])
    for step in steps:
        kept = len(net.nodes), len(net.initializers), net.last
        STEPS[step](net)
        try:
            run(net.build(), x=np.ones((2, 3, 4), np.float32))
        except Exception:  # shapes do not fit here
            del net.nodes[kept[0] :], net.initializers[kept[1] :]
            net.last = kept[2]
    if not net.nodes:
        net.add("Sigmoid")
    return net.build()


@settings(max_examples=150, derandomize=True)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.integers(0, 2**31))
def test_no_value_lies_outside(steps: list[str], seed: int) -> None:
    model = canonicalize(chain(steps))
    known = known_ranges(model, {})
    names = [name for node in model.graph.node for name in node.output if name in known]
    x = (np.random.default_rng(seed).normal(size=(2, 3, 4)) * 20).astype(np.float32)
    for name, values in zip(names, run(with_outputs(model, names), *names, x=x) if names else [], strict=True):
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        slack = 1e-5 * max(abs(known[name].low), abs(known[name].high), 1)
        assert known[name].low - slack <= values.min()
        assert values.max() <= known[name].high + slack


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["sigmoid", "times 640"], KnownRange(0, 640, attained=True)),
        (["sigmoid", "times 640", "reversed", "minus a half"], KnownRange(-0.5, 639.5, attained=True)),
        (["sigmoid", "times -2", "from one"], KnownRange(1, 3, attained=True)),
        (["tanh", "divided"], KnownRange(-4, 4, attained=True)),
        (["clipped"], KnownRange(-1, 6, attained=False)),
        (["sigmoid", "doubled"], KnownRange(0, 2, attained=False)),
        (["tanh", "squared"], KnownRange(0, 1, attained=True)),
    ],
)
def test_ranges_of_what_follows_a_saturating_function(steps: list[str], expected: KnownRange) -> None:
    model = canonicalize(chain(steps))
    assert known_ranges(model, {})[model.graph.output[0].name] == expected


def test_normalized_pixels_are_known() -> None:
    net = GraphBuilder(["n", 3, 4, 4], name="image")
    mean = np.array([0.5, 0.25, 0.75], np.float32).reshape(1, 3, 1, 1)
    net.add("Div", net.add("Sub", "image", net.constant(mean)), net.constant(number(0.25)), output="y")
    known = known_ranges(canonicalize(net.build()), {"image": KnownRange(0, 1, attained=True)})
    assert known["y"] == KnownRange(-3, 3, attained=True)


def test_nothing_is_known_of_other_values() -> None:
    net = GraphBuilder([2, 3])
    net.add("Log", net.add("Div", net.add("Tanh"), net.add("Sin", "x")))
    known = known_ranges(net.build(), {})
    assert set(known) == {"t0", "t1"}
    assert all(math.isfinite(item.low) for item in known.values())


def test_a_sigmoid_does_not_tell_large_values_apart() -> None:
    net = GraphBuilder([2, 6])
    net.add("Reshape", net.add("Relu", output="raw"), net.constant(np.array([2, 2, 3])))
    net.add("Sigmoid")
    view = GraphView(net.build())
    assert range_for_readers(view, "raw") == KnownRange(-7, 7)
    net.add("Mul", net.last, "t1")
    assert range_for_readers(GraphView(net.build()), "raw") is None, "the product tells them apart"


def test_a_clip_that_noise_never_reaches_does_not_widen_a_range() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    net.conv(4, 4)
    net.add("Clip", net.last, net.constant(number(-1e4)), net.constant(number(1e4)), output="wide")
    net.conv(4, 4)
    net.add("Clip", net.last, net.constant(number(0)), net.constant(number(6)), output="relu6")
    net.conv(4, 4)
    prepared = prepare(net.build(), ModelMetadata(), seed=0)
    statistics = activation_statistics(prepared, prepared.sites())
    assert statistics["wide"].high < 100
    assert (statistics["relu6"].low, statistics["relu6"].high) == (0, 6)
    assert statistics["relu6"].source is StatisticsSource.KNOWN


def boxes_and_scores() -> onnx.ModelProto:
    """Return a detector whose output has boxes in pixels and scores, one beside the other."""
    net = GraphBuilder(["n", 3, 64, 64])
    trunk = net.add(
        "Conv", "x", net.constant((0.2 * net.rng.normal(size=(16, 3, 8, 8))).astype(np.float32)), strides=[8, 8]
    )
    trunk = net.add("Relu")
    parts = []
    for channels, scale, size in ((4, 0.5, 640), (2, 2.0, None)):
        weight = (scale * net.rng.normal(size=(channels, 16, 1, 1))).astype(np.float32)
        net.add("Sigmoid", net.add("Conv", trunk, net.constant(weight)))
        if size is not None:
            net.add("Mul", net.last, net.constant(number(size)))
        parts.append(net.add("Reshape", net.last, net.constant(np.array([0, channels, -1]))))
    net.add("Concat", *parts, axis=1, output="out")
    return net.build()


@pytest.mark.parametrize("method", [QuantizationMethod.RQ, QuantizationMethod.DFQ, QuantizationMethod.ACIQ])
def test_boxes_in_pixels_keep_their_precision_beside_scores(method: QuantizationMethod) -> None:
    model = boxes_and_scores()
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[64, 64]))
    plan = methods[method](prepare(model, metadata, seed=0), request_for()).plan
    x = np.random.default_rng(1).uniform(0, 1, (4, 3, 64, 64)).astype(np.float32)
    [expected], answers = run(model, x=x), SimulatedNetwork(plan).run({"x": x})["out"]
    error = np.abs(answers - expected)
    assert error[:, 4:].max() < 0.06
    assert error[:, :4].max() < 0.02 * 640
    assert np.quantile(error[:, :4], 0.95) < 0.01 * 640
