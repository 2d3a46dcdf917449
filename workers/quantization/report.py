"""The report on a quantized model: what became of every tensor, its size, energy, layers left in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from faceter.contracts.quantizations import Energy, Size, TensorQuantization
from faceter.graphs.packing import weight_bytes
from faceter.graphs.qdq import QuantizationPlan, bias_quantizers, fit_biases
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.shapes import infer
from faceter.graphs.sites import moved_from
from faceter.graphs.view import GraphView, node_name
from workers.host import compute_device
from workers.model_input import Batch
from workers.network import OnnxModule
from workers.quantization.affine import fake_quantize
from workers.quantization.energy import estimate
from workers.quantization.observation import as_tensors

_BIAS_BITS = 32
_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_INTEGER_KERNELS = _PRODUCTS | {"Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"}


def tensor_reports(
    plan: QuantizationPlan, batches: Sequence[Batch], progress: Callable[[float], None] = lambda _: None
) -> list[TensorQuantization]:
    """Describe every quantized tensor: weights, then biases, then activations, each in the order of the graph.

    The signal-to-noise ratio of a weight or bias is exact; that of an activation is measured on ``batches``: the
    values of the float network against the same values after the tensor's own quantizer.

    Args:
        plan: A method's result.
        batches: Inputs.
        progress: Called with the share of the batches done.
    """
    plan = fit_biases(plan)
    view = GraphView(plan.model)
    reports = [
        _describe(
            site.name, "weight", ", ".join(site.layers), plan.weights[site.name], _weight_noise(view, plan, site.name)
        )
        for site in plan.sites.weights
        if site.name in plan.weights
    ]
    reports += _bias_reports(plan, view)
    noise = _activation_noise(plan, batches, progress)
    for site in plan.sites.activations:
        if site.name in plan.activations:
            reports.append(
                _describe(site.name, "activation", site.layer, plan.activations[site.name], noise.get(site.name))
            )
    return reports


def signal_to_noise_db(signal: float, noise: float) -> float | None:
    """Return 10 · log10(signal / noise), both powers; None where either is 0."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _describe(
    name: str, role: Literal["weight", "activation"], layer: str | None, quantizer: Quantizer, noise: float | None
) -> TensorQuantization:
    bits = quantizer.channel_bits
    return TensorQuantization(
        tensor=name,
        role=role,
        layer=layer,
        bits=quantizer.bits,
        scale=np.atleast_1d(quantizer.scale).astype(float).tolist(),
        zero_point=np.atleast_1d(quantizer.zero_point).astype(int).tolist(),
        clip=[quantizer.low, quantizer.high],
        channel_bits=None if bits is None else bits.astype(int).tolist(),
        signal_to_noise_db=noise,
    )


def _weight_noise(view: GraphView, plan: QuantizationPlan, name: str) -> float | None:
    weight = np.asarray(view.constant(name), np.float64)
    error = plan.weights[name].fake(np.asarray(view.constant(name))) - weight
    return signal_to_noise_db(float(np.square(weight).sum()), float(np.square(error).sum()))


def _bias_reports(plan: QuantizationPlan, view: GraphView) -> list[TensorQuantization]:
    reports = []
    for item in bias_quantizers(plan):
        bias = np.asarray(view.constant(item.bias), np.float64)
        error = item.fake(bias) - bias
        scale = np.atleast_1d(item.scale).astype(float)
        limit = float(scale.max()) * 2.0 ** (_BIAS_BITS - 1)
        reports.append(
            TensorQuantization(
                tensor=item.bias,
                role="bias",
                layer=item.layer,
                bits=_BIAS_BITS,
                scale=scale.tolist(),
                zero_point=[0] * scale.size,
                clip=[-limit, limit],
                signal_to_noise_db=signal_to_noise_db(float(np.square(bias).sum()), float(np.square(error).sum())),
            )
        )
    return reports


