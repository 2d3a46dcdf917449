from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.quantization_sites import ActivationSite, QuantizationSites, find_quantization_sites
from faceter.graphs.weight_rows import weights_as_rows
from tests.graphs.builders import GraphBuilder, residual_net


def sites_of(net: GraphBuilder, *outputs: str) -> QuantizationSites:
    return find_quantization_sites(net.build(*outputs))


def roles(sites: QuantizationSites) -> dict[str, str]:
    return {name: site.role for site in sites.activations for name in site.tensors}


def groups(sites: QuantizationSites) -> list[ActivationSite]:
    return [site for site in sites.activations if len(site.tensors) + len(site.moved) > 1]


def test_residual_net() -> None:
    model = fold_batch_norms(canonicalize(residual_net())).model
    sites = find_quantization_sites(model)
    assert [site.axis for site in sites.weights] == [0] * 6
    assert roles(sites) == {
        "image": "input",
        "t2": "full",  # the trunk
        "t5": "full",
        "t6": "wide",  # the summand
        "t8": "full",  # the sum, after its ReLU
        "t10": "full",  # after ReLU6
        "t12": "wide",  # enters nothing but the pooling
        "t13": "full",  # the last pooling
    }
    [pooled] = groups(sites)
    assert (pooled.tensors, pooled.moved) == (("t13",), ("t14",))
    assert sites.activation("t14") is pooled
    assert sites.activation("logits") is None


def test_bits_by_role() -> None:
    assert ActivationSite("a", ("a",), (), None, "full").bits(4) == 4
    assert ActivationSite("a", ("a",), (), None, "wide").bits(4) == 8
    assert ActivationSite("a", ("a",), (), None, "input").bits(4) == 8


def test_data_movement_shares_one_quantizer() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    left = net.conv(4, 4)
    net.conv(4, 4, source="x")
    right = net.add("Relu")
    net.add("Concat", left, right, axis=1)
    net.add("MaxPool", kernel_shape=[2, 2])
    net.add("Transpose", perm=[0, 1, 3, 2])
    net.conv(4, 8)
    sites = sites_of(net)
    [group] = groups(sites)
    assert group.tensors == (left, right)
    assert len(group.moved) == 3
    assert group.role == "full"


def test_a_concat_with_a_constant_is_not_data_movement() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    inner = net.conv(4, 4)
    joined = net.add("Concat", inner, net.weight(1, 2, 8, 8), axis=1)
    net.conv(4, 6)
    sites = sites_of(net)
    assert groups(sites) == []
    assert roles(sites) == {"x": "input", inner: "wide", joined: "full", net.last: "wide"}


def test_a_zero_padded_image_stays_at_eight_bits() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.add("Pad", net.last, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    net.conv(4, 4)
    assert roles(sites_of(net)) == {"x": "input", "t1": "wide"}


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_padding_with_another_value_is_not_data_movement(value: float) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    pads = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    net.add("Pad", net.last, pads, net.constant(np.full((), value, np.float32)))
    net.conv(4, 4)
    assert "t0" in roles(sites_of(net))


def test_the_result_of_the_last_convolution_is_wide() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(4, 4)
    net.add("Relu")
    net.conv(4, 4)
    net.add("Sigmoid")
    assert roles(sites_of(net)) == {"x": "input", "t1": "full", "t2": "wide"}


def test_both_operands_of_a_product_of_activations() -> None:
    net = GraphBuilder([2, 6, 6])
    net.add("MatMul", "x", net.weight(6, 6, name="w"))
    net.add("Softmax")
    net.add("MatMul", net.last, "x")
    sites = sites_of(net)
    assert roles(sites) == {"x": "input", "t1": "full"}
    assert [(site.name, site.axis) for site in sites.weights] == [("w", 1)]


def test_an_activation_read_by_two_functions_is_quantized_itself() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    raw = net.conv(4, 4)
    gate = net.add("Sigmoid", raw)
    net.add("Mul", raw, gate)
    net.conv(4, 4)
    assert roles(sites_of(net)) == {"x": "input", raw: "wide", gate: "wide", "t2": "full", "t3": "wide"}


def test_weights_used_twice_are_one_site() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    weight = net.weight(4, 4, 1, 1, name="shared")
    net.add("Conv", net.last, weight)
    net.add("Conv", net.last, weight)
    [site] = sites_of(net).weights
    assert site.layers == ("n0", "n1")


@pytest.mark.parametrize(("groups_", "axis"), [(1, 1), (2, None)])
def test_transposed_convolutions(groups_: int, axis: int | None) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.add("ConvTranspose", net.last, net.weight(4, 6, 3, 3), group=groups_)
    [site] = sites_of(net).weights
    assert site.axis == axis


def test_an_embedding_and_a_recurrent_layer_have_weights_alone() -> None:
    net = GraphBuilder([7, 2])
    net.inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.INT64, [7, 2])]
    net.add("Gather", net.weight(20, 4, name="table"), "x")
    net.add("LSTM", net.last, net.weight(1, 12, 4, name="W"), net.weight(1, 12, 3, name="R"), hidden_size=3)
    sites = find_quantization_sites(weights_as_rows(net.build()))
    assert [(site.name, site.axis, site.dequantized) for site in sites.weights] == [
        ("table", 1, True),
        ("W/rows", 0, True),
        ("R/rows", 0, True),
    ]
    assert sites.activations == ()


