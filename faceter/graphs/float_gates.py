"""Activation functions x · f(x) whose f has no integer kernel, as it is written out in older graphs."""

import onnx

from faceter.graphs.view import GraphView, is_standard

_FUNCTIONS = frozenset({"Erf", "Tanh"})
_ELEMENTWISE = frozenset({"Add", "Div", "Mul", "Sub"})
_MOST_STEPS = 4


def is_float_gate(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a node multiplies by an error function or tanh, scaled and shifted by constants, as GELU does.

    References:
        Hendrycks, Gimpel, "Gaussian error linear units (GELUs)", 2016.
    """
    return node.op_type == "Mul" and is_standard(node) and any(_comes_from_function(view, name) for name in node.input)


def _comes_from_function(view: GraphView, name: str) -> bool:
    for _ in range(_MOST_STEPS):
        producer = view.producer.get(name)
        if producer is None or not is_standard(producer):
            return False
        if producer.op_type in _FUNCTIONS:
            return True
        varying = [source for source in producer.input if view.constant(source) is None]
        if producer.op_type not in _ELEMENTWISE or len(varying) != 1:
            return False
        name = varying[0]
    return False