@torch.inference_mode()
def _activation_noise(
    plan: QuantizationPlan, batches: Sequence[Batch], progress: Callable[[float], None]
) -> dict[str, float | None]:
    device = compute_device()
    network = OnnxModule(plan.model).to(device)
    sites = [site for site in plan.sites.activations if site.name in plan.activations]
    powers: dict[str, NDArray[np.float64]] = {site.name: np.zeros(2) for site in sites}
    for index, batch in enumerate(batches):
        seen = network(as_tensors(batch, device), watch=[name for site in sites for name in site.tensors], outputs=[])
        for site in sites:
            for name in site.tensors:
                values = seen[name]
                error = fake_quantize(values, plan.activations[site.name]) - values
                powers[site.name] += [float(values.double().square().sum()), float(error.double().square().sum())]
        progress((index + 1) / len(batches))
    return {name: signal_to_noise_db(float(signal), float(noise)) for name, (signal, noise) in powers.items()}


def sizes(original: bytes, plan: QuantizationPlan, packed: onnx.ModelProto, served: onnx.ModelProto) -> Size:
    """Return the bytes of the files and of the weights, before and after.

    Args:
        original: The original file.
        plan: A method's result.
        packed: The new file's model.
        served: The same as loaded: weights as 8-bit codes, in the layout served.
    """
    view = GraphView(plan.model)
    return Size(
        before=len(original),
        packed=packed.ByteSize(),
        served=served.ByteSize(),
        weights_before=sum(np.asarray(view.constant(name)).nbytes for name in plan.weights),
        weights_packed=weight_bytes(packed),
    )


def energy(original: onnx.ModelProto, plan: QuantizationPlan) -> Energy:
    """Estimate the energy of one inference before and after; see energy.py."""
    view = GraphView(plan.model)
    weight_bits = {name: _mean_bits(quantizer, view, name) for name, quantizer in plan.weights.items()}
    activation_bits: dict[str, int] = {}
    for site in plan.sites.activations:
        if site.name in plan.activations:
            activation_bits.update(dict.fromkeys((*site.tensors, *site.moved), plan.activations[site.name].bits))
    layers = {
        node.output[0]
        for node in plan.model.graph.node
        if node.op_type in _PRODUCTS and all(name in weight_bits or name in activation_bits for name in node.input[:2])
    }
    return estimate(original, plan.model, weight_bits, activation_bits, layers)


def _mean_bits(quantizer: Quantizer, view: GraphView, name: str) -> float:
    return float(quantizer.bits if quantizer.channel_bits is None else np.mean(quantizer.channel_bits))


def float_layers(plan: QuantizationPlan) -> list[str]:
    """Return the names of the nodes that compute in float once the plan is carried out.

    A node computes in integers if all activations it takes are quantized and what it makes is too, itself or after its
    ReLU or Clip; a matrix product may give float sums of integer products. Nodes that only move values, and activation
    functions that the clamp of the codes does, do not compute.
    """
    view = GraphView(plan.model)
    quantized: set[str] = set(plan.weights)
    for site in plan.sites.activations:
        if site.name in plan.activations:
            quantized.update((*site.tensors, *site.moved))
    found = infer(plan.model)
    makes_float = {name for name, info in found.items() if info.dtype.startswith(("float", "bfloat"))}
    return [
        node_name(node)
        for node in plan.model.graph.node
        if node.output[0] in makes_float and _in_float(view, node, quantized)
    ]


def _in_float(view: GraphView, node: onnx.NodeProto, quantized: set[str]) -> bool:
    if moved_from(view, node):
        return False
    made = node.output[0]
    if made in quantized and node.op_type in ("Relu", "Clip"):
        return False
    weighted = node.op_type in _PRODUCTS
    taken = list(node.input[:2]) if weighted else [name for name in node.input if name and view.constant(name) is None]
    if node.op_type not in _INTEGER_KERNELS or not all(name in quantized for name in taken):
        return True
    if weighted and node.op_type != "Conv":
        return False
    reader = view.only_consumer(made)
    after = reader.output[0] if reader is not None and reader.op_type in ("Relu", "Clip") else made
    return made not in quantized and after not in quantized
