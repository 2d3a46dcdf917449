"""An estimate of the energy of one inference, from counts of operations and bytes. Not a measurement.

Energies of single operations in 45 nm at 0.9 V are those of Horowitz (ISSCC 2014), as tabled by Han et al. (ICLR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
import onnx

from faceter.contracts.quantizations import Energy
from faceter.graphs.macs import multiply_accumulates
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import channel_clamp_of
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import GraphView
from faceter.graphs.weight_rows import weight_of

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

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_FREE_OPERATORS = frozenset(
    {
        "Clip", "Constant", "DequantizeLinear", "Dropout", "Flatten", "HardSigmoid", "HardSwish", "Identity",
        "LeakyRelu", "PRelu", "QuantizeLinear", "Relu", "Reshape", "Shape", "Sigmoid", "Squeeze", "Tanh", "Unsqueeze",
    }
)  # fmt: skip


def estimate_energy(
    original: onnx.ModelProto, plan: QuantizationPlan, shapes: Mapping[str, Sequence[int]] | None = None
) -> Energy:
    """Estimate the energy of one inference of the float model and of the quantized network of a plan.

    Args:
        shapes: Shapes of the inputs, where the model leaves them open.
    """
    weight_bits = {name: _mean_bits(quantizer) for name, quantizer in plan.weights.items()}
    activation_bits: dict[str, int] = {}
    for site in plan.sites.activations:
        if site.name in plan.activations:
            activation_bits.update(dict.fromkeys((*site.tensors, *site.moved), plan.activations[site.name].bits))
    integer_layers = {
        node.output[0]
        for node in plan.model.graph.node
        if node.op_type in _PRODUCTS and all(name in weight_bits or name in activation_bits for name in node.input[:2])
    }
    return estimate(original, plan.model, weight_bits, activation_bits, integer_layers, shapes)


def estimate(
    original: onnx.ModelProto,
    quantized: onnx.ModelProto,
    weight_bits: Mapping[str, float],
    activation_bits: Mapping[str, int],
    integer_layers: frozenset[str] | set[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Energy:
    """Estimate the energy of one inference before and after quantization.

    Args:
        quantized: The folded float graph that was quantized; the other arguments name its tensors.
        weight_bits: Mean bits of every quantized weight.
        activation_bits: Bits of every quantized activation.
        integer_layers: First outputs of the nodes that compute in integers.
        shapes: Shapes of the inputs, where the model leaves them open.
    """
    before = _joules(original, lambda _: 32.0, lambda _: 32.0, frozenset(), shapes)
    after = _joules(
        quantized,
        lambda name: weight_bits.get(name, 32.0),
        lambda name: float(activation_bits.get(name, 32)),
        integer_layers,
        shapes,
    )
    return Energy(before_joules=before, after_joules=after, assumptions=ASSUMPTIONS)


def _mean_bits(quantizer: Quantizer) -> float:
    return float(quantizer.bits if quantizer.channel_bits is None else np.mean(quantizer.channel_bits))


def _joules(
    model: onnx.ModelProto,
    weight_bits: Callable[[str], float],
    activation_bits: Callable[[str], float],
    integer_layers: frozenset[str] | set[str],
    inputs: Mapping[str, Sequence[int]] | None,
) -> float:
    view, shapes = GraphView(model), infer_shapes(model, batch=1, inputs=inputs)
    picojoules = 0.0
    weights: set[str] = set()
    for node in model.graph.node:
        stored = [name for name in node.input if name and _is_stored(view, name)]
        weights.update(weight_of(view, name) or name for name in stored)
        if stored and node.op_type == "Transpose":
            continue  # of a weight, into ONNX's layout
        if node.op_type in _FREE_OPERATORS or channel_clamp_of(view, node) is not None:
            continue
        output = _after_activation(view, node.output[0])
        activations = [name for name in node.input if name and name not in stored]
        for name in (*activations, output):
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


def _is_stored(view: GraphView, name: str) -> bool:
    """Whether a tensor is a constant, or a weight that is restored from one."""
    return view.constant(name) is not None or weight_of(view, name) is not None


def _after_activation(view: GraphView, name: str) -> str:
    """Return the output of the activation functions after ``name``, which is what is written to memory."""
    reader = view.only_consumer(name)
    while reader is not None and (
        reader.op_type in ("Relu", "Clip", "LeakyRelu", "PRelu") or channel_clamp_of(view, reader) is not None
    ):
        name = reader.output[0]
        reader = view.only_consumer(name)
    return name


def _elements(shapes: Mapping[str, TensorInfo], name: str) -> int:
    shape = shapes[name].shape if name in shapes else None
    return prod(size for size in shape if isinstance(size, int)) if shape is not None else 0
