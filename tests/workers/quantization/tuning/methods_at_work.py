"""Tuned methods with light settings, networks for them, and runs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.jobs import Training
from faceter.contracts.models import ModelMetadata, Preprocessing, Task
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.graphs.canonical import canonicalize
from faceter.graphs.fold import fold_batch_norms
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import QuantizationPlan, write_qdq
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import PREPROCESSING, Floats, request_for
from workers.model_input import Batch
from workers.quantization.methods import tuned_methods
from workers.quantization.pipeline import prepare
from workers.quantization.prepared import Prepared
from workers.quantization.statistics import Source
from workers.quantization.tuning import loop
from workers.quantization.tuning.distillation import Distillation, Recipe
from workers.quantization.tuning.loop import Hooks, Losses, NoHooks, Trainer, Tuned
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.session import Session
from workers.quantization.tuning.synthesis import Objective
from workers.training.budget import Budget

CPU = torch.device("cpu")
CLASSIFIER = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=PREPROCESSING)

_LIGHT: dict[QuantizationMethod, dict[str, Any]] = {
    QuantizationMethod.ZEROQ: {"batch": 16, "iterations": 3, "rate": 0.02},
    QuantizationMethod.GDFQ: {"batch": 16, "latent": 16, "width": 16, "rate": 0.02},
    QuantizationMethod.ZAQ: {"batch": 16, "latent": 16, "width": 16, "student_steps": 2, "rounds": 2, "rate": 0.02},
    QuantizationMethod.FT: {"batch": 16, "recipe": Recipe(batch=16)},
    QuantizationMethod.AUTO: {
        "batch": 16,
        "objective": Objective(batch=24, iterations=2),
        "recipe": Recipe(batch=16),
    },
}

every_method = list(tuned_methods)


def light(method: QuantizationMethod) -> TunedMethod:
    """Return a method with batches of a few inputs, and rates at which few steps do something."""
    made: Any = tuned_methods[method]
    settings: TunedMethod = replace(made, **_LIGHT[method])
    return settings


def prepared_for(
    model: onnx.ModelProto, metadata: ModelMetadata = CLASSIFIER, calibration: Floats | None = None
) -> Prepared:
    """Return a network ready for a method.

    Args:
        model: The network.
        metadata: What it is for.
        calibration: Inputs of the user's own.
    """
    prepared = prepare(model, metadata, seed=0)
    if calibration is None:
        return prepared
    batches: list[Batch] = [{prepared.inputs[0].name: calibration}]
    return replace(prepared, batches=batches, source=Source.CALIBRATION, tuning_inputs=lambda: calibration)


def without_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same function with BatchNorm folded into convolutions."""
    return fold_batch_norms(canonicalize(model)).model


def signal_network(length: int = 24) -> onnx.ModelProto:
    """Return a network for signals ``x`` [N, 2, length] with BatchNorm, and 4 classes."""
    net = GraphBuilder(["batch", 2, length], seed=3)
    for outputs, inputs in ((8, 2), (12, 8)):
        net.add("Conv", net.last, net.weight(outputs, inputs, 5), net.weight(outputs), pads=[2, 2], strides=[2])
        net.batch_norm(outputs)
        net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(4, 12), net.weight(4), transB=1)
    return net.build()


SIGNALS = ModelMetadata(task=Task.SIGNAL_CLASSIFICATION)
IMAGES = ModelMetadata(preprocessing=Preprocessing(size=[16, 16], mean=[0.5], std=[0.25]))


@dataclass
class Ran:
    """A run and what it left.

    Args:
        tuned: Its result.
        trainer: The method as it stands.
    """

    tuned: Tuned
    trainer: Trainer

    @property
    def files(self) -> tuple[str, str]:
        """Digests of the ONNX files of the network kept and of the one last trained."""
        return digest(self.tuned.plan), digest(self.trainer.student.plan())


def digest(plan: QuantizationPlan) -> str:
    """Return the SHA-256 of the ONNX file of a plan."""
    return hashlib.sha256(pack_weights(write_qdq(plan)).SerializeToString()).hexdigest()


def begun(
    method: QuantizationMethod, prepared: Prepared, request: QuantizationRequest
) -> tuple[Trainer, QuantizationPlan]:
    """Return a method before its first step, and the network after rounding alone."""
    settings = light(method)
    settings.check(prepared)
    start = settings.start(prepared, request).plan
    return settings.trainer(Session(prepared, request, CPU), start), start


def run(
    method: QuantizationMethod,
    prepared: Prepared,
    steps: int,
    hooks: Hooks | None = None,
    **fields: object,
) -> Ran:
    """Run a method with light settings for so many steps."""
    request = request_for(method=method, **fields)
    trainer, start = begun(method, prepared, request)
    return Ran(loop.run(trainer, start, Budget(steps=steps), hooks or NoHooks()), trainer)


def stepped(trainer: Trainer, fraction: float) -> Losses:
    """Take a step as the loop does: in the phase it belongs to."""
    trainer.turn(fraction)
    return trainer.step(fraction)


def distilled(distillation: Distillation, x: Tensor, fraction: float, rate: float, sample: Tensor) -> dict[str, Tensor]:
    """Take a step as trainers do: in the stage it belongs to."""
    distillation.turn(fraction, sample)
    return distillation.step(x, fraction, rate)


class KilledError(Exception):
    """What a worker that is killed raises here."""


class Recording(NoHooks):
    """A job that keeps what it is told, and a checkpoint every few steps.

    Args:
        every: Steps between checkpoints; 0 for none.
        stop_after: Steps after which someone wants the best so far.
        killed_after: Steps after which the worker is killed.
        checkpoint: What an attempt before this one kept.
    """

    def __init__(
        self,
        *,
        every: int = 0,
        stop_after: int | None = None,
        killed_after: int | None = None,
        checkpoint: bytes | None = None,
    ) -> None:
        self.told: list[tuple[float, Training]] = []
        self.checkpoint = checkpoint
        self._every = every
        self._stop_after = stop_after
        self._killed_after = killed_after
        self._steps = 0

    def progress(self, fraction: float, training: Training) -> None:
        self.told.append((fraction, training))
        self._steps += 1

    def stop_requested(self) -> bool:
        if self._steps == self._killed_after:
            raise KilledError
        return self._steps == self._stop_after

    def checkpoint_due(self) -> bool:
        return bool(self._every) and self._steps % self._every == 0

    def save_checkpoint(self, content: bytes) -> None:
        self.checkpoint = content

    def load_checkpoint(self) -> bytes | None:
        return self.checkpoint


def float_network(session: Session) -> dict[str, str]:
    """Return a digest of everything in the float network P, buffers included."""
    values = session.teacher.state_dict()
    return {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in values.items()}


def bits_of(plan: QuantizationPlan) -> Mapping[str, set[int]]:
    """Return the bits of weights, and of activations by the site's role."""
    found: dict[str, set[int]] = {"weights": set()}
    for quantizer in plan.weights.values():
        found["weights"] |= set(np.unique(quantizer.bits if quantizer.channel_bits is None else quantizer.channel_bits))
    for site in plan.sites.activations:
        found.setdefault(site.role, set()).add(plan.activations[site.name].bits)
    return found
