"""Residual streams of transformers, which stay float where integer kernels do not read them.

The result of a normalization enters matrix products, which run on codes of 8 bits, and a residual addition, which does
not: the addition's result is normalized in float. If both read the codes, their error stays in the stream. So the
matrix products get a copy, and only the copy is quantized.
"""

import numpy as np
import onnx

from faceter.graphs.view import GraphView, is_standard, replace_nodes

_PRODUCTS = frozenset({"Gemm", "MatMul"})
_NORMALIZATIONS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})


def separate_residual_streams(model: onnx.ModelProto) -> None:
    """Let matrix products read a copy of what a residual addition reads too, where the addition stays float.

    The copy is a product with 1, which ONNX Runtime removes when it loads the model.

    Args:
        model: A model in canonical form; it is changed.
    """
    view = GraphView(model)
    nodes: list[onnx.NodeProto] = []
    for node in view.graph.node:
        nodes.append(node)
        if node.op_type not in _NORMALIZATIONS or not is_standard(node):
            continue
        name = node.output[0]
        readers = view.consumers.get(name, [])
        products = [reader for reader in readers if reader.op_type in _PRODUCTS and is_standard(reader)]
        if not products or not any(_is_residual(view, reader) for reader in readers):
            continue
        copy = view.unique(f"{name}/operand")
        one = view.shared_initializer("one", np.array(1, np.float32))
        nodes.append(onnx.helper.make_node("Mul", [name, one], [copy], name=view.unique(f"{node.name}/operand")))
        for product in products:
            for index, source in enumerate(product.input):
                product.input[index] = copy if source == name else source
    replace_nodes(view.graph, nodes)


def _is_residual(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a node adds two activations, and a normalization reads the sum."""
    if node.op_type != "Add" or not is_standard(node) or any(view.constant(name) is not None for name in node.input):
        return False
    readers = view.consumers.get(node.output[0], [])
    return any(reader.op_type in _NORMALIZATIONS for reader in readers)
