"""The part of an input that an operator is said to need, against ONNX Runtime: only what is said may matter."""

from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.shapes import infer
from faceter.graphs.view import GraphView
from faceter.translation.locality import Grid, Locality
from faceter.translation.reach import Extent, Mirror
from tests.graphs.builders import GraphBuilder

UNIT = 6
CHANNELS = 4


@st.composite
def operators(draw: st.DrawFn) -> onnx.ModelProto:
    """Draw a model of one node that does something along rows, reading x [1, 4, H, W]."""
    made = GraphBuilder(["n", CHANNELS, "h", "w"])
    kernel, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    stride = draw(st.sampled_from([1, 2, 3]))
    window: dict[str, Any] = {"strides": [stride, 1], "dilations": [dilation, 1], "pads": [before, 0, after, 0]}
    operator = draw(
        st.sampled_from(["Conv", "SAME", "ConvTranspose", "Pad", "MaxPool", "AveragePool", "Resize", "DepthToSpace"])
    )
    match operator:
        case "Conv":
            made.add("Conv", "x", made.weight(CHANNELS, CHANNELS, kernel, 1), **window)
        case "SAME":
            del window["pads"], window["dilations"]
            mode = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER"]))
            made.add("Conv", "x", made.weight(CHANNELS, CHANNELS, kernel, 1), **window, auto_pad=mode)
        case "ConvTranspose":
            added = draw(st.integers(0, stride - 1))
            kernel = max(kernel, 2 + (before + after) // dilation)
            weight = made.weight(CHANNELS, CHANNELS, kernel, 1)
            made.add("ConvTranspose", "x", weight, **window, output_padding=[added, 0])
        case "Pad":
            mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
            made.add("Pad", "x", made.constant(np.array([0, 0, before, 0, 0, 0, after, 0], np.int64)), mode=mode)
        case "MaxPool" | "AveragePool":
            window["pads"] = [min(before, kernel - 1), 0, min(after, kernel - 1), 0]
            del window["dilations"]
            made.add(operator, "x", kernel_shape=[kernel, 1], **window)
        case "Resize":
            mode, place = (
                draw(st.sampled_from(["nearest", "linear"])),
                draw(st.sampled_from(["half_pixel", "asymmetric"])),
            )
            scales = made.constant(np.array([1, 1, stride, 1], np.float32))
            made.add("Resize", "x", "", scales, mode=mode, coordinate_transformation_mode=place)
        case _:
            made.add("DepthToSpace", "x", blocksize=2)
    return made.build()


@settings(max_examples=200)
@given(operators(), st.integers(2, 4), st.data())
def test_an_output_depends_on_nothing_but_what_is_said(model: onnx.ModelProto, units: int, data: st.DataObject) -> None:
    rows = units * UNIT
    one = Extent(Fraction(1), 0)
    constants = {tensor.name for tensor in model.graph.initializer}
    locality = Locality(GraphView(model), infer(model), constants)
    step = locality.step(model.graph.node[0], {"x": Grid(CHANNELS, one, one)})
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1)
    name = model.graph.output[0].name
    values = np.random.default_rng(0).normal(size=(1, CHANNELS, rows, 4)).astype(np.float32)
    made = loaded.run({"x": values})[name]
    grid = step.grid
    assert made.shape == (1, grid.channels, grid.rows.size(rows), grid.columns.size(4))
    first = data.draw(st.integers(0, made.shape[2] - 1))
    end = data.draw(st.integers(first + 1, made.shape[2]))
    low, high = step.rows.needed(first, end, rows)
    assert 0 <= low < high <= rows
    other = np.full_like(values, 1e3)
    other[:, :, low:high] = values[:, :, low:high]
    changed = loaded.run({"x": other})[name]
    loaded.close()
    assert (made[:, :, first:end] == changed[:, :, first:end]).all()


def test_padding_by_reflection_gets_an_input_longer_than_itself() -> None:
    assert Mirror(3, 3).needed(0, 1, 100) == (0, 4)
    assert Mirror(3, 3).needed(50, 51, 100)[0] <= 47
    low, high = Mirror(3, 3).needed(105, 106, 100)
    assert (high, low) == (100, 96) or high - low >= 4


@pytest.mark.parametrize("part", [(0, 10), (3, 103), (103, 106), (40, 60)])
def test_parts_never_leave_the_input(part: tuple[int, int]) -> None:
    low, high = Mirror(3, 3).needed(*part, 100)
    assert 0 <= low < high <= 100
