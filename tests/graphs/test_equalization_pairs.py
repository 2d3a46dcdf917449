from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.equalization_pairs import EqualizationPair, clips_by_channel, find_pairs
from faceter.graphs.weight_rows import weights_as_rows
from tests.graphs.builders import Array, GraphBuilder, constants, residual_net, run, with_outputs


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def rescaled(model: onnx.ModelProto, pairs: list[EqualizationPair]) -> onnx.ModelProto:
    """Divide the outputs of the first layer of each pair by random factors and multiply the inputs of the second."""
    rng = np.random.default_rng(3)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    values = constants(model)
    for pair in pairs:
        channels = pair.first.by_output(values[pair.first.weight]).shape[0]
        assert pair.second.by_input(values[pair.second.weight]).shape[0] == channels
        factor = np.asarray(rng.uniform(0.1, 10, channels), np.float32)
        values[pair.first.weight] = pair.first.scale_outputs(values[pair.first.weight], 1 / factor)
        if pair.first.bias is not None:
            values[pair.first.bias] = values[pair.first.bias] / factor
        for name in pair.bounds:
            values[name] = values[name] / factor.reshape(values[name].shape)
        values[pair.second.weight] = pair.second.scale_inputs(values[pair.second.weight], factor)
    for tensor in changed.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return changed


def found(net: GraphBuilder, *outputs: str, x: Array | None = None) -> list[EqualizationPair]:
    """Find the pairs, and check that rescaling does not change the function."""
    model = net.build(*outputs)
    pairs = find_pairs(model)
    image = normal(2, 4, 8, 8) if x is None else x
    for expected, actual in zip(run(model, x=image), run(rescaled(model, pairs), x=image), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    return pairs


def test_a_chain() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    for _ in range(3):
        net.conv(4, 4)
        net.add("Relu")
    pairs = found(net)
    assert [(pair.first.name, pair.second.name) for pair in pairs] == [("n0", "n2"), ("n2", "n4")]
    assert [pair.activation for pair in pairs] == ["Relu", "Relu"]
    assert [pair.entering for pair in pairs] == ["t1", "t3"]
    assert pairs[0].between == ("n1",)


def test_adjacent_layers() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(6, 4)
    net.conv(5, 6, 1)
    [pair] = found(net)
    assert pair.activation is None
    assert pair.between == ()


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_depthwise_and_grouped_layers(groups: int) -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(8, 4, 1)
    net.add("Relu")
    net.conv(16, 8, group=groups)
    net.add("Relu")
    net.conv(4, 16, 1)
    assert len(found(net)) == 2


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolutions(groups: int) -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4, 1)
    net.add("ConvTranspose", net.last, net.weight(4, 8 // groups, 2, 2), net.weight(8), group=groups)
    net.add("Relu")
    net.conv(4, 8, 1)
    assert len(found(net)) == 2


def test_prelu_with_a_slope_per_channel() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    net.add("PRelu", net.last, net.weight(4, 1, 1))
    net.conv(4, 4)
    [pair] = found(net)
    assert pair.activation == "PRelu"


def test_leaky_relu_and_pooling() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    net.add("LeakyRelu", alpha=0.1)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(6, 4)
    net.add("GlobalAveragePool")
    net.add("Flatten")
    net.add("Gemm", net.last, net.weight(6, 3))
    assert [pair.between for pair in found(net)] == [("n1", "n2"), ("n4", "n5")]


@pytest.mark.parametrize("transposed", [0, 1])
def test_matrix_products(transposed: int) -> None:
    net = GraphBuilder(["n", 6])
    net.add("Gemm", net.last, net.weight(*((5, 6) if transposed else (6, 5))), net.weight(5), transB=transposed)
    net.add("Relu")
    net.add("Gemm", net.last, net.weight(*((3, 5) if transposed else (5, 3))), net.weight(3), transB=transposed)
    assert len(found(net, x=normal(2, 6))) == 1


def test_not_through_a_flattened_image() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    net.add("Flatten")
    net.add("Gemm", net.last, net.weight(256, 3))
    assert found(net) == []


def test_not_across_a_branch() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    trunk = net.add("Relu")
    left = net.conv(4, 4, source=trunk)
    right = net.conv(4, 4, source=trunk)
    net.add("Add", left, right)
    net.conv(4, 4)
    assert found(net) == []


def test_not_if_the_tensor_is_a_graph_output() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    between = net.add("Relu")
    net.conv(4, 4)
    assert found(net, between, net.last) == []


@pytest.mark.parametrize("activation", ["Sigmoid", "Tanh", "Softplus"])
def test_not_through_other_functions(activation: str) -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    net.add(activation)
    net.conv(4, 4)
    assert found(net) == []


def test_not_with_shared_weights() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    weight = net.weight(4, 4, 1, 1)
    net.add("Conv", net.last, weight)
    net.add("Relu")
    net.add("Conv", net.last, weight)
    assert found(net) == []


def relu6(net: GraphBuilder, low: float = 0, high: float = 6) -> str:
    ends = [net.constant(np.full((), end, np.float32)) for end in (low, high)]
    return net.add("Clip", net.last, *ends)


def test_not_through_relu6_but_through_a_bound_for_each_channel() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(6, 4)
    relu6(net)
    net.conv(4, 6)
    relu6(net)
    assert found(net) == []
    model = clips_by_channel(net.build())
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", "Min", "Conv", "Clip"]
    [pair] = find_pairs(model)
    assert pair.activation == "Relu"
    [bound] = pair.bounds
    assert constants(model)[bound].shape == (6, 1, 1)
    large = 20 * normal(2, 4, 8, 8)
    [expected] = run(net.build(), x=large)
    np.testing.assert_array_equal(run(model, x=large)[0], expected)
    assert (run(with_outputs(model, [pair.entering]), pair.entering, x=large)[0] == 6).mean() > 0.1
    np.testing.assert_allclose(run(rescaled(model, [pair]), x=large)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_clip_of_a_vector_between_matrix_products() -> None:
    net = GraphBuilder(["n", 6])
    net.add("Gemm", net.last, net.weight(6, 5), net.weight(5))
    relu6(net, high=0.5)
    net.add("Gemm", net.last, net.weight(5, 3), net.weight(3))
    model = clips_by_channel(net.build())
    [pair] = find_pairs(model)
    assert constants(model)[pair.bounds[0]].shape == (5,)
    x = normal(8, 6)
    np.testing.assert_allclose(run(rescaled(model, [pair]), x=x)[0], run(net.build(), x=x)[0], rtol=1e-4, atol=1e-5)


def test_a_bound_that_others_read_breaks_a_pair() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    bound = net.constant(np.full((4, 1, 1), 6, np.float32))
    net.conv(4, 4)
    net.add("Min", net.add("Relu"), bound)
    net.conv(4, 4)
    net.add("Min", net.last, bound)
    assert found(net) == []


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 0), (0, np.inf), (1, 6)])
def test_other_clips_stay(low: float, high: float) -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4)
    relu6(net, low, high)
    net.conv(4, 4)
    model = clips_by_channel(net.build())
    assert find_pairs(model) == []
    assert model.SerializeToString() == net.build().SerializeToString()


