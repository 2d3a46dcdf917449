from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.graphs.describe import describe, input_specs, output_specs, parameter_count
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantized_operators import is_quantized
from tests.engines import graphs
from tests.graphs.builders import GraphBuilder, residual_net
from tests.graphs.min_max import min_max_plan


def test_inputs_and_outputs_with_their_types_and_shapes() -> None:
    model = residual_net()
    [image], [logits] = input_specs(model), output_specs(model)
    assert (image.name, image.dtype, image.shape) == ("image", "float32", ["batch", 3, 16, 16])
    assert (logits.name, logits.dtype, logits.shape) == ("logits", "float32", ["batch", 5])


def test_weights_listed_as_inputs_are_not_inputs() -> None:
    model = residual_net()
    model.graph.input.append(helper.make_tensor_value_info("classifier", TensorProto.FLOAT, [5, 12]))
    assert [spec.name for spec in input_specs(model)] == ["image"]


def test_parameters_and_multiply_accumulates_by_hand() -> None:
    graph = describe(residual_net())
    by_operator = {layer.name: layer for layer in graph.layers}
    first = by_operator["n0"]
    # A bias of zeros does not count before a BatchNormalization; this one is not zero.
    assert first.parameters == 8 * 3 * 9 + 8
    assert first.macs == 8 * 16 * 16 * 3 * 9
    assert first.batch_norm
    depthwise = next(layer for layer in graph.layers if layer.operator == "Conv" and layer.parameters == 8 * 9 + 8)
    assert depthwise.macs == 8 * 8 * 8 * 9
    assert not depthwise.batch_norm
    classifier = next(layer for layer in graph.layers if layer.operator == "Gemm")
    assert classifier.parameters == 5 * 12 + 5
    assert classifier.macs == 5 * 12
    norms = [layer for layer in graph.layers if layer.operator == "BatchNormalization"]
    assert [layer.parameters for layer in norms] == [16, 16]
    convolutions = 8 * 27 + 8 + 2 * (8 * 72 + 8) + 8 * 9 + 8 + 12 * 8 + 12
    assert graph.parameters == convolutions + 2 * 16 + 5 * 12 + 5 == parameter_count(residual_net())
    assert graph.macs == sum(layer.macs or 0 for layer in graph.layers)


def test_layers_tensors_and_operators() -> None:
    graph = describe(residual_net())
    assert graph.opset == 17
    assert graph.operators["Conv"] == 5
    assert graph.operators["Add"] == 1
    assert graph.tensors[0].name == "image"
    assert graph.tensors[0].produced_by is None
    made = {tensor.name: tensor for tensor in graph.tensors}
    assert made["logits"].produced_by == graph.layers[-1].name
    assert made["logits"].shape == ["batch", 5]
    assert "classifier" not in made
    assert graph.unsupported_operators == []


def test_node_names_are_unique_and_not_empty() -> None:
    model = residual_net()
    for node in model.graph.node:
        node.name = "" if node.op_type == "Relu" else "same"
    names = [layer.name for layer in describe(model).layers]
    assert len(set(names)) == len(names)
    assert "Relu(t2)" in names


def test_shared_weights_count_once() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    weight = net.weight(4, 4, 3, 3)
    net.add("Conv", net.last, weight, pads=[1] * 4)
    net.add("Conv", net.last, weight, pads=[1] * 4)
    assert describe(net.build()).parameters == 4 * 4 * 9


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_has_the_same_parameter_count(bits: int) -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    plan = min_max_plan(residual_net(), weight_bits=bits, image=image)
    quantized = write_qdq(plan)
    assert is_quantized(quantized)
    assert not is_quantized(residual_net())
    folded = parameter_count(plan.model)
    assert parameter_count(quantized) == parameter_count(pack_weights(quantized)) == folded
    graph = describe(pack_weights(quantized))
    assert not any("unpack" in layer.name for layer in graph.layers)
    assert graph.macs == describe(residual_net()).macs


def test_unsupported_operators_are_listed() -> None:
    net = GraphBuilder([1, 4])
    graph = net.add("ReduceSum", net.last, keepdims=0)
    net.add("SequenceConstruct", graph, output="sequence")
    net.add("SequenceLength", "sequence", output="length")
    model = helper.make_model(
        helper.make_graph(net.nodes, "g", net.inputs, [helper.make_tensor_value_info("length", TensorProto.INT64, [])]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert describe(model).unsupported_operators == ["SequenceConstruct", "SequenceLength"]


def test_resnet20(shared_data: Path) -> None:
    graph = describe(onnx.load(shared_data / "cifar10" / "resnet20.onnx"))
    assert graph.parameters == 269_722
    assert graph.macs == 40_551_040
    assert sum(layer.batch_norm for layer in graph.layers) == 19
    assert graph.unsupported_operators == []


def test_fastestdet(shared_data: Path) -> None:
    graph = describe(onnx.load(shared_data / "detection" / "fastestdet.onnx"))
    assert 0.23e6 < graph.parameters < 0.25e6
    assert not any(layer.batch_norm for layer in graph.layers)


def test_a_model_of_token_ids(shared_data: Path) -> None:
    model = onnx.load(shared_data / "nli" / "snli_mlp.onnx")
    assert [(spec.name, spec.dtype) for spec in input_specs(model)] == [("premise", "int64"), ("hypothesis", "int64")]
    assert describe(model).macs is not None


def test_the_features_are_what_the_last_fully_connected_layer_takes(shared_data: Path) -> None:
    classifier = onnx.load_model_from_string(graphs.classifier())
    assert describe(classifier).feature_tensor == "f"
    resnet = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    tensor = describe(resnet).feature_tensor
    assert [spec.shape for spec in describe(resnet).tensors if spec.name == tensor] == [["batch", 64]]
    assert describe(onnx.load(shared_data / "detection" / "fastestdet.onnx")).feature_tensor is None
