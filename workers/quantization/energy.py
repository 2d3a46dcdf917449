"""An estimate of the energy of one inference, from counts of operations and bytes. Not a measurement.

Energies of single operations in 45 nm at 0.9 V are those of Horowitz (ISSCC 2014), as tabled by Han et al. (ICLR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import onnx

from faceter.contracts.quantizations import Energy
from faceter.graphs.macs import multiply_accumulates
from faceter.graphs.shapes import TensorInfo, infer
from faceter.graphs.view import GraphView

PICOJOULE = 1e-12

FLOAT_ADD = 0.9
FLOAT_MULTIPLY = 3.7
INT32_ADD = 0.1
INT32_MULTIPLY = 3.1
SRAM_READ = 5.0
DRAM_READ = 640.0
"""Picojoules; reads are of 32 bits."""

ASSUMPTIONS = [
    "An estimate from counts, not a measurement; one input, 45 nm at 0.9 V (Horowitz, ISSCC 2014).",
    "A float multiply-accumulate takes 3.7 + 0.9 pJ (32-bit float multiply and add).",
    "An integer multiply-accumulate of a and b bits takes 3.1 · a·b/1024 + 0.1 pJ: a 32-bit integer multiply scaled by "
    "the product of the widths, and an addition to a 32-bit sum.",
    "Every weight is read once from DRAM at its bits: 640 pJ per 32 bits. Biases count 32 bits each.",
    "Every layer reads its inputs from SRAM and writes its output there once at their bits: 5 pJ per 32 bits each way.",
    "Activation functions, reshapes and the like are done on the way; caches, control and leakage are left out.",
]

_ON_THE_WAY = frozenset(
    {
        "Clip", "Constant", "DequantizeLinear", "Dropout", "Flatten", "HardSigmoid", "HardSwish", "Identity",
        "LeakyRelu", "PRelu", "QuantizeLinear", "Relu", "Reshape", "Shape", "Sigmoid", "Squeeze", "Tanh", "Unsqueeze",
    }
)  # fmt: skip


def estimate(
    original: onnx.ModelProto,
    quantized: onnx.ModelProto,
    weight_bits: Mapping[str, float],
    activation_bits: Mapping[str, int],
    integer_layers: frozenset[str] | set[str],
) -> Energy:
    """Estimate the energy of one inference before and after.

    Args:
        original: The float model.
        quantized: The folded float graph that was quantized, whose tensors the other arguments name.
        weight_bits: Mean bits of every quantized weight.
        activation_bits: Bits of every quantized activation.
        integer_layers: First outputs of the nodes that compute in integers.
    """
    before = _joules(original, lambda _: 32.0, lambda _: 32.0, frozenset())
    after = _joules(
        quantized,
        lambda name: weight_bits.get(name, 32.0),
        lambda name: float(activation_bits.get(name, 32)),
        integer_layers,
    )
    return Energy(before_joules=before, after_joules=after, assumptions=ASSUMPTIONS)


def _joules(
    model: onnx.ModelProto,
    weight_bits: Callable[[str], float],
    activation_bits: Callable[[str], float],
    integer_layers: frozenset[str] | set[str],
) -> float:
    view, shapes = GraphView(model), infer(model, batch=1)
    picojoules = 0.0
    weights: set[str] = set()
    for node in model.graph.node:
        stored = [name for name in node.input if view.constant(name) is not None]
        weights.update(stored)
        if node.op_type in _ON_THE_WAY:
            continue
        made = _after_activation(view, node.output[0])
        activations = [name for name in node.input if name and name not in stored]
        for name in (*activations, made):
            picojoules += SRAM_READ * _elements(shapes, name) * activation_bits(name) / 32
        macs = multiply_accumulates(node, shapes) or 0
        if node.output[0] in integer_layers and macs:
            left = activation_bits(node.input[0])
            right = weight_bits(node.input[1]) if node.input[1] in stored else activation_bits(node.input[1])
            picojoules += macs * (INT32_MULTIPLY * left * right / 1024 + INT32_ADD)
        else:
            picojoules += macs * (FLOAT_MULTIPLY + FLOAT_ADD)
    for name in weights:
        picojoules += DRAM_READ * _elements(shapes, name) * weight_bits(name) / 32
    return picojoules * PICOJOULE


def _after_activation(view: GraphView, name: str) -> str:
    """Return the tensor an activation function makes of ``name``, which is what is written."""
    reader = view.only_consumer(name)
    while reader is not None and reader.op_type in ("Relu", "Clip", "LeakyRelu", "PRelu"):
        name = reader.output[0]
        reader = view.only_consumer(name)
    return name


def _elements(shapes: Mapping[str, TensorInfo], name: str) -> int:
    shape = shapes[name].shape if name in shapes else None
    return prod(size for size in shape if isinstance(size, int)) if shape is not None else 0
