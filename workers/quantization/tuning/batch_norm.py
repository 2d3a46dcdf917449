"""What BatchNorm remembers of the training data, and how far a batch of made inputs is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.batch import with_free_batch
from faceter.graphs.view import GraphView, attribute, is_standard
from workers.network import OnnxModule
from workers.quantization.prepared import Prepared
from workers.quantization.tuning.moments import channel_moments
from workers.quantization.tuning.session import Session

_SMALLEST_VARIANCE = 1e-8


@dataclass(frozen=True)
class BatchNormInput:
    """A tensor that a BatchNormalization takes, and its channels' statistics over the training data.

    Args:
        tensor: The tensor's name in the model with BatchNorm.
        mean: μ of each channel (axis 1), float32 [C].
        variance: σ² of each channel, likewise.
    """

    tensor: str
    mean: Tensor
    variance: Tensor

    def to(self, device: torch.device) -> BatchNormInput:
        """Return the same with its statistics on a device."""
        return BatchNormInput(self.tensor, self.mean.to(device), self.variance.to(device))


def batch_norm_inputs(model: onnx.ModelProto) -> list[BatchNormInput]:
    """Return the inputs of every BatchNormalization with constant statistics, in the graph's order.

    Args:
        model: A model whose BatchNorm is not folded.
    """
    view = GraphView(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or not is_standard(node) or attribute(node, "training_mode", 0):
            continue
        mean, variance = (view.constant(name) for name in node.input[3:5])
        if mean is None or variance is None:
            continue
        parts = (torch.from_numpy(np.array(values, np.float32)) for values in (mean, variance))
        found.append(BatchNormInput(node.input[0], *parts))
    return found


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel (axis 1) over the batch and all places, float32 [C] each."""
    mean, variance = channel_moments(x)
    return mean, (variance + _SMALLEST_VARIANCE).sqrt()


def batch_norm_loss(layers: Sequence[BatchNormInput], found: Mapping[str, Tensor]) -> Tensor:
    """Return Σ_l ‖μ_l(x) − μ_l^BN‖² + ‖σ_l(x) − σ_l^BN‖², ZeroQ's and GDFQ's equation.

    Args:
        layers: The inputs of BatchNorm.
        found: Those tensors for a batch of inputs x, by name, [N, C, …].
    """
    terms = []
    for layer in layers:
        mean, deviation = moments(found[layer.tensor])
        wanted = (layer.variance + _SMALLEST_VARIANCE).sqrt()
        terms.append((mean - layer.mean).square().sum() + (deviation - wanted).square().sum())
    return torch.stack(terms).sum()


def standard_loss(x: Tensor) -> Tensor:
    """Return ‖μ(x)‖² + ‖σ(x) − 1‖²: how far the channels of a batch [N, C, …] are from mean 0 and deviation 1."""
    mean, deviation = moments(x)
    return mean.square().sum() + (deviation - 1.0).square().sum()


def require_batch_norm(prepared: Prepared) -> None:
    """See that a network has BatchNorm to learn of its training data from.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``.
    """
    if not batch_norm_inputs(prepared.original):
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method needs the statistics that BatchNorm keeps of the training data, and the model has no "
            "BatchNormalization (it may have been folded away on export). zaq, auto, ft, rq, dfq and aciq do without.",
            field="method",
        )


class NormalizedNetwork:
    """The float network P with its BatchNorm as it came, and what that remembers.

    Args:
        session: What a method works with.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layers = [layer.to(session.device) for layer in batch_norm_inputs(session.prepared.original)]
        self._network = session.place(OnnxModule(with_free_batch(session.prepared.original)))
        self._network.requires_grad_(False)

    def run(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the heads for inputs x, [N, …], and their :func:`batch_norm_loss`."""
        found = self._session.run(self._network, x, watch=[layer.tensor for layer in self._layers])
        return found, batch_norm_loss(self._layers, found)
