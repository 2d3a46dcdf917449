"""TuningResult methods with light settings, networks for them, and runs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import PREPROCESSING, Floats, request_for
from workers.model_input import Batch
from workers.quantization.methods import tuned_methods
from workers.quantization.prepare import PreparedNetwork, prepare
from workers.quantization.statistics import StatisticsSource
from workers.quantization.tuning.fit import TuningResult, fit
from workers.quantization.tuning.inputs.synthesis import SynthesisSettings
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.distillation import Distillation, DistillationSettings
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks
from workers.training.trainer import Losses

CPU = torch.device("cpu")
CLASSIFIER = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=PREPROCESSING)

_LIGHT: dict[QuantizationMethod, dict[str, Any]] = {
    QuantizationMethod.ZEROQ: {"batch": 16, "iterations": 3, "learning_rate": 0.02},
    QuantizationMethod.GDFQ: {"batch": 16, "latent": 16, "width": 16, "learning_rate": 0.02},
    QuantizationMethod.ZAQ: {
        "batch": 16,
        "latent": 16,
        "width": 16,
        "student_steps": 2,
        "rounds_per_epoch": 2,
        "learning_rate": 0.02,
    },
    QuantizationMethod.FT: {"batch": 16, "distillation": DistillationSettings(batch=16)},
    QuantizationMethod.AUTO: {
        "batch": 16,
        "synthesis": SynthesisSettings(batch=24, iterations=2),
        "distillation": DistillationSettings(batch=16),
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
) -> PreparedNetwork:
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
    return replace(prepared, batches=batches, source=StatisticsSource.CALIBRATION, tuning_inputs=lambda: calibration)


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
class MethodRun:
    """A run and what it left.

    Args:
        tuned: Its result.
        trainer: The method as it stands.
    """

    tuned: TuningResult
    trainer: TuningTrainer

    @property
    def files(self) -> tuple[str, str]:
        """Digests of the ONNX files of the network kept and of the one last trained."""
        return digest(self.tuned.plan), digest(self.trainer.student.plan())


def digest(plan: QuantizationPlan) -> str:
    """Return the SHA-256 of the ONNX file of a plan."""
    return hashlib.sha256(pack_weights(write_qdq(plan)).SerializeToString()).hexdigest()


def begun(
    method: QuantizationMethod, prepared: PreparedNetwork, request: QuantizationRequest
) -> tuple[TuningTrainer, QuantizationPlan]:
    """Return a method before its first step, and the network after rounding alone."""
    settings = light(method)
    settings.check(prepared)
    start = settings.start(prepared, request).plan
    return settings.trainer(TuningSession(prepared, request, CPU), start), start


def run(
    method: QuantizationMethod,
    prepared: PreparedNetwork,
    steps: int,
    callbacks: Callbacks | None = None,
    **fields: object,
) -> MethodRun:
    """Run a method with light settings for so many steps."""
    request = request_for(method=method, **fields)
    trainer, start = begun(method, prepared, request)
    return MethodRun(fit(trainer, start, Budget(steps=steps), callbacks or Callbacks()), trainer)


def take_step(trainer: TuningTrainer, fraction: float) -> Losses:
    """Take a step as the loop does: in the phase it belongs to."""
    trainer.enter_phase(fraction)
    return trainer.step(fraction)


def distillation_step(
    distillation: Distillation, x: Tensor, fraction: float, rate: float, sample: Tensor
) -> dict[str, Tensor]:
    """Take a step as trainers do: in the stage it belongs to."""
    distillation.enter_stage(fraction, sample)
    return distillation.step(x, fraction, rate)


def float_network(session: TuningSession) -> dict[str, str]:
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
