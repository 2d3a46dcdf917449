"""How far the quantized network Q is from the float network P, for any outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from faceter.contracts.models import ModelMetadata
from faceter.graphs.describe import output_specs
from faceter.graphs.qdq import Sites
from faceter.graphs.view import GraphView
from faceter.vision.metadata import class_output
from workers.quantization.tuning.kernels import dense_like, flat, kernels, shaped, squares

_TINY = 1e-12
_MOVING = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")

Outputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Heads:
    """The outputs that two networks are compared by.

    Args:
        logits: The tensor of class scores before any softmax, [N, K]; None where the network does not classify.
        others: Every other float output, or its parts.
    """

    logits: str | None
    others: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """All of them."""
        return self.others if self.logits is None else (self.logits, *self.others)


def find_heads(model: onnx.ModelProto, metadata: ModelMetadata) -> Heads:
    """Return the outputs to compare, the input of a last softmax in place of its output, and that of an ArgMax too.

    An output that joins others counts by its parts: of a detector's boxes, objectness and class scores in one tensor,
    the largest would hide the others.

    Args:
        model: The canonical float model.
        metadata: What it is for.
    """
    view = GraphView(model)
    names = []
    for spec in output_specs(model):
        maker = view.producer.get(spec.name)
        if spec.dtype.startswith("float"):
            names.append(spec.name)
        elif maker is not None and maker.op_type == "ArgMax":
            names.append(maker.input[0])
    names = list(dict.fromkeys(names))
    chosen = class_output(metadata, output_specs(model)).name
    if not metadata.task.classifies or chosen not in names:
        return Heads(None, _parts(view, names))
    maker = view.producer.get(chosen)
    logits = maker.input[0] if maker is not None and maker.op_type in ("Softmax", "LogSoftmax") else chosen
    return Heads(logits, _parts(view, [name for name in names if name not in (chosen, logits)]))


def _parts(view: GraphView, names: Sequence[str]) -> tuple[str, ...]:
    """Return tensors, each that is a concatenation of computed ones replaced by those."""
    found: list[str] = []
    for name in names:
        source = _moved(view, name)
        maker = view.producer.get(source)
        if maker is not None and maker.op_type == "Concat" and all(part in view.producer for part in maker.input):
            found += _parts(view, maker.input)
        else:
            found.append(name)
    return tuple(dict.fromkeys(found))


def _moved(view: GraphView, name: str) -> str:
    """Return the tensor whose values a tensor holds in another order."""
    while (maker := view.producer.get(name)) is not None and maker.op_type in _MOVING:
        name = maker.input[0]
    return name


def feature_tensors(model: onnx.ModelProto, sites: Sites) -> list[str]:
    """Return the tensors that stand for what the network has worked out at several depths.

    These are the results of residual additions, after their ReLU; where there are none, every activation that enters a
    convolution or matrix product.
    """
    view = GraphView(model)
    sums = []
    for site in sites.activations:
        for name in site.tensors:
            maker = view.producer.get(name)
            if maker is not None and maker.op_type in ("Relu", "Clip"):
                maker = view.producer.get(maker.input[0])
            if maker is not None and maker.op_type == "Add":
                sums.append(name)
    if len(sums) > 1:
        return sums
    return [name for site in sites.activations if site.role == "full" for name in site.tensors]


def kl_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return KL(softmax(P) ‖ softmax(Q)), the mean over the batch.

    Args:
        teacher: Class scores of P, [N, K] (or [N, …, K] with classes last).
        student: Those of Q.
    """
    log_p, log_q = (functional.log_softmax(scores.float(), -1).flatten(0, -2) for scores in (teacher, student))
    return functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean")


def relative_error(teacher: Tensor, student: Tensor) -> Tensor:
    """Return ‖Q − P‖² / ‖P‖² over a whole batch, float32 []."""
    if teacher.requires_grad:
        error, power = squares(student, teacher)
    else:
        error, power = _Squares.apply(student, teacher)  # type: ignore[no-untyped-call]
    count: int = student.numel()
    return (error / count) / (power / count).clamp_min(_TINY)


class _Squares(torch.autograd.Function):
    """Σ (q − p)² with its gradient for q, 2 (q − p), and Σ p², in one pass over memory each way."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        teacher = dense_like(teacher, student)
        ctx.save_for_backward(student, teacher)
        error, power = kernels.squares(flat(student.detach()), flat(teacher))
        ctx.mark_non_differentiable(power)
        return error, power

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        student, teacher = (saved.detach() for saved in ctx.saved_tensors)
        return shaped(kernels.difference(flat(student), flat(teacher), 2 * grads[0]), student), None


def output_divergence(heads: Heads, teacher: Outputs, student: Outputs) -> Tensor:
    """Return the mean over outputs: KL of class scores, relative squared error of others."""
    parts = [relative_error(teacher[name], student[name]) for name in heads.others]
    if heads.logits is not None:
        parts.append(kl_divergence(teacher[heads.logits], student[heads.logits]))
    return torch.stack(parts).mean()


def feature_divergence(tensors: Sequence[str], teacher: Outputs, student: Outputs) -> Tensor:
    """Return the mean over tensors of the relative squared error; 0 where there are none."""
    if not tensors:
        return torch.zeros(())
    return torch.stack([relative_error(teacher[name], student[name]) for name in tensors]).mean()


def agreement(heads: Heads, teacher: Outputs, student: Outputs) -> float:
    """Return the share of equal first classes or, for other outputs, 1 − ‖Q − P‖ / ‖P‖ and not below 0.

    Outputs of Q that are not finite agree in nothing.
    """
    if heads.logits is not None:
        same = teacher[heads.logits].argmax(-1) == student[heads.logits].argmax(-1)
        return float(same.float().mean())
    errors = torch.stack([relative_error(teacher[name], student[name]) for name in heads.others]).sqrt()
    return float((1 - errors.nan_to_num(nan=torch.inf)).clamp_min(0).mean())
