"""Inputs made from the float network alone, batch after batch, by gradient on the inputs themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workers.jobs.checkpoints import State
from workers.quantization.tuning.augmentation import augment
from workers.quantization.tuning.batches import batch_of, class_count
from workers.quantization.tuning.inputs import InputSpace
from workers.quantization.tuning.losses import output_divergence
from workers.quantization.tuning.moments import channel_moments
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.scenes import scenes
from workers.quantization.tuning.schedules import cosine, set_rate
from workers.quantization.tuning.session import Session

_TINY = 1e-8
_ALIVE = 0.01


@dataclass(frozen=True)
class Objective:
    """Settings of synthesis.

    Args:
        batch: Inputs made together, for a small network (see `batch_of`); they share the statistics.
        iterations: Adam's steps on each batch.
        rate: How far Adam moves a value per step, in deviations of the input.
        classes: Factor of the divergence from random targets, for a network that classifies.
        carried: How much of an input of the batch before is mixed into the beginning of each.
        disagreement: Factor of the divergence between P and Q, sought where there is nothing else.
        most_bytes: Inputs kept, bytes; beyond, the first are dropped.
    """

    batch: int = 256
    iterations: int = 30
    rate: float = 0.1
    classes: float = 0.03
    disagreement: float = 1.0
    carried: float = 0.5
    most_bytes: int = 2**29


class Synthesis:
    """Batches of inputs, one at a time, each begun from procedural images and fitted to what P expects.

    With BatchNorm statistics: the mean and deviation of every normalized channel are brought to those that P was
    trained with, each in units of that deviation, so that all layers count alike.

    A network that classifies is also asked for random answers: one class, and up to half of another. Inputs that it is
    sure of teach little about where its classes meet, and real ones are not such.

    Where there is neither, procedural images stay as they are, and for other inputs such are sought on which the
    rounded network Q answers otherwise than P. Images sought so teach less than those they began as.

    Args:
        session: Has P.
        adversary: Q, for a network of which nothing is known.
        objective: Settings.
    """

    def __init__(self, session: Session, space: InputSpace, adversary: QuantizedNetwork, objective: Objective) -> None:
        self.session = session
        self.space = space
        self.objective = objective
        self.made: list[Tensor] = []
        self._adversary = adversary
        self._random = session.random("synthesis")
        self._statistics = {
            name: (
                torch.from_numpy(np.asarray(item.beta)).to(session.device),
                torch.from_numpy(np.asarray(item.gamma)).clamp_min(_TINY).to(session.device),
                torch.from_numpy(np.asarray(item.gamma) > _ALIVE * np.median(item.gamma)).to(session.device),
            )
            for name, item in session.prepared.statistics.items()
        }
        self._classes = class_count(session)
        self._adversarial = not (self._statistics or self._classes or space.images)
        self._scale = 1.0 if space.low is None or space.high is None else float((space.high - space.low).mean()) / 4
        self._done = 0
        self._begin()

    @property
    def path(self) -> str:
        """Where the inputs come from, for the report."""
        if self._statistics:
            return "inputs distilled from BatchNorm statistics"
        made = "inputs made for random classes" if self._classes else "procedural images"
        return f"{'adversarial inputs' if self._adversarial else made}, the model holding no BatchNorm statistics"

    @property
    def enough(self) -> bool:
        """Whether as many inputs are kept as may be."""
        return len(self.made) * self._x.nbytes >= self.objective.most_bytes

    def step(self, rate: float) -> dict[str, Tensor]:
        """Take one step on the batch in work; returns its losses.

        Args:
            rate: Factor on the learning rate.
        """
        losses = self._fit(rate) if self._statistics or self._classes or self._adversarial else {}
        self._done += 1
        if self._done >= self.objective.iterations or not losses:
            if self.enough:
                del self.made[0]
            self.made.append(self._x.detach().clone())
            self._begin()
        return losses

    def _fit(self, rate: float) -> dict[str, Tensor]:
        share = 0.05 + 0.95 * cosine(self._done / self.objective.iterations)
        set_rate(self._optimizer, rate * self.objective.rate * self._scale * share)
        x = augment(self._x, self._random, images=self.space.images, mixed=0.0)
        losses = self._losses(self.session.arranged(x))
        total = torch.stack([losses[name] * factor for name, factor in self._factors().items() if name in losses]).sum()
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        self._optimizer.step()
        with torch.no_grad():
            self._x.copy_(self.space.clamp(self._x))
        return {name: value.detach() for name, value in losses.items()}

    def pool(self) -> Tensor:
        """Return all inputs made; the batch in work, as it is, if there is no other."""
        return torch.cat(self.made) if self.made else self._x.detach().clone()

    def _factors(self) -> dict[str, float]:
        return {"statistics": 1.0, "classes": self.objective.classes, "disagreement": -self.objective.disagreement}

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        heads = self.session.heads
        found = self.session.run(self.session.teacher, x, list(self._statistics))
        losses = {}
        if self._statistics:
            losses["statistics"] = self._distance(found)
        if self._adversarial:
            losses["disagreement"] = output_divergence(heads, found, self.session.run(self._adversary, x))
        if self._classes:
            scores = found[str(heads.logits)].float()
            wanted = self._targets(self._classes)
            losses["classes"] = functional.kl_div(scores.log_softmax(-1), wanted, reduction="batchmean")
        return losses

    def _targets(self, classes: int) -> Tensor:
        """Return the probabilities asked for, [N, classes]: 1 − λ for one class and λ for another, λ = u² / 2."""
        first, other = self._labels % classes, 1 + self._others % max(classes - 1, 1)
        rows = torch.arange(len(first), device=first.device)
        wanted = torch.zeros(len(first), classes, device=first.device)
        wanted[rows, first] = 1 - self._shares
        wanted[rows, (first + other) % classes] += self._shares
        return wanted

    def _distance(self, found: dict[str, Tensor]) -> Tensor:
        """Return the mean over channels and layers of ((μ − β) / γ)² + (σ / γ − 1)².

        Channels that are all but constant are passed over: there is nothing in them but rounding.
        """
        parts = []
        for name, (beta, gamma, alive) in self._statistics.items():
            mean, variance = channel_moments(found[name])
            deviation = variance.add(1e-8).sqrt()
            distances = ((mean - beta) / gamma).square() + (deviation / gamma - 1).square()
            parts.append(torch.where(alive, distances, 0.0).sum() / alive.sum().clamp_min(1))
        return torch.stack(parts).mean()

    def _begin(self) -> None:
        """Begin another batch."""
        count = len(self.made[-1]) if self.made else batch_of(self.session, self.objective.batch)
        seed = int(torch.randint(0, 2**31, (), generator=self._random))
        x = beginnings(self.space, count, seed).to(self.session.device)
        if self.made:
            others = torch.randperm(count, generator=self._random).to(x.device)
            carried = augment(self.made[-1][others], self._random, images=self.space.images, mixed=0.0)
            x = (1 - self.objective.carried) * x + self.objective.carried * carried
        self._x = self.session.arranged(x).requires_grad_(True)
        self._labels, self._others = torch.randint(0, 2**31, (2, count), generator=self._random).to(x.device)
        self._shares = torch.rand(count, generator=self._random).square().mul(0.5).to(x.device)
        self._optimizer = self._adam()
        self._done = 0

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam([self._x], lr=self.objective.rate, betas=(0.5, 0.9), fused=True)

    def state(self) -> State:
        """Return everything that later steps depend on."""
        return {
            "made": list(self.made),
            "x": self._x.detach(),
            "labels": self._labels,
            "others": self._others,
            "shares": self._shares,
            "optimizer": self._optimizer.state_dict(),
            "random": self._random.get_state(),
            "done": self._done,
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        device = self.session.device
        self.made = [x.to(device) for x in state["made"]]
        self._x = self.session.arranged(state["x"].clone()).requires_grad_(True)
        self._labels, self._others, self._shares = (state[name].to(device) for name in ("labels", "others", "shares"))
        self._optimizer = self._adam()
        self._optimizer.load_state_dict(state["optimizer"])
        self._random.set_state(state["random"])
        self._done = state["done"]


def beginnings(space: InputSpace, count: int, seed: int) -> Tensor:
    """Return inputs to begin from, [count, …]: procedural images and 1/f noise by halves, N(0, 1) for others.

    Args:
        space: Where inputs lie.
        count: How many.
        seed: Equal seeds give equal inputs.
    """
    if not space.images:
        return space.noise(count, seed).float()
    half = count // 2
    channels, height, width = space.shape
    painted = torch.from_numpy(scenes(count - half, channels, height, width, np.random.default_rng(seed)))
    painted = space.from_unit(painted.to(space.low.device if space.low is not None else "cpu"))
    return torch.cat([painted, space.noise(half, seed).to(painted.device)]) if half else painted
