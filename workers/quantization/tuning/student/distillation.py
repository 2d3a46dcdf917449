"""Quantization-aware distillation along a bit-width schedule, used by `auto` and `ft`.

References:
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import onnx
import torch
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from workers.jobs.checkpoints import State
from workers.quantization.affine import activation_quantizer
from workers.quantization.tuning.schedules import cosine_decay
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.bit_schedule import BitStage, bit_schedule
from workers.quantization.tuning.student.losses import feature_divergence, output_divergence
from workers.quantization.tuning.student.moment_matching import match_channel_moments
from workers.quantization.tuning.student.mse_quantizers import mse_activation_quantizers, mse_rounded_plan
from workers.quantization.tuning.student.network import QuantizedNetwork

_MIN_BIAS_SIZE = 1e-3


@dataclass(frozen=True)
class DistillationSettings:
    """Settings of distillation. Learning rates are relative to the scales of the network.

    Args:
        weight_learning_rate: Adam's learning rate of a weight, in quantization steps of its layer; of a bias, in its
            mean magnitude.
        step_learning_rate: Adam's learning rate of a quantization step, in that step.
        feature_weight: Weight of the feature divergence in the loss.
        last_stage_share: Fraction of the tuning for the last stage, where there are several.
        warm_up: Fraction of a stage with a linear warm-up.
        final_factor: Factor on the learning rates at the end of a stage.
        from_start: Whether to begin with the weights of the rounded network, not the float ones.
        batch: Batch size that the learning rates are meant for. With smaller batches they are scaled by the square root
            of the ratio (Malladi et al., NeurIPS 2022, arXiv 2205.10287, section 4).
    """

    weight_learning_rate: float = 0.015
    step_learning_rate: float = 0.003
    feature_weight: float = 1.0
    last_stage_share: float = 0.5
    warm_up: float = 0.03
    final_factor: float = 0.0
    from_start: bool = False
    batch: int = 128


class Distillation:
    """Distillation of a student along the stages of a bit-width schedule.

    Attributes:
        student: The quantized network of the current stage; another object in each stage.

    Args:
        start: The rounded network with the target bits, possibly of mixed precision.
    """

    def __init__(self, session: TuningSession, start: QuantizationPlan, settings: DistillationSettings) -> None:
        self.session = session
        self.settings = settings
        self._start = start
        self._bits = {name: quantizer.bits for name, quantizer in start.weights.items()}
        self._stages = bit_schedule(
            min(self._bits.values()),
            session.request.activation_bits,
            last_share=settings.last_stage_share,
            mixed=len(set(self._bits.values())) > 1,
        )
        self._index = -1
        self.student = session.student(start, learned_steps=True)
        self._optimizer = self._adam()

    @property
    def stage(self) -> BitStage:
        """The current stage."""
        return self._stages[max(self._index, 0)]

    @property
    def ready(self) -> bool:
        """Whether the student has the target bits."""
        return self._index == len(self._stages) - 1

    def enter_stage(self, fraction: float, sample: Tensor) -> None:
        """Enter the stage that the next step belongs to.

        Args:
            fraction: Fraction of the tuning that is done.
            sample: Inputs to measure activations on at the beginning of a stage, [N, …].
        """
        while self._index < 0 or (not self.ready and fraction >= self.stage.end):
            self._enter(self._index + 1, sample)

    def step(self, x: Tensor, fraction: float, rate_factor: float) -> dict[str, Tensor]:
        """Take one optimizer step on a batch and return the losses by name.

        Args:
            x: Inputs, [N, …], on the device.
            fraction: Fraction of the tuning that is done, as given to :meth:`enter_stage`.
            rate_factor: Factor on every learning rate.
        """
        self._set_learning_rates(
            self.stage.progress(fraction), rate_factor * min(1.0, len(x) / self.settings.batch) ** 0.5
        )
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for chunk in self._chunks(x):
            losses = self._losses(chunk)
            share = len(chunk) / len(x)
            torch.autograd.backward(share * (losses["outputs"] + self.settings.feature_weight * losses["features"]))
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros(())) + share * value.detach()
        replicas = self.session.replicas
        replicas.sum_gradients(value for group in self._optimizer.param_groups for value in group["params"])
        self._optimizer.step()
        return replicas.sum_losses(sums, 1.0)

    def finalize(self, sample: Tensor) -> None:
        """Enter the last stage, so that the student has the target bits; do nothing if no step was taken.

        Args:
            sample: Inputs to measure activations on, [N, …].
        """
        if self._index >= 0 and not self.ready:
            self._enter(len(self._stages) - 1, sample)

    def _chunks(self, x: Tensor) -> Sequence[Tensor]:
        """Return this replica's share of a batch in parts that memory allows to train on; all have as many parts."""
        replicas = self.session.replicas
        if replicas.count == 1:
            return torch.split(x, self.session.max_batch)
        smallest, largest = len(x) // replicas.count, -(-len(x) // replicas.count)
        return torch.tensor_split(x[replicas.share(len(x))], min(smallest, -(-largest // self.session.max_batch)))

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        """Return the losses of a part of a batch; their mean over all replicas is that of their parts together."""
        heads, features = self.session.heads, self.session.features
        mean = partial(self.session.replicas.mean, samples=len(x))
        teacher = self.session.teacher_outputs(x, features)
        student = self.session.run(self.student, x, features)
        return {
            "outputs": output_divergence(heads, teacher, student, mean),
            "features": feature_divergence(features, teacher, student, mean),
        }

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {
            "index": self._index,
            "student": self.student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        self._index = state["index"]
        self.student = self._student(self._skeleton())
        self.student.load_state_dict(state["student"])
        self._optimizer = self._adam()
        self._optimizer.load_state_dict(state["optimizer"])

    def _enter(self, index: int, sample: Tensor) -> None:
        """Begin a stage from the current student."""
        begun = self._index >= 0 or self.settings.from_start
        model = self.student.model() if begun else self.session.prepared.model
        self._index = index
        activations = mse_activation_quantizers(self.session, sample, self.stage.activation_bits)
        self.student = self._student(self._rounded(model, activations))
        match_channel_moments(self.session, self.student, sample)
        self.session.replicas.align(self.student.state_dict().values())
        self._optimizer = self._adam()

    def _rounded(self, model: onnx.ModelProto, activations: Mapping[str, Quantizer]) -> QuantizationPlan:
        """Return a plan with the stage's bits; activations of a fixed width keep their initial quantizers."""
        quantizers = {
            site.name: activations[site.name] if site.role == "full" else self._start.activations[site.name]
            for site in self.session.sites.activations
        }
        bits = {name: max(self.stage.weight_bits, count) for name, count in self._bits.items()}
        return mse_rounded_plan(model, self.session.sites, quantizers, bits, self.session.request.weight_granularity)

    def _skeleton(self) -> QuantizationPlan:
        """Return a plan with the stage's bits and placeholder ranges, to load a state into."""
        if self._index < 0:
            return self._start
        bits = self.stage.activation_bits
        placeholders = {
            site.name: activation_quantizer(0.0, 1.0, site.bits(bits)) for site in self._start.sites.activations
        }
        return self._rounded(
            self._start.model if self.settings.from_start else self.session.prepared.model, placeholders
        )

    def _student(self, plan: QuantizationPlan) -> QuantizedNetwork:
        return self.session.student(plan, learned_steps=True)

    def _adam(self) -> torch.optim.Adam:
        weights = self.student.weight_quantizers_by_name()
        groups = []
        for name, value in self.student.network.trainable().items():
            quantizer = weights.get(name)
            if quantizer is None:
                rate = self.settings.weight_learning_rate * max(float(value.detach().abs().mean()), _MIN_BIAS_SIZE)
            else:
                rate = self.settings.weight_learning_rate * float(quantizer.step.detach().mean())
            groups.append({"params": [value], "lr": rate, "initial_lr": rate})
        for step in (*self.student.weight_steps(), *self.student.activation_steps()):
            rate = self.settings.step_learning_rate * float(step.detach().mean())
            groups.append({"params": [step], "lr": rate, "initial_lr": rate})
        return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)

    def _set_learning_rates(self, progress: float, rate_factor: float) -> None:
        """Set the learning rates at a fraction of the stage: linear warm-up, then cosine decay."""
        warm_up, final = self.settings.warm_up, self.settings.final_factor
        if progress < warm_up:
            schedule = (progress + 0.1 * warm_up) / (1.1 * warm_up)
        else:
            schedule = cosine_decay((progress - warm_up) / (1 - warm_up))
        schedule = final + (1 - final) * schedule
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * schedule * rate_factor