def test_grouped_transposed_convolutions_with_weights_as_rows() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    net.conv(4, 4, 1)
    net.add("ConvTranspose", net.last, net.weight(4, 4, 2, 2), net.weight(8), group=2)
    net.add("Relu")
    net.conv(4, 8, 1)
    model = weights_as_rows(net.build())
    pairs = find_pairs(model)
    assert len(pairs) == 2
    x = normal(2, 4, 8, 8)
    np.testing.assert_allclose(run(rescaled(model, pairs), x=x)[0], run(net.build(), x=x)[0], rtol=1e-4, atol=1e-4)


def test_residual_net_within_its_blocks() -> None:
    model = fold_batch_norms(canonicalize(residual_net())).model
    pairs = find_pairs(model)
    assert [(pair.first.output, pair.entering) for pair in pairs] == [("t4", "t5"), ("t11", "t14")]
    image = normal(2, 3, 16, 16)
    expected, actual = run(model, image=image)[0], run(rescaled(model, pairs), image=image)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_shared_models(shared_data: Path) -> None:
    resnet = fold_batch_norms(canonicalize(onnx.load(shared_data / "cifar10" / "resnet20.onnx"))).model
    assert len(find_pairs(resnet)) == 9
    detector = canonicalize(onnx.load(shared_data / "detection" / "fastestdet.onnx"))
    pairs = find_pairs(detector)
    assert len(pairs) == 41
    image = np.abs(normal(1, 3, 352, 352))
    expected = run(detector, **{"input.1": image})[0]
    actual = run(rescaled(detector, pairs), **{"input.1": image})[0]
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()
