"""Decoding of a network's results inside the graph: boxes in pixels, expected distances. It is not quantized.

A detector's last convolutions give logits; sigmoids, products with a stride and an expectation over a softmax make
pixels of them. There one step of an 8-bit code is several pixels wide, and the work is negligible.
"""

from collections.abc import Collection, Mapping

import onnx

from faceter.graphs.macs import multiply_accumulates
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import GraphView, is_standard

_RESCALING = frozenset({"Add", "Div", "Exp", "Mul", "Pow", "Sub"})
_MOVING = frozenset({"Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_MATRIX_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "Gemm", "GRU", "LSTM", "MatMul", "RNN"})
_SMALL_SHARE = 0.1


def is_expectation(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a node is the expected value of a softmax over fixed positions, as in a DFL head.

    That is a product of a softmax with constant weights that has one output channel.
    """
    if not is_standard(node) or node.op_type not in ("Conv", "Gemm", "MatMul"):
        return False
    if not view.is_initializer(node.input[1]):
        return False
    dims = list(view.tensor(node.input[1]).dims)
    single = dims[0] == 1 and len(dims) > 2 if node.op_type == "Conv" else dims[-1:] == [1]
    producer = view.producer.get(node.input[0])
    while producer is not None and producer.op_type in _MOVING:
        producer = view.producer.get(producer.input[0])
    return single and producer is not None and producer.op_type == "Softmax" and is_standard(producer)


def is_decoded(view: GraphView, name: str, quantized: Collection[str]) -> bool:
    """Whether a tensor leads to nothing but outputs of the graph, through float operators that rescale it.

    Args:
        name: The result of a convolution.
        quantized: The tensors that are quantized.
    """
    queue, seen, rescaled = [name], {name}, False
    while queue:
        for reader in view.consumers.get(queue.pop(), []):
            if reader.op_type in _MATRIX_PRODUCTS and not is_expectation(view, reader):
                return False
            if reader.op_type in _RESCALING and any(view.constant(item) is not None for item in reader.input):
                rescaled = True
            rescaled |= reader.op_type == "Exp"
            for output in reader.output:
                if output in quantized:
                    return False
                if output and output not in seen:
                    seen.add(output)
                    queue.append(output)
    return rescaled


def is_small_part(nodes: Collection[onnx.NodeProto], node: onnx.NodeProto, shapes: Mapping[str, TensorInfo]) -> bool:
    """Whether a layer is at most a tenth of a network's work; of its weights, where sizes are open.

    Args:
        nodes: All layers, each with weights or a second operand as its second input.
    """
    works = {id(item): multiply_accumulates(item, shapes) for item in nodes}
    if any(work is None for work in works.values()):
        works = {id(item): _elements(shapes, item.input[1]) for item in nodes}
    return (works[id(node)] or 0) <= _SMALL_SHARE * sum(work or 0 for work in works.values())


def _elements(shapes: Mapping[str, TensorInfo], name: str) -> int:
    info = shapes.get(name)
    return 0 if info is None else info.elements or 0
