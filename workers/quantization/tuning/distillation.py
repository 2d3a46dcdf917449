"""Tuning by distillation, stage by stage: what `auto` and `ft` have in common, whatever inputs they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor

from faceter.graphs.qdq import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from workers.jobs.checkpoints import State
from workers.quantization.affine import activation_quantizer
from workers.quantization.tuning.ladder import Stage, stages
from workers.quantization.tuning.losses import feature_divergence, output_divergence
from workers.quantization.tuning.matching import match_moments
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.rounding import activation_quantizers, rounded
from workers.quantization.tuning.schedules import cosine
from workers.quantization.tuning.session import Session

_SMALLEST = 1e-3


@dataclass(frozen=True)
class Recipe:
    """Settings of distillation. Rates are relative, so that they go for any network.

    Args:
        value_rate: How far Adam moves a weight per step, in quantization steps of its layer; biases in their own size.
        step_rate: How far it moves a quantization step, in its own size.
        features: Factor of the divergence inside the network beside that of its outputs.
        last: The share of the last stage, where there are several.
        warm: The share of a stage in which rates rise.
        floor: What rates fall to at its end, as a share.
        from_start: Whether it begins with the weights of the rounded network that it is given, and not the float ones.
        batch: Inputs per step that the rates are meant for. With fewer, of a large network, gradients are noisier, and
            rates fall with the root of their number (Malladi et al., NeurIPS 2022, arXiv 2205.10287, section 4).
    """

    value_rate: float = 0.015
    step_rate: float = 0.003
    features: float = 1.0
    last: float = 0.5
    warm: float = 0.03
    floor: float = 0.0
    from_start: bool = False
    batch: int = 128


class Distillation:
    """The student going down the stages.

    Args:
        session: Has the float network.
        start: The network after rounding alone, at the bits asked for; its weights may have bits of their own.
        recipe: Settings.
    """

    def __init__(self, session: Session, start: QuantizationPlan, recipe: Recipe) -> None:
        self.session = session
        self.recipe = recipe
        self._start = start
        self._bits = {name: quantizer.bits for name, quantizer in start.weights.items()}
        self._stages = stages(
            min(self._bits.values()),
            session.request.activation_bits,
            last=recipe.last,
            mixed=len(set(self._bits.values())) > 1,
        )
        self._index = -1
        self.student = session.student(start, learned_steps=True)
        self._optimizer = self._adam()

    @property
    def stage(self) -> Stage:
        """The stage it is in."""
        return self._stages[max(self._index, 0)]

    @property
    def ready(self) -> bool:
        """Whether the student has the bits asked for."""
        return self._index == len(self._stages) - 1

    def turn(self, fraction: float, sample: Tensor) -> None:
        """Enter the stage that a step belongs to, if that is another.

        Args:
            fraction: The share of the tuning that is done.
            sample: Inputs to measure activations on where a stage begins.
        """
        while self._index < 0 or (not self.ready and fraction >= self.stage.end):
            self._enter(self._index + 1, sample)

    def step(self, x: Tensor, fraction: float, rate: float) -> dict[str, Tensor]:
        """Take one step on a batch, in the stage it is in.

        Args:
            x: Inputs, [N, …], arranged.
            fraction: The share of the tuning that is done; :meth:`turn` was told the same.
            rate: Factor on every learning rate.

        Returns:
            The losses by name.
        """
        self._schedule(self.stage.within(fraction), rate * min(1.0, len(x) / self.recipe.batch) ** 0.5)
        self._optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in torch.split(x, self.session.most):
            losses = self._losses(part)
            share = len(part) / len(x)
            torch.autograd.backward(share * (losses["outputs"] + self.recipe.features * losses["features"]))
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros(())) + share * value.detach()
        self._optimizer.step()
        return sums

    def conclude(self, sample: Tensor) -> None:
        """Round the student to the bits asked for, whatever stage it is in; nothing if no step was taken.

        Args:
            sample: Inputs to measure activations on.
        """
        if self._index >= 0 and not self.ready:
            self._enter(len(self._stages) - 1, sample)

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        heads, features = self.session.heads, self.session.features
        wanted = self.session.ask_teacher(x, features)
        given = self.session.run(self.student, x, features)
        return {
            "outputs": output_divergence(heads, wanted, given),
            "features": feature_divergence(features, wanted, given),
        }

    def state(self) -> State:
        """Return everything that later steps depend on."""
        return {
            "index": self._index,
            "student": self.student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self._index = state["index"]
        self.student = self._student(self._skeleton())
        self.student.load_state_dict(state["student"])
        self._optimizer = self._adam()
        self._optimizer.load_state_dict(state["optimizer"])

    def _enter(self, index: int, sample: Tensor) -> None:
        """Begin a stage from the student as it stands."""
        begun = self._index >= 0 or self.recipe.from_start
        model = self.student.model() if begun else self.session.prepared.model
        self._index = index
        found = activation_quantizers(self.session, sample, self.stage.activation_bits)
        self.student = self._student(self._rounded(model, found))
        match_moments(self.session, self.student, sample)
        self._optimizer = self._adam()

    def _rounded(self, model: onnx.ModelProto, found: Mapping[str, Quantizer]) -> QuantizationPlan:
        """Return a network of the stage's bits, with the quantizers found for activations that have them."""
        quantizers = {
            site.name: found[site.name] if site.role == "full" else self._start.activations[site.name]
            for site in self.session.sites.activations
        }
        bits = {name: max(self.stage.weight_bits, count) for name, count in self._bits.items()}
        return rounded(model, self.session.sites, quantizers, bits, self.session.request.weight_granularity)

    def _skeleton(self) -> QuantizationPlan:
        """Return a network of the stage's bits with whatever values, for others to be loaded into."""
        if self._index < 0:
            return self._start
        bits = self.stage.activation_bits
        whatever = {
            site.name: activation_quantizer(0.0, 1.0, site.bits(bits)) for site in self._start.sites.activations
        }
        return self._rounded(self._start.model if self.recipe.from_start else self.session.prepared.model, whatever)

    def _student(self, plan: QuantizationPlan) -> QuantizedNetwork:
        return self.session.student(plan, learned_steps=True)

    def _adam(self) -> torch.optim.Adam:
        weights = self.student.weight_quantizers_by_name()
        groups = []
        for name, value in self.student.network.trainable().items():
            quantizer = weights.get(name)
            if quantizer is None:
                rate = self.recipe.value_rate * max(float(value.detach().abs().mean()), _SMALLEST)
            else:
                rate = self.recipe.value_rate * float(quantizer.step.detach().mean())
            groups.append({"params": [value], "lr": rate, "rate": rate})
        for step in (*self.student.weight_steps(), *self.student.activation_steps()):
            rate = self.recipe.step_rate * float(step.detach().mean())
            groups.append({"params": [step], "lr": rate, "rate": rate})
        return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)

    def _schedule(self, done: float, rate: float) -> None:
        """Set the rates: up in a line, then down in half a cosine."""
        warm = self.recipe.warm
        share = (done + 0.1 * warm) / (1.1 * warm) if done < warm else cosine((done - warm) / (1 - warm))
        share = self.recipe.floor + (1 - self.recipe.floor) * share
        for group in self._optimizer.param_groups:
            group["lr"] = group["rate"] * share * rate
