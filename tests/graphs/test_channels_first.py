"""Transposes of networks with channels last."""

import numpy as np
import onnx
import pytest

from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import GraphBuilder, run

FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class KerasBuilder(GraphBuilder):
    """Adds layers as Keras' exporter for ONNX does: each convolution between two Transposes."""

    def conv_last(self, outputs: int, inputs: int, source: str | None = None) -> str:
        self.add("Transpose", source or self.last, perm=FIRST)
        self.conv(outputs, inputs)
        return self.add("Transpose", perm=LAST)

    def per_channel(self, operator: str, channels: int, source: str | None = None) -> str:
        values = self.rng.uniform(0.5, 2, channels).astype(np.float32)
        return self.add(operator, source or self.last, self.constant(values))

    def norm_last(self, channels: int) -> str:
        for operator in ("Sub", "Mul", "Add", "Div"):
            self.per_channel(operator, channels)
        return self.last


def net() -> KerasBuilder:
    return KerasBuilder(["n", 8, 6, 3])


def canonical(builder: GraphBuilder, *outputs: str, opset: int = 17) -> onnx.ModelProto:
    """Return the canonical form, after a check that its outputs are those of the model."""
    model = builder.build(*outputs, opset=opset)
    changed = canonicalize(model)
    onnx.checker.check_model(changed, full_check=True)
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 3)).astype(np.float32)
    for expected, actual in zip(run(model, x=x), run(changed, x=x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    return changed


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_normalization_channels_last_becomes_part_of_the_convolution() -> None:
    keras = net()
    keras.conv_last(4, 3)
    keras.norm_last(4)
    keras.add("Relu")
    keras.conv_last(5, 4)
    keras.per_channel("Add", 5)
    keras.add("ReduceMean", axes=[1, 2], keepdims=0)
    assert operators(canonical(keras)) == ["Transpose", "Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten"]


def test_branches_that_meet_are_computed_channels_first() -> None:
    keras = net()
    stem = keras.conv_last(4, 3)
    branch = keras.conv_last(4, 4, stem)
    keras.add("Add", branch, stem)
    both = keras.add("Concat", keras.last, stem, axis=-1)
    gate = keras.add("ReduceMean", both, axes=[1, 2], keepdims=1)
    keras.conv_last(8, 8, gate)
    keras.add("Sigmoid")
    keras.add("Mul", both, keras.last)
    pads = keras.constant(np.array([0, 1, 0, 0, 0, 2, 1, 0]))
    keras.add("Pad", keras.last, pads)
    keras.conv_last(2, 8)
    assert operators(canonical(keras)).count("Transpose") == 2


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("axes", [[1, 2], [3], [-1, 1], [0]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions_over_any_axes(opset: int, axes: list[int], keepdims: int) -> None:
    keras = net()
    keras.conv_last(4, 3)
    keras.add("Transpose", perm=FIRST)
    keras.add("Transpose", perm=LAST)
    if opset < 18:
        keras.add("ReduceMax", axes=axes, keepdims=keepdims)
    else:
        keras.add("ReduceMax", keras.last, keras.constant(np.array(axes)), keepdims=keepdims)
    keeps_order = keepdims == 0 and axes in ([1, 2], [3], [-1, 1])
    assert operators(canonical(keras, opset=opset)).count("Transpose") == (1 if keeps_order else 2)


def test_what_cannot_be_moved_past_reads_the_tensor_channels_last() -> None:
    keras = net()
    keras.conv_last(4, 3)
    keras.add("Relu")
    relu = keras.last
    keras.conv_last(4, 4)
    keras.add("Reshape", relu, keras.constant(np.array([0, -1])))
    keras.add("MatMul", keras.last, keras.weight(8 * 6 * 4, 2))
    keras.conv_last(4, 4, relu)
    changed = canonical(keras, "t9", "t5", relu)
    assert relu in {name for node in changed.graph.node for name in node.output}


def test_a_constant_over_space_is_transposed() -> None:
    keras = net()
    keras.conv_last(4, 3)
    keras.add("Mul", keras.last, keras.weight(8, 6, 1))
    keras.add("Add", keras.weight(1, 8, 6, 4), keras.last)
    keras.conv_last(4, 4)
    assert operators(canonical(keras)) == ["Transpose", "Conv", "Mul", "Add", "Conv", "Transpose"]


def test_detection_heads_without_a_way_back_are_left_as_they_are() -> None:
    heads = GraphBuilder(["n", 8, 6, 3])
    heads.add("Transpose", perm=FIRST)
    stem = heads.conv(4, 3)
    names = []
    for _ in range(2):
        heads.conv(4, 4, source=stem)
        heads.add("Transpose", perm=LAST)
        heads.add("Sigmoid")
        names.append(heads.add("Reshape", heads.last, heads.constant(np.array([0, -1, 2]))))
    heads.add("Concat", *names, axis=1)
    assert operators(canonical(heads)) == operators(heads.build())


def test_an_output_that_is_moved_back_keeps_its_name() -> None:
    keras = net()
    keras.conv_last(4, 3)
    keras.add("Relu")
    keras.add("Transpose", perm=FIRST)
    changed = canonical(keras)
    assert operators(changed) == ["Transpose", "Conv", "Relu"]
    assert changed.graph.node[-1].output[0] == keras.last
