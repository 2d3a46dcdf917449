from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from faceter.graphs.batch_norm_folding import fold_batch_norms, has_batch_norm
from tests.graphs.builders import Array, GraphBuilder, constants, residual_net, run


def assert_same_function(model: onnx.ModelProto, other: onnx.ModelProto, **inputs: Array) -> None:
    for expected, actual in zip(run(model, **inputs), run(other, **inputs), strict=True):
        assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_residual_net() -> None:
    model = residual_net()
    before = model.SerializeToString()
    folded = fold_batch_norms(model)
    assert "BatchNormalization" not in {node.op_type for node in folded.model.graph.node}
    assert len(folded.statistics) == 2
    assert model.SerializeToString() == before
    assert_same_function(model, folded.model, image=normal(3, 3, 16, 16))


def test_has_batch_norm_agrees_with_folding() -> None:
    model = residual_net()
    assert has_batch_norm(model)
    assert not has_batch_norm(fold_batch_norms(model).model)
    training = residual_net()
    for norm in training.graph.node:
        if norm.op_type == "BatchNormalization":
            norm.attribute.append(onnx.helper.make_attribute("training_mode", 1))
    measured = residual_net()
    for norm in measured.graph.node:
        if norm.op_type == "BatchNormalization":
            norm.input[3] = measured.graph.input[0].name
    for other in (training, measured):
        assert not has_batch_norm(other)
        assert fold_batch_norms(other).statistics == {}


def test_statistics_are_those_of_the_tensor_before_the_activation() -> None:
    model = residual_net()
    folded = fold_batch_norms(model)
    [norm] = [node for node in model.graph.node if node.output[0] == "t1"]
    values = constants(model)
    statistics = folded.statistics["t1"]
    np.testing.assert_array_equal(statistics.beta, values[norm.input[2]])
    np.testing.assert_array_equal(statistics.gamma, np.abs(values[norm.input[1]]))
    assert any(node.op_type == "Conv" and node.output[0] == "t1" for node in folded.model.graph.node)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_convolution_attributes(operator: str, groups: int, bias: bool) -> None:
    net = GraphBuilder([2, 4, 6, 6])
    channels = 8
    shape = (channels, 4 // groups, 3, 3) if operator == "Conv" else (4, channels // groups, 3, 3)
    inputs = [net.last, net.weight(*shape), *([net.weight(channels)] if bias else [])]
    net.add(operator, *inputs, group=groups, strides=[2, 2])
    net.batch_norm(channels)
    folded = fold_batch_norms(net.build())
    assert [node.op_type for node in folded.model.graph.node] == [operator]
    assert_same_function(net.build(), folded.model, x=normal(2, 4, 6, 6))


@pytest.mark.parametrize("transposed", [0, 1])
def test_matrix_products(transposed: int) -> None:
    net = GraphBuilder(["n", 6])
    net.add("Gemm", net.last, net.weight(*((5, 6) if transposed else (6, 5))), net.weight(5), transB=transposed)
    net.batch_norm(5)
    folded = fold_batch_norms(net.build())
    assert [node.op_type for node in folded.model.graph.node] == ["Gemm"]
    assert_same_function(net.build(), folded.model, x=normal(3, 6))


def test_a_shared_weight_is_not_scaled_for_others() -> None:
    net = GraphBuilder([1, 4, 6, 6])
    weight = net.weight(4, 4, 1, 1)
    first = net.add("Conv", "x", weight)
    net.batch_norm(4)
    second = net.add("Conv", net.last, weight)
    model = net.build(second)
    assert first in {name for node in model.graph.node for name in node.output}
    assert_same_function(model, fold_batch_norms(model).model, x=normal(1, 4, 6, 6))


def test_a_result_with_two_readers_is_not_folded_but_has_statistics() -> None:
    net = GraphBuilder([1, 4, 6, 6])
    raw = net.conv(4, 4)
    normed = net.batch_norm(4)
    model = net.build(raw, normed)
    folded = fold_batch_norms(model)
    assert [node.op_type for node in folded.model.graph.node] == ["Conv", "BatchNormalization"]
    assert list(folded.statistics) == [normed]
    assert_same_function(model, folded.model, x=normal(1, 4, 6, 6))


def test_a_norm_before_the_convolution_is_not_folded() -> None:
    net = GraphBuilder([1, 4, 6, 6])
    net.batch_norm(4)
    net.conv(4, 4)
    assert [node.op_type for node in fold_batch_norms(net.build()).model.graph.node] == ["BatchNormalization", "Conv"]


def test_folding_is_idempotent() -> None:
    once = fold_batch_norms(residual_net()).model
    again = fold_batch_norms(once)
    assert again.model == once
    assert again.statistics == {}


@pytest.mark.parametrize("settings", [{"alpha": 2.0}, {"beta": 0.5}])
def test_a_gemm_with_alpha_or_beta_is_not_folded(settings: dict[str, Any]) -> None:
    net = GraphBuilder(["n", 6])
    net.add("Gemm", net.last, net.weight(6, 5), net.weight(5), **settings)
    net.batch_norm(5)
    folded = fold_batch_norms(net.build()).model
    assert_same_function(net.build(), folded, x=normal(3, 6))


def test_resnet20(shared_data: Path) -> None:
    model = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    folded = fold_batch_norms(model)
    assert len(folded.statistics) == 19
    assert "BatchNormalization" not in {node.op_type for node in folded.model.graph.node}
    assert_same_function(model, folded.model, image=normal(8, 3, 32, 32))
