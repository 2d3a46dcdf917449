"""Activation functions whose gate has no integer kernel stay float inside."""

import pytest
from onnx import NodeProto, helper

from faceter.graphs.canonical import canonicalize
from faceter.graphs.float_gates import is_float_gate
from faceter.graphs.quantization_sites import find_quantization_sites
from faceter.graphs.view import GraphView
from tests.graphs.test_residual_streams import network


def gelu(function: str = "Erf") -> list[NodeProto]:
    return [
        helper.make_node("MatMul", ["x", "weight"], ["wide"], name="wide"),
        helper.make_node("Div", ["wide", "root"], ["scaled"], name="scaled"),
        helper.make_node(function, ["scaled"], ["function"], name="function"),
        helper.make_node("Add", ["function", "one"], ["shifted"], name="shifted"),
        helper.make_node("Mul", ["shifted", "half"], ["gate"], name="gate"),
        helper.make_node("Mul", ["wide", "gate"], ["active"], name="active"),
        helper.make_node("MatMul", ["active", "weight"], ["y"], name="narrow"),
    ]


@pytest.mark.parametrize(("function", "float_gate"), [("Erf", True), ("Tanh", True), ("Sigmoid", False)])
def test_a_gate_without_integer_kernel_is_known(function: str, float_gate: bool) -> None:
    view = GraphView(network(*gelu(function)))
    assert is_float_gate(view, view.producer["active"]) is float_gate
    assert not is_float_gate(view, view.producer["scaled"])


def test_inside_gelu_nothing_is_quantized() -> None:
    tensors = {
        name for site in find_quantization_sites(canonicalize(network(*gelu()))).activations for name in site.tensors
    }
    assert tensors == {"x", "active"}
