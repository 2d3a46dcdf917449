"""Bias correction of DFQ: subtract from the biases the mean shift of outputs that weight quantization causes.

With ε = Ŵ − W a layer's output shifts by E[ε x] = ε E[x] on average, and b ← b − ε E[x] corrects it. *Analytic*
(section 4.2.1): E[x] is known from BatchNorm (for x = ReLU(N(β, γ²)) it is γ φ(−β/γ) + β (1 − Φ(−β/γ))). *Empirical*
(appendix D): the shift is measured on data, layer by layer, with all layers before quantized and corrected.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView, attribute
from workers.host import compute_device
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.calibration import ActivationStatistics, input_channel_means
from workers.quantization.layers import WeightedLayer, layers_with_bias
from workers.quantization.observation import as_tensors
from workers.quantization.simulate import replacements

Array = NDArray[np.floating]

_MAX_BATCH_BYTES = 32 * 2**20


def expected_shift(layer: WeightedLayer, error: Array, means: Array) -> Array:
    """Return ε E[x] for each output channel, [O].

    Args:
        layer: A Conv or Gemm.
        error: ε = Ŵ − W in the layout of its weight.
        means: E[x] of each input channel, [I].
    """
    if layer.node.op_type == "Gemm":
        return np.asarray(error @ means if attribute(layer.node, "transB", 0) else means @ error)
    groups = int(attribute(layer.node, "group", 1))
    taps = error.reshape(*error.shape[:2], -1).sum(axis=2)
    grouped = taps.reshape(groups, -1, taps.shape[1])
    return np.asarray(np.einsum("goi,gi->go", grouped, means.reshape(groups, -1)).reshape(-1))


def analytic(
    model: onnx.ModelProto, weights: Mapping[str, Quantizer], statistics: ActivationStatistics
) -> tuple[onnx.ModelProto, list[str]]:
    """Correct biases with known input means (DFQ, section 4.2.1).

    Returns:
        The model with corrected biases, and the names of layers whose input means are not known per channel.
    """
    view = GraphView(model)
    shifts: dict[str, Array] = {}
    unknown: list[str] = []
    for layer in layers_with_bias(model):
        weight = view.constant(layer.weight)
        if layer.weight not in weights or weight is None:
            continue
        error = weights[layer.weight].fake(weight).astype(np.float64) - weight
        means = input_channel_means(statistics, layer.source, input_channels(layer, weight))
        if means is None:
            unknown.append(layer.node.name)
        else:
            shifts[layer.result] = expected_shift(layer, error, means)
    return subtract_from_biases(model, shifts), unknown


def input_channels(layer: WeightedLayer, weight: Array) -> int:
    """Return the number of input channels of a Conv or Gemm."""
    if layer.node.op_type == "Gemm":
        return int(weight.shape[1 if attribute(layer.node, "transB", 0) else 0])
    return int(weight.shape[1]) * int(attribute(layer.node, "group", 1))


@torch.inference_mode()
def empirical(plan: QuantizationPlan, batches: Sequence[Batch]) -> QuantizationPlan:
    """Correct biases with output means measured on data (DFQ, appendix D).

    One float pass gives the mean of every output channel. In one quantized pass every layer's output is shifted to that
    mean before the next layer, so that each shift is measured with all layers before it quantized and corrected.

    Args:
        plan: The quantized network; it is not changed.
        batches: Inputs; joined into one batch if the batch size is dynamic, else shifts are averaged over batches.
    """
    device = compute_device()
    network = OnnxModule(plan.model).to(device)
    view = GraphView(plan.model)
    layers = [layer for layer in layers_with_bias(plan.model) if layer.weight in plan.weights]
    fake = replacements(plan)
    totals: dict[str, Tensor] = {}
    joined = _joined(batches, view)
    for batch in joined:
        inputs = as_tensors(batch, device)
        outputs = network(inputs, watch=[layer.result for layer in layers], outputs=[])
        targets = {name: _channel_mean(values) for name, values in outputs.items()}
        shifts: dict[str, Tensor] = {}
        correcting = {layer.result: _corrected(layer.result, targets, shifts, fake) for layer in layers}
        network(inputs, replace={**fake, **correcting}, outputs=[], watch=[layer.result for layer in layers])
        for name, shift in shifts.items():
            totals[name] = totals[name] + shift if name in totals else shift
    means = {name: (total / len(joined)).double().cpu().numpy() for name, total in totals.items()}
    return QuantizationPlan(subtract_from_biases(plan.model, means), plan.weights, plan.activations)


def _corrected(
    name: str,
    targets: Mapping[str, Tensor],
    shifts: dict[str, Tensor],
    fake: Mapping[str, Callable[[Tensor], Tensor]],
) -> Callable[[Tensor], Tensor]:
    def correct(x: Tensor) -> Tensor:
        shift = _channel_mean(x) - targets[name]
        shifts[name] = shift
        centred = x - shift.reshape([1, -1] + [1] * (x.ndim - 2))
        return fake[name](centred) if name in fake else centred

    return correct


def _channel_mean(x: Tensor) -> Tensor:
    return x.mean(dim=[i for i in range(x.ndim) if i != 1])


def _joined(batches: Sequence[Batch], view: GraphView) -> list[Batch]:
    """Return one batch of at most 32 MiB if every input has a dynamic batch size; else the batches unchanged."""
    for value in view.graph.input:
        if value.name in view.inputs:
            sizes = value.type.tensor_type.shape.dim
            if len(sizes) and sizes[0].HasField("dim_value"):
                return list(batches)
    chosen: list[Batch] = []
    size = 0
    for batch in batches:
        size += sum(values.nbytes for values in batch.values())
        if chosen and size > _MAX_BATCH_BYTES:
            break
        chosen.append(batch)
    return [{name: np.concatenate([batch[name] for batch in chosen]) for name in chosen[0]}]


def subtract_from_biases(model: onnx.ModelProto, shifts: Mapping[str, Array]) -> onnx.ModelProto:
    """Return the model with shifts, [O] by output tensor, subtracted from the biases of the layers."""
    corrected = onnx.ModelProto()
    corrected.CopyFrom(model)
    view = GraphView(corrected)
    for layer in layers_with_bias(corrected):
        if layer.result not in shifts:
            continue
        old = np.zeros_like(shifts[layer.result]) if layer.bias is None else view.constant(layer.bias)
        new = np.asarray(np.asarray(old, np.float64) - shifts[layer.result], np.float32)
        shared = layer.bias is None or len(view.consumers[layer.bias]) > 1
        if layer.bias is not None and not shared:
            view.replace_initializer(layer.bias, new)
            continue
        name = view.add_initializer(f"{layer.weight}.corrected_bias", new)
        del layer.node.input[2:]
        layer.node.input.append(name)
    return corrected
