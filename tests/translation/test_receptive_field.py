"""Receptive fields against ONNX Runtime: input values outside the range must not change the output."""

from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView
from faceter.translation.local_operators import FeatureMapShape, ReceptiveFieldAnalysis
from faceter.translation.receptive_field import AxisLength, MirrorPadding
from tests.graphs.builders import GraphBuilder

UNIT = 6
CHANNELS = 4


@st.composite
def operators(draw: st.DrawFn) -> onnx.ModelProto:
    """Draw a model of one operator along rows, reading x [1, 4, H, W]."""
    builder = GraphBuilder(["n", CHANNELS, "h", "w"])
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    stride = draw(st.sampled_from([1, 2, 3]))
    window: dict[str, Any] = {"strides": [stride, 1], "dilations": [dilation, 1], "pads": [before, 0, after, 0]}
    operator = draw(
        st.sampled_from(["Conv", "SAME", "ConvTranspose", "Pad", "MaxPool", "AveragePool", "Resize", "DepthToSpace"])
    )
    match operator:
        case "Conv":
            builder.add("Conv", "x", builder.weight(CHANNELS, CHANNELS, kernel, 1), **window)
        case "SAME":
            del window["pads"], window["dilations"]
            mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
            builder.add("Conv", "x", builder.weight(CHANNELS, CHANNELS, kernel, 1), **window, auto_pad=mode)
        case "ConvTranspose":
            added = draw(st.integers(0, stride - 1))
            kernel = max(kernel, 2 + (before + after) // dilation)
            weight = builder.weight(CHANNELS, CHANNELS, kernel, 1)
            builder.add("ConvTranspose", "x", weight, **window, output_padding=[added, 0])
        case "Pad":
            mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
            builder.add("Pad", "x", builder.constant(np.array([0, 0, before, 0, 0, 0, after, 0], np.int64)), mode=mode)
        case "MaxPool" | "AveragePool":
            window["pads"] = [min(before, kernel - 1), 0, min(after, kernel - 1), 0]
            del window["dilations"]
            builder.add(operator, "x", kernel_shape=[kernel, 1], **window)
        case "Resize":
            mode, place = (
                draw(st.sampled_from(["nearest", "linear"])),
                draw(st.sampled_from(["half_pixel", "asymmetric"])),
            )
            scales = builder.constant(np.array([1, 1, stride, 1], np.float32))
            builder.add("Resize", "x", "", scales, mode=mode, coordinate_transformation_mode=place)
        case _:
            builder.add("DepthToSpace", "x", blocksize=2)
    return builder.build()


@settings(max_examples=200)
@given(operators(), st.integers(2, 4), st.data())
def test_an_output_depends_only_on_its_receptive_field(model: onnx.ModelProto, units: int, data: st.DataObject) -> None:
    rows = units * UNIT
    one = AxisLength(Fraction(1), 0)
    constants = {tensor.name for tensor in model.graph.initializer}
    analysis = ReceptiveFieldAnalysis(GraphView(model), infer_shapes(model), constants)
    node = analysis.analyze(model.graph.node[0], {"x": FeatureMapShape(CHANNELS, one, one)})
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    name = model.graph.output[0].name
    values = np.random.default_rng(0).normal(size=(1, CHANNELS, rows, 4)).astype(np.float32)
    output = loaded.run({"x": values})[name]
    shape = node.shape
    assert output.shape == (1, shape.channels, shape.rows.size(rows), shape.columns.size(4))
    first = data.draw(st.integers(0, output.shape[2] - 1))
    end = data.draw(st.integers(first + 1, output.shape[2]))
    low, high = node.rows.input_range(first, end, rows)
    assert 0 <= low < high <= rows
    other = np.full_like(values, 1e3)
    other[:, :, low:high] = values[:, :, low:high]
    changed = loaded.run({"x": other})[name]
    loaded.close()
    assert (output[:, :, first:end] == changed[:, :, first:end]).all()


def test_mirror_padding_reads_more_values_than_it_pads() -> None:
    assert MirrorPadding(3, 3).input_range(0, 1, 100) == (0, 4)
    assert MirrorPadding(3, 3).input_range(50, 51, 100)[0] <= 47
    low, high = MirrorPadding(3, 3).input_range(105, 106, 100)
    assert (high, low) == (100, 96) or high - low >= 4


@pytest.mark.parametrize("outputs", [(0, 10), (3, 103), (103, 106), (40, 60)])
def test_input_ranges_stay_within_the_input(outputs: tuple[int, int]) -> None:
    low, high = MirrorPadding(3, 3).input_range(*outputs, 100)
    assert 0 <= low < high <= 100
