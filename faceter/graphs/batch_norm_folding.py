"""Folding BatchNormalization into the preceding layer."""

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.graphs.view import Array, GraphView, attribute, is_standard, remove_unused


@dataclass(frozen=True)
class BatchNormStatistics:
    """Mean and deviation of a normalized tensor's channels, before any activation function.

    Attributes:
        beta: Mean of each channel, float32 [C]: the normalization's shift β.
        gamma: Deviation of each channel, float32 [C]: the magnitude of its scale γ.
    """

    beta: Array
    gamma: Array


@dataclass(frozen=True)
class FoldedModel:
    """A model after BatchNorm folding.

    Attributes:
        model: The equivalent model.
        statistics: BatchNorm statistics by the name of the normalized tensor, which keeps its name: the output of the
            folded convolution or matrix product, or of a normalization that could not be folded.
    """

    model: onnx.ModelProto
    statistics: dict[str, BatchNormStatistics]


def has_batch_norm(model: onnx.ModelProto) -> bool:
    """Whether the model (in canonical form) has a BatchNormalization with constant statistics."""
    view = GraphView(model)
    return any(_norm_constants(view, node) is not None for node in model.graph.node)


def fold_batch_norms(model: onnx.ModelProto) -> FoldedModel:
    """Fold each BatchNormalization into the Conv, ConvTranspose or Gemm before it, if it is the only reader.

    W' = W · γ / √(σ² + ε) and b' = (b − μ) · γ / √(σ² + ε) + β, computed in float64. The model is not changed.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    view = GraphView(folded)
    statistics: dict[str, BatchNormStatistics] = {}
    for norm in list(folded.graph.node):
        constants = _norm_constants(view, norm)
        if constants is None:
            continue
        gamma, beta, mean, variance = constants
        statistics[norm.output[0]] = BatchNormStatistics(beta.astype(np.float32), np.abs(gamma).astype(np.float32))
        layer = view.producer.get(norm.input[0])
        reader = view.only_consumer(norm.input[0])
        if layer is None or reader is None or reader is not norm:
            continue
        factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        if _scale_layer(view, layer, factor, beta - mean * factor):
            layer.output[0] = norm.output[0]
            folded.graph.node.remove(norm)
    remove_unused(folded.graph)
    return FoldedModel(folded, statistics)


def _norm_constants(view: GraphView, node: onnx.NodeProto) -> list[Array] | None:
    """Return γ, β, μ and σ² of a BatchNormalization, float64; None for another node or if one is not constant."""
    if node.op_type != "BatchNormalization" or not is_standard(node) or attribute(node, "training_mode", 0):
        return None
    constants = [value for name in node.input[1:5] if (value := view.constant(name)) is not None]
    return [np.asarray(value, np.float64) for value in constants] if len(constants) == 4 else None


def _scale_layer(view: GraphView, layer: onnx.NodeProto, factor: Array, shift: Array) -> bool:
    """Scale a layer's output channels by ``factor`` and add ``shift``; return False if that is not possible."""
    if not is_standard(layer) or layer.op_type not in ("Conv", "ConvTranspose", "Gemm"):
        return False
    weight = view.constant(layer.input[1])
    has_bias = len(layer.input) > 2 and bool(layer.input[2])
    bias = view.constant(layer.input[2]) if has_bias else np.zeros(len(factor))
    if weight is None or bias is None:
        return False
    if layer.op_type == "Gemm":
        if attribute(layer, "alpha", 1.0) != 1.0 or attribute(layer, "beta", 1.0) != 1.0:
            return False
        scaled = weight * (factor[:, None] if attribute(layer, "transB", 0) else factor)
        bias = np.broadcast_to(bias, (*bias.shape[:-1], len(factor)))
    elif layer.op_type == "ConvTranspose":
        groups = attribute(layer, "group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).astype(np.float64)
        per_group = factor.reshape(groups, 1, -1, *[1] * (weight.ndim - 2))
        scaled = (split * per_group).reshape(weight.shape)
    else:
        scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    dtype = weight.dtype
    layer.input[1] = _store(view, layer, layer.input[1], scaled.astype(dtype))
    shifted = (bias * factor + shift).astype(dtype)
    if has_bias:
        layer.input[2] = _store(view, layer, layer.input[2], shifted)
    else:
        del layer.input[2:]
        layer.input.append(view.add_initializer(f"{layer.input[1]}.bias", shifted))
    return True


def _store(view: GraphView, layer: onnx.NodeProto, name: str, value: Array) -> str:
    """Store a layer's new constant and return its name: in place if only this layer reads it, else a new one."""
    shared = any(reader is not layer for reader in view.consumers.get(name, [])) or list(layer.input).count(name) > 1
    if view.is_initializer(name) and not shared:
        view.replace_initializer(name, value)
        return name
    return view.add_initializer(f"{name}.folded", value)
