"""CycleGAN: two translators of unpaired images, each the other's inverse.

References:
    Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
    2017, arXiv 1703.10593.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.jobs.checkpoints import State
from workers.translation.acceleration import Accelerator
from workers.translation.batches import Batches
from workers.translation.image_pool import ImagePool
from workers.translation.losses import halved, l1, least_squares
from workers.translation.trainer import Direction, Generator, Settings, Trainer, count_parameters, random_source


@dataclass(frozen=True, kw_only=True)
class CycleGanSettings(Settings):
    """Settings of CycleGAN.

    Args:
        cycle_weight: λ, weight of the cycle loss.
        identity: Weight of the identity loss, times λ; 0 leaves it and its passes out.
        pool: Earlier translations that a discriminator may be shown.
    """

    cycle_weight: float = 10.0
    identity: float = 0.5
    pool: int = 50


class CycleGan(Trainer):
    """CycleGAN at work.

    Generators take one step together, discriminators another, in that order. Passes through the same network are made
    as one batch: translation and identity, real images and made ones; instance norm keeps samples apart, so that
    changes nothing.

    Losses of a step, unweighted: ``G_a2b`` and ``G_b2a``, (D(G(x)) − 1)²; ``cycle_a``, ‖G_b2a(G_a2b(a)) − a‖₁ and
    ``cycle_b``; ``identity_a``, ‖G_b2a(a) − a‖₁ and ``identity_b``; ``D_a`` and ``D_b``,
    ½ [(D(real) − 1)² + D(made)²].

    Args:
        settings: What it is told.
        data: Unpaired images.
        accelerator: How to run networks on this host.
    """

    def __init__(self, settings: CycleGanSettings, data: Batches, accelerator: Accelerator) -> None:
        super().__init__(settings, data, accelerator)
        self.settings = settings
        self._a2b = self._new("a2b", settings.new_generator())
        self._b2a = self._new("b2a", settings.new_generator())
        self._judge_a = self._new("D_a", settings.new_discriminator(3))
        self._judge_b = self._new("D_b", settings.new_discriminator(3))
        self._generating = self._adam("generators", [self._a2b, self._b2a])
        self._judging = self._adam("discriminators", [self._judge_a, self._judge_b])
        self._pools = {
            name: ImagePool(settings.pool, random_source(settings.seed, f"pool {name}")) for name in ("a", "b")
        }
        accelerator.prepare([self._a2b, self._b2a], self._try_out)

    def step(self, share_done: float) -> Mapping[str, Tensor]:
        """Take one step; see :meth:`Trainer.step`."""
        real_a, real_b = self._begin(share_done)
        with self._dropping():
            losses, made_a, made_b = self.generate(real_a, real_b)
            self._generating.step()
            shown_a, shown_b = self._pools["a"].query(made_a), self._pools["b"].query(made_b)
            losses |= self.judge(real_a, shown_a, real_b, shown_b)
            self._judging.step()
        return losses

    def generate(self, real_a: Tensor, real_b: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Work out the generators' losses and gradients.

        Args:
            real_a: Images of A, [N, 3, H, W] in [−1, 1].
            real_b: Images of B, likewise.

        Returns:
            The losses, and the translations into A and into B, without gradients.
        """
        settings, run = self.settings, self.accelerator.run
        count = len(real_a)
        same = settings.identity > 0
        self._frozen(True)
        with self.accelerator.autocast():
            made = run(self._a2b, real_a, *([real_b] if same else []))
            made_b, same_b = made[:count], made[count:]
            made = run(self._b2a, real_b, *([real_a] if same else []))
            made_a, same_a = made[:count], made[count:]
            back_a, back_b = run(self._b2a, made_b), run(self._a2b, made_a)
            scores_b = run(self._judge_b, made_b)
            scores_a = run(self._judge_a, made_a)
        losses = {
            "G_a2b": least_squares(scores_b, real=True),
            "G_b2a": least_squares(scores_a, real=True),
            "cycle_a": l1(back_a, real_a),
            "cycle_b": l1(back_b, real_b),
        }
        total = losses["G_a2b"] + losses["G_b2a"] + settings.cycle_weight * (losses["cycle_a"] + losses["cycle_b"])
        if same:
            losses |= {"identity_a": l1(same_a, real_a), "identity_b": l1(same_b, real_b)}
            weight = settings.identity * settings.cycle_weight
            total = total + weight * (losses["identity_a"] + losses["identity_b"])
        self._generating.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        self._frozen(False)
        return _detached(losses), made_a.detach(), made_b.detach()

    def judge(self, real_a: Tensor, shown_a: Tensor, real_b: Tensor, shown_b: Tensor) -> dict[str, Tensor]:
        """Work out the discriminators' losses and gradients.

        Args:
            real_a: Images of A, [N, 3, H, W] in [−1, 1].
            shown_a: Translations into A, likewise, without gradients.
            real_b: Images of B.
            shown_b: Translations into B.
        """
        count = len(real_a)
        with self.accelerator.autocast():
            scores_a = self.accelerator.run(self._judge_a, real_a, shown_a)
            scores_b = self.accelerator.run(self._judge_b, real_b, shown_b)
        losses = {
            name: halved(least_squares(scores[:count], real=True), least_squares(scores[count:], real=False))
            for name, scores in (("D_a", scores_a), ("D_b", scores_b))
        }
        self._judging.zero_grad(set_to_none=True)
        torch.autograd.backward(losses["D_a"] + losses["D_b"])
        return _detached(losses)

    def generators(self) -> dict[Direction, Generator]:
        """Return both generators; see :meth:`Trainer.generators`."""
        return {"a2b": self._a2b, "b2a": self._b2a}

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers each generator and each discriminator has."""
        return {"generator": count_parameters(self._a2b), "discriminator": count_parameters(self._judge_a)}

    def state(self) -> State:
        """Return everything that a later step depends on; see :meth:`Trainer.state`."""
        return {**super().state(), "pools": {name: pool.state() for name, pool in self._pools.items()}}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        super().restore(state)
        for name, pool in self._pools.items():
            pool.restore(state["pools"][name], self.accelerator.device)

    def _frozen(self, frozen: bool) -> None:
        """Leave gradients for the discriminators' weights out of the generators' step, or not."""
        for network in (self._judge_a, self._judge_b):
            network.requires_grad_(not frozen)

    def _try_out(self) -> None:
        """Run what a step runs, and leave everything as it was."""
        blank = self._blank()
        with self._dropping(trial=True):
            self.generate(blank, blank)
            self.judge(blank, blank, blank, blank)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)


def _detached(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}
