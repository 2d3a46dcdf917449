"""A fixed batch axis made dynamic: the same function for any number of samples."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.graphs.dynamic_batch import with_dynamic_batch
from tests.graphs.builders import Array, GraphBuilder, constants, residual_net, run


def first_size(value: onnx.ValueInfoProto) -> int | str:
    size = value.type.tensor_type.shape.dim[0]
    found: int | str = size.dim_param or size.dim_value
    return found


def network(batch: int, target: list[int]) -> onnx.ModelProto:
    net = GraphBuilder([batch, 2, 4, 4])
    net.conv(3, 2)
    net.add("Relu")
    net.add("Reshape", net.last, net.constant(np.array(target, np.int64)))
    net.add("Gemm", net.last, net.weight(5, 48), net.weight(5), transB=1)
    return net.build()


def inputs(count: int) -> Array:
    return np.random.default_rng(0).normal(size=(count, 2, 4, 4)).astype(np.float32)


@pytest.mark.parametrize(("batch", "target"), [(1, [1, 48]), (1, [1, -1]), (3, [3, -1]), (2, [-1, 48]), (4, [4, 48])])
def test_samples_are_independent_with_a_dynamic_batch(batch: int, target: list[int]) -> None:
    model = network(batch, target)
    before = model.SerializeToString()
    dynamic = with_dynamic_batch(model)
    assert model.SerializeToString() == before
    assert first_size(dynamic.graph.input[0]) == "batch"
    x = inputs(4 * batch)
    expected = np.concatenate([run(model, x=part)[0] for part in np.split(x, 4)])
    np.testing.assert_allclose(run(dynamic, x=x)[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run(dynamic, x=x[:batch])[0], run(model, x=x[:batch])[0])


def test_a_dynamic_graph_is_unchanged() -> None:
    model = residual_net()
    assert with_dynamic_batch(model) is model


def test_channel_shuffle_over_a_joined_axis() -> None:
    """ShuffleNet as exported: batch and channels are joined, and the target has no batch size."""
    net = GraphBuilder([1, 6, 2, 2])
    net.conv(6, 6)
    net.add("Reshape", net.last, net.constant(np.array([3, 2, 4], np.int64)))
    net.add("Transpose", perm=[1, 0, 2])
    net.add("Reshape", net.last, net.constant(np.array([2, -1, 3, 2, 2], np.int64)))
    net.add("Gather", net.last, net.constant(np.array(1, np.int64)), axis=0)
    net.conv(2, 3)
    model = net.build()
    x = np.random.default_rng(0).normal(size=(5, 6, 2, 2)).astype(np.float32)
    expected = np.concatenate([run(model, x=part)[0] for part in np.split(x, 5)])
    np.testing.assert_allclose(run(with_dynamic_batch(model), x=x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", [[2, 12], [2, -1], [-1, 12], [3, 8]])
def test_the_original_batch_size_gives_equal_outputs(target: list[int]) -> None:
    """Also where samples are joined, so that the batch cannot be dynamic."""
    net = GraphBuilder([2, 3, 4])
    net.add("Transpose", "x", perm=[1, 0, 2])
    net.add("Reshape", net.last, net.constant(np.array(target, np.int64)))
    model = net.build()
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(with_dynamic_batch(model), x=x)[0], run(model, x=x)[0])


def test_a_reshape_of_a_weight_is_unchanged() -> None:
    net = GraphBuilder([1, 4])
    net.add("Reshape", net.weight(4, 4, name="w"), net.constant(np.array([2, 8], np.int64)))
    assert list(with_dynamic_batch(net.build()).graph.node[0].input) == list(net.build().graph.node[0].input)


def test_a_reshape_with_allowzero_is_unchanged() -> None:
    net = GraphBuilder([2, 3, 4])
    net.add("Reshape", "x", net.constant(np.array([2, 12], np.int64)), allowzero=1)
    model = net.build()
    assert list(with_dynamic_batch(model).graph.node[0].input) == list(model.graph.node[0].input)


def test_two_reshapes_may_share_a_target() -> None:
    net = GraphBuilder([1, 2, 6])
    target = net.constant(np.array([1, 12], np.int64), "shape")
    left = net.add("Reshape", "x", target)
    net.add("Relu", "x")
    right = net.add("Reshape", net.last, target)
    net.add("Add", left, right)
    model = net.build()
    dynamic = with_dynamic_batch(model)
    onnx.checker.check_model(dynamic)
    x = np.random.default_rng(0).normal(size=(3, 2, 6)).astype(np.float32)
    np.testing.assert_allclose(run(dynamic, x=x)[0], (x + np.maximum(x, 0)).reshape(3, 12), rtol=1e-6)
    assert "shape" in constants(dynamic), "another reader may want it"


def test_every_input_and_output_becomes_dynamic() -> None:
    net = GraphBuilder([3, 4], name="left")
    net.inputs.append(helper.make_tensor_value_info("right", TensorProto.FLOAT, [3, 4]))
    net.add("Add", "left", "right", output="sum")
    net.add("Relu", "sum", output="positive")
    dynamic = with_dynamic_batch(net.build("sum", "positive"))
    assert {first_size(value) for value in (*dynamic.graph.input, *dynamic.graph.output)} == {"batch"}
    x = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(run(dynamic, "sum", left=x, right=x)[0], 2 * x)


def test_inputs_of_different_batch_sizes_are_unchanged() -> None:
    net = GraphBuilder([3, 4], name="left")
    net.inputs.append(helper.make_tensor_value_info("right", TensorProto.FLOAT, [1, 4]))
    net.add("Add", "left", "right")
    model = net.build()
    assert with_dynamic_batch(model) is model


def test_weights_listed_as_inputs_are_unchanged() -> None:
    """Files of old IR versions list every initializer as an input."""
    model = network(1, [1, 48])
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    dynamic = with_dynamic_batch(model)
    assert first_size(dynamic.graph.input[0]) == "batch"
    for value in dynamic.graph.input[1:]:
        assert isinstance(first_size(value), int)
