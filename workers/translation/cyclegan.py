"""CycleGAN: two translators of unpaired images, each the other's inverse.

References:
    Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
    2017, arXiv 1703.10593.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from workers.jobs.checkpoints import State
from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.image_pool import ImagePool
from workers.translation.losses import discriminator_loss, l1, least_squares
from workers.translation.trainer import (
    Direction,
    Generator,
    TranslatorSettings,
    TranslatorTrainer,
    count_parameters,
    random_source,
)


@dataclass(frozen=True, kw_only=True)
class CycleGanSettings(TranslatorSettings):
    """Settings of CycleGAN.

    Args:
        cycle_weight: λ, weight of the cycle loss.
        identity: Weight of the identity loss, times λ; with 0 it is not computed.
        pool: Capacity of the image pools.
    """

    cycle_weight: float = 10.0
    identity: float = 0.5
    pool: int = 50


class CycleGan(TranslatorTrainer):
    """CycleGAN: two generators, two discriminators and an image pool for each.

    Both generators take one step, then both discriminators. Passes through the same network run as one batch
    (translation and identity, real and fake images); since instance norm keeps samples apart, the results are the same.

    Losses of a step, unweighted: ``G_a2b`` and ``G_b2a``, (D(G(x)) − 1)²; ``cycle_a``, ‖G_b2a(G_a2b(a)) − a‖₁ and
    ``cycle_b``; ``identity_a``, ‖G_b2a(a) − a‖₁ and ``identity_b``; ``D_a`` and ``D_b``,
    ½ [(D(real) − 1)² + D(fake)²].

    Args:
        data: Unpaired training images.
        accelerator: Runs the networks.
    """

    def __init__(self, settings: CycleGanSettings, data: BatchLoader, accelerator: Accelerator) -> None:
        super().__init__(settings, data, accelerator)
        self.settings = settings
        self._a2b = self._add_network("a2b", settings.new_generator())
        self._b2a = self._add_network("b2a", settings.new_generator())
        self._discriminator_a = self._add_network("D_a", settings.new_discriminator(3))
        self._discriminator_b = self._add_network("D_b", settings.new_discriminator(3))
        self._generator_optimizer = self._adam("generators", [self._a2b, self._b2a])
        self._discriminator_optimizer = self._adam("discriminators", [self._discriminator_a, self._discriminator_b])
        self._pools = {
            name: ImagePool(settings.pool, random_source(settings.seed, f"pool {name}")) for name in ("a", "b")
        }
        accelerator.prepare([self._a2b, self._b2a], self._run_trial)

    def step(self, fraction: float) -> Mapping[str, Tensor]:
        """Take one step; see :meth:`TranslatorTrainer.step`."""
        real_a, real_b = self._prepare_step(fraction)
        with self._dropout_randomness():
            losses, fake_a, fake_b = self.generator_backward(real_a, real_b)
            self._update(self._generator_optimizer)
            pooled_a, pooled_b = self._exchanged("a", fake_a), self._exchanged("b", fake_b)
            losses |= self.discriminator_backward(real_a, pooled_a, real_b, pooled_b)
            self._update(self._discriminator_optimizer)
        return self._whole(losses)

    def generator_backward(self, real_a: Tensor, real_b: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Compute the generators' losses and gradients.

        Args:
            real_a: Images of A, [N, 3, H, W] in [−1, 1].
            real_b: Images of B, likewise.

        Returns:
            Losses, translations into A and translations into B, without gradients.
        """
        settings, run = self.settings, self.accelerator.run
        count = len(real_a)
        identity = settings.identity > 0
        self._freeze_discriminators(True)
        with self.accelerator.autocast():
            outputs = run(self._a2b, real_a, *([real_b] if identity else []))
            fake_b, same_b = outputs[:count], outputs[count:]
            outputs = run(self._b2a, real_b, *([real_a] if identity else []))
            fake_a, same_a = outputs[:count], outputs[count:]
            cycled_a, cycled_b = run(self._b2a, fake_b), run(self._a2b, fake_a)
            scores_b = run(self._discriminator_b, fake_b)
            scores_a = run(self._discriminator_a, fake_a)
        losses = {
            "G_a2b": least_squares(scores_b, real=True),
            "G_b2a": least_squares(scores_a, real=True),
            "cycle_a": l1(cycled_a, real_a),
            "cycle_b": l1(cycled_b, real_b),
        }
        total = losses["G_a2b"] + losses["G_b2a"] + settings.cycle_weight * (losses["cycle_a"] + losses["cycle_b"])
        if identity:
            losses |= {"identity_a": l1(same_a, real_a), "identity_b": l1(same_b, real_b)}
            weight = settings.identity * settings.cycle_weight
            total = total + weight * (losses["identity_a"] + losses["identity_b"])
        self._generator_optimizer.zero_grad(set_to_none=True)
        self._backward(total)
        self._freeze_discriminators(False)
        return _detached(losses), fake_a.detach(), fake_b.detach()

    def discriminator_backward(
        self, real_a: Tensor, fake_a: Tensor, real_b: Tensor, fake_b: Tensor
    ) -> dict[str, Tensor]:
        """Compute the discriminators' losses and gradients.

        Args:
            real_a: Images of A, [N, 3, H, W] in [−1, 1].
            fake_a: Translations into A, likewise, without gradients.
            real_b: Images of B.
            fake_b: Translations into B.
        """
        count = len(real_a)
        with self.accelerator.autocast():
            scores_a = self.accelerator.run(self._discriminator_a, real_a, fake_a)
            scores_b = self.accelerator.run(self._discriminator_b, real_b, fake_b)
        losses = {
            name: discriminator_loss(
                least_squares(scores[:count], real=True), least_squares(scores[count:], real=False)
            )
            for name, scores in (("D_a", scores_a), ("D_b", scores_b))
        }
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        self._backward(losses["D_a"] + losses["D_b"])
        return _detached(losses)

    def generators(self) -> dict[Direction, Generator]:
        """Return both generators; see :meth:`TranslatorTrainer.generators`."""
        return {"a2b": self._a2b, "b2a": self._b2a}

    @property
    def parameters(self) -> dict[str, int]:
        """Number of parameters of each generator and each discriminator."""
        return {"generator": count_parameters(self._a2b), "discriminator": count_parameters(self._discriminator_a)}

    def state(self) -> State:
        """Return everything that a later step depends on; see :meth:`TranslatorTrainer.state`."""
        return {**super().state(), "pools": {name: pool.state() for name, pool in self._pools.items()}}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        super().restore(state)
        for name, pool in self._pools.items():
            pool.restore(state["pools"][name], self.accelerator.device)

    def _exchanged(self, name: str, fake: Tensor) -> Tensor:
        """Return images of a pool in place of translations. Every replica has the whole pool, so that all are alike."""
        size = self.data.batch_size
        return self._pools[name].query(self.replicas.gathered(fake, size))[self.replicas.share(size)]

    def _freeze_discriminators(self, frozen: bool) -> None:
        """Switch gradients for the discriminators' weights off, for the generators' step, or on again."""
        for network in (self._discriminator_a, self._discriminator_b):
            network.requires_grad_(not frozen)

    def _run_trial(self) -> None:
        """Run the passes of a step, and leave everything unchanged."""
        blank = self._blank_batch()
        with self._dropout_randomness(trial=True):
            self.generator_backward(blank, blank)
            self.discriminator_backward(blank, blank, blank, blank)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)


def _detached(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: loss.detach() for name, loss in losses.items()}
