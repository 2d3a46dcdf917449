"""The BatchNorm-statistics loss of ZeroQ and GDFQ: distance of a batch's statistics from the running ones.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281 (distilled data).
    Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, arXiv 2003.03603 (L_BNS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.dynamic_batch import with_dynamic_batch
from faceter.graphs.view import GraphView, attribute, is_standard
from workers.onnx_module import OnnxModule
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.channel_moments import channel_moments
from workers.quantization.tuning.session import TuningSession

_SMALLEST_VARIANCE = 1e-8


@dataclass(frozen=True)
class BatchNormInput:
    """The input tensor of a BatchNormalization and its running statistics.

    Args:
        tensor: The tensor's name in the model with BatchNorm.
        mean: Running mean μ of each channel (axis 1), float32 [C].
        variance: Running variance σ² of each channel, float32 [C].
    """

    tensor: str
    mean: Tensor
    variance: Tensor

    def to(self, device: torch.device) -> BatchNormInput:
        """Return a copy with its statistics on a device."""
        return BatchNormInput(self.tensor, self.mean.to(device), self.variance.to(device))


def batch_norm_inputs(model: onnx.ModelProto) -> list[BatchNormInput]:
    """Return the inputs of every BatchNormalization with constant statistics, in graph order.

    Args:
        model: A model whose BatchNorm is not folded.
    """
    view = GraphView(model)
    layers = []
    for node in model.graph.node:
        if node.op_type != "BatchNormalization" or not is_standard(node) or attribute(node, "training_mode", 0):
            continue
        mean, variance = (view.constant(name) for name in node.input[3:5])
        if mean is None or variance is None:
            continue
        statistics = (torch.from_numpy(np.array(values, np.float32)) for values in (mean, variance))
        layers.append(BatchNormInput(node.input[0], *statistics))
    return layers


def mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel (axis 1) over all other axes, float32 [C] each."""
    mean, variance = channel_moments(x)
    return mean, (variance + _SMALLEST_VARIANCE).sqrt()


def batch_norm_loss(layers: Sequence[BatchNormInput], tensors: Mapping[str, Tensor]) -> Tensor:
    """Return Σ_l ‖μ_l(x) − μ_l^BN‖² + ‖σ_l(x) − σ_l^BN‖² (ZeroQ's distilled-data objective, GDFQ's L_BNS).

    Args:
        tensors: The inputs of all BatchNormalizations for a batch x, by name, [N, C, …].
    """
    terms = []
    for layer in layers:
        mean, deviation = mean_and_deviation(tensors[layer.tensor])
        running_deviation = (layer.variance + _SMALLEST_VARIANCE).sqrt()
        terms.append((mean - layer.mean).square().sum() + (deviation - running_deviation).square().sum())
    return torch.stack(terms).sum()


def input_moment_loss(x: Tensor) -> Tensor:
    """Return ‖μ(x)‖² + ‖σ(x) − 1‖²: ZeroQ's term for the input [N, C, …] itself, with mean 0 and deviation 1."""
    mean, deviation = mean_and_deviation(x)
    return mean.square().sum() + (deviation - 1.0).square().sum()


def require_batch_norm(prepared: PreparedNetwork) -> None:
    """Check that a network has BatchNormalization with constant statistics.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``.
    """
    if not batch_norm_inputs(prepared.original):
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method needs BatchNorm statistics, and the model has no BatchNormalization (it may have been folded "
            "on export). zaq, auto, ft, rq, dfq and aciq do not need them.",
            field="method",
        )


class BatchNormTeacher:
    """The float network P before BatchNorm folding, with the running statistics of its BatchNorm."""

    def __init__(self, session: TuningSession) -> None:
        self._session = session
        self._layers = [layer.to(session.device) for layer in batch_norm_inputs(session.prepared.original)]
        self._network = session.place(OnnxModule(with_dynamic_batch(session.prepared.original)))
        self._network.requires_grad_(False)

    def run(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the heads and BatchNorm inputs by name for inputs x, [N, …], and their :func:`batch_norm_loss`."""
        tensors = self._session.run(self._network, x, watch=[layer.tensor for layer in self._layers])
        return tensors, batch_norm_loss(self._layers, tensors)
