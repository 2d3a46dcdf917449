"""A graph of a fixed batch, freed: it is the same function, of any number of samples."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.graphs.batch import with_free_batch
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
def test_the_freed_graph_answers_each_sample_as_the_fixed_one_does(batch: int, target: list[int]) -> None:
    model = network(batch, target)
    before = model.SerializeToString()
    freed = with_free_batch(model)
    assert model.SerializeToString() == before
    assert first_size(freed.graph.input[0]) == "batch"
    x = inputs(4 * batch)
    expected = np.concatenate([run(model, x=part)[0] for part in np.split(x, 4)])
    np.testing.assert_allclose(run(freed, x=x)[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run(freed, x=x[:batch])[0], run(model, x=x[:batch])[0])


def test_a_graph_that_is_free_already_stays_as_it_is() -> None:
    model = residual_net()
    assert with_free_batch(model) is model


def test_channels_shuffled_across_a_joined_axis_are_those_of_each_sample() -> None:
    """As ShuffleNet is exported: batch and channels joined, and the target without a size for the batch."""
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
    np.testing.assert_allclose(run(with_free_batch(model), x=x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", [[2, 12], [2, -1], [-1, 12], [3, 8]])
def test_with_the_batch_it_had_it_computes_what_it_did(target: list[int]) -> None:
    """Also where samples are joined, and nothing can be freed."""
    net = GraphBuilder([2, 3, 4])
    net.add("Transpose", "x", perm=[1, 0, 2])
    net.add("Reshape", net.last, net.constant(np.array(target, np.int64)))
    model = net.build()
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(with_free_batch(model), x=x)[0], run(model, x=x)[0])


def test_a_reshape_of_a_weight_stays() -> None:
    net = GraphBuilder([1, 4])
    net.add("Reshape", net.weight(4, 4, name="w"), net.constant(np.array([2, 8], np.int64)))
    assert list(with_free_batch(net.build()).graph.node[0].input) == list(net.build().graph.node[0].input)


def test_a_reshape_where_zero_means_zero_stays() -> None:
    net = GraphBuilder([2, 3, 4])
    net.add("Reshape", "x", net.constant(np.array([2, 12], np.int64)), allowzero=1)
    model = net.build()
    assert list(with_free_batch(model).graph.node[0].input) == list(model.graph.node[0].input)


def test_two_reshapes_may_share_a_target() -> None:
    net = GraphBuilder([1, 2, 6])
    target = net.constant(np.array([1, 12], np.int64), "shape")
    left = net.add("Reshape", "x", target)
    net.add("Relu", "x")
    right = net.add("Reshape", net.last, target)
    net.add("Add", left, right)
    model = net.build()
    freed = with_free_batch(model)
    onnx.checker.check_model(freed)
    x = np.random.default_rng(0).normal(size=(3, 2, 6)).astype(np.float32)
    np.testing.assert_allclose(run(freed, x=x)[0], (x + np.maximum(x, 0)).reshape(3, 12), rtol=1e-6)
    assert "shape" in constants(freed), "another reader may want it"


def test_every_input_and_output_is_freed() -> None:
    net = GraphBuilder([3, 4], name="left")
    net.inputs.append(helper.make_tensor_value_info("right", TensorProto.FLOAT, [3, 4]))
    net.add("Add", "left", "right", output="sum")
    net.add("Relu", "sum", output="positive")
    freed = with_free_batch(net.build("sum", "positive"))
    assert {first_size(value) for value in (*freed.graph.input, *freed.graph.output)} == {"batch"}
    x = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(run(freed, "sum", left=x, right=x)[0], 2 * x)


def test_inputs_of_different_batches_are_left_alone() -> None:
    net = GraphBuilder([3, 4], name="left")
    net.inputs.append(helper.make_tensor_value_info("right", TensorProto.FLOAT, [1, 4]))
    net.add("Add", "left", "right")
    model = net.build()
    assert with_free_batch(model) is model


def test_weights_that_are_named_among_the_inputs_are_no_samples() -> None:
    """Files of old versions list every initializer as an input."""
    model = network(1, [1, 48])
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    freed = with_free_batch(model)
    assert first_size(freed.graph.input[0]) == "batch"
    for value in freed.graph.input[1:]:
        assert isinstance(first_size(value), int)