def test_a_table_that_is_looked_up_at_constant_places_is_no_embedding() -> None:
    net = GraphBuilder([3, 4])
    net.add("Add", "x", net.add("Gather", net.weight(20, 4, name="table"), net.constant(np.array([1, 2, 3]))))
    net.add("MatMul", net.last, net.weight(4, 4, name="w"))
    assert [site.name for site in sites_of(net).weights] == ["w"]


def detector(*, decoded: bool) -> GraphBuilder:
    """A trunk, and a small head whose boxes are decoded to pixels in the graph, or not."""
    net = GraphBuilder([1, 4, 16, 16])
    net.conv(16, 4)
    trunk = net.add("Relu", output="trunk")
    net.conv(16, 16, source=trunk)
    trunk = net.add("Relu")
    boxes = net.add("Sigmoid", net.conv(4, 16, 1, source=trunk))
    if decoded:
        boxes = net.add("Mul", boxes, net.constant(np.array(640, np.float32)))
    scores = net.add("Sigmoid", net.conv(2, 16, 1, source=trunk))
    net.add("Concat", boxes, scores, axis=1)
    return net


def test_what_the_graph_decodes_to_pixels_stays_float() -> None:
    plain = sites_of(detector(decoded=False))
    assert [site.name for site in plain.activations if site.role == "wide"] == ["t4", "t6"]
    decoded = sites_of(detector(decoded=True))
    assert [site.name for site in decoded.activations if site.role == "wide"] == ["t7"]
    assert len(plain.weights) == len(decoded.weights) == 4


def test_an_expectation_over_a_softmax_stays_float() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(8, 4)
    net.add("Reshape", net.last, net.constant(np.array([0, 8, 1, -1])))
    net.add("Softmax", axis=1)
    positions = np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1)
    net.add("Conv", net.last, net.constant(positions, "positions"))
    sites = sites_of(net)
    assert [site.name for site in sites.weights] == ["w0"]
    assert sites.activation("t2") is None


def test_nothing_to_quantize() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.add("Relu")
    with pytest.raises(FaceterError) as caught:
        sites_of(net)
    assert caught.value.kind is ProblemKind.NOTHING_TO_QUANTIZE


def test_half_precision_weights_are_nothing_to_quantize() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [1, 4, 8, 8])]
    net.add("Conv", "x", net.constant(np.ones((4, 4, 1, 1), np.float16)))
    graph = helper.make_graph(
        net.nodes,
        "g",
        net.inputs,
        [helper.make_tensor_value_info(net.last, onnx.TensorProto.FLOAT16, None)],
        net.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(FaceterError) as caught:
        find_quantization_sites(model)
    assert caught.value.kind is ProblemKind.NOTHING_TO_QUANTIZE


def test_resnet20(shared_data: Path) -> None:
    model = fold_batch_norms(canonicalize(onnx.load(shared_data / "cifar10" / "resnet20.onnx"))).model
    sites = find_quantization_sites(model)
    assert len(sites.weights) == 20
    by_role = {role: [site for site in sites.activations if site.role == role] for role in ("input", "full", "wide")}
    # 19 results of ReLU and the last pooling at full strength, 9 summands wide.
    assert {role: len(found) for role, found in by_role.items()} == {"input": 1, "full": 20, "wide": 9}
