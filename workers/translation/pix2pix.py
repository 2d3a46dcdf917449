"""pix2pix: a translator trained on pairs of images.

References:
    Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, arXiv
    1611.07004.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.losses import cross_entropy, discriminator_loss, l1
from workers.translation.trainer import Direction, Generator, TranslatorSettings, TranslatorTrainer, count_parameters


@dataclass(frozen=True, kw_only=True)
class Pix2PixSettings(TranslatorSettings):
    """Settings of pix2pix.

    Args:
        generator: Architecture of the generator; a U-Net as published.
        l1_weight: Weight of the mean absolute error.
    """

    generator: Literal["resnet", "unet"] = "unet"
    direction: Direction = "a2b"
    l1_weight: float = 100.0


class Pix2Pix(TranslatorTrainer):
    """pix2pix: a generator and a discriminator conditioned on the source image.

    The discriminator takes its step first, then the generator one against the updated discriminator. Real and fake
    pairs run as one batch; since instance norm keeps samples apart, the results are the same.

    Losses of a step, unweighted: ``G_adversarial``, −log D(x, G(x)); ``l1``, ‖G(x) − y‖₁; ``D_real``, −log D(x, y);
    ``D_fake``, −log(1 − D(x, G(x))); the discriminator's is half the sum of the last two.

    Args:
        data: Paired training images.
        accelerator: Runs the networks.
    """

    def __init__(self, settings: Pix2PixSettings, data: BatchLoader, accelerator: Accelerator) -> None:
        super().__init__(settings, data, accelerator)
        self.settings = settings
        self._generator = self._add_network(settings.direction, settings.new_generator())
        self._discriminator = self._add_network("D", settings.new_discriminator(6))
        self._generator_optimizer = self._adam("generators", [self._generator])
        self._discriminator_optimizer = self._adam("discriminators", [self._discriminator])
        accelerator.prepare([self._generator], self._run_trial)

    def step(self, fraction: float) -> Mapping[str, Tensor]:
        """Take one step; see :meth:`TranslatorTrainer.step`."""
        source, target = self._prepare_step(fraction)
        if self.settings.direction == "b2a":
            source, target = target, source
        with self._dropout_randomness():
            fake = self.translate(source)
            losses = self.discriminator_backward(source, target, fake.detach())
            self._update(self._discriminator_optimizer)
            losses |= self.generator_backward(source, target, fake)
            self._update(self._generator_optimizer)
        return self._whole(losses)

    def translate(self, source: Tensor) -> Tensor:
        """Return translations, float32 [N, 3, H, W], with gradients.

        Args:
            source: Images, [N, 3, H, W] in [−1, 1].
        """
        with self.accelerator.autocast():
            return self.accelerator.run(self._generator, source)

    def discriminator_backward(self, source: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Compute the discriminator's losses and gradients.

        Args:
            source: Images, [N, 3, H, W] in [−1, 1].
            target: Their pairs, likewise.
            fake: Their translations, likewise, without gradients.
        """
        pairs = [torch.cat([source, other], 1) for other in (target, fake)]
        with self.accelerator.autocast():
            scores = self.accelerator.run(self._discriminator, *pairs)
        losses = {
            "D_real": cross_entropy(scores[: len(source)], real=True),
            "D_fake": cross_entropy(scores[len(source) :], real=False),
        }
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        self._backward(discriminator_loss(losses["D_real"], losses["D_fake"]))
        return {name: loss.detach() for name, loss in losses.items()}

    def generator_backward(self, source: Tensor, target: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Compute the generator's losses and gradients.

        Args:
            source: Images, [N, 3, H, W] in [−1, 1].
            target: Their pairs, likewise.
            fake: Their translations by :meth:`translate`, with gradients.
        """
        self._discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            scores = self.accelerator.run(self._discriminator, torch.cat([source, fake], 1))
        losses = {"G_adversarial": cross_entropy(scores, real=True), "l1": l1(fake, target)}
        self._generator_optimizer.zero_grad(set_to_none=True)
        self._backward(losses["G_adversarial"] + self.settings.l1_weight * losses["l1"])
        self._discriminator.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def generators(self) -> dict[Direction, Generator]:
        """Return the generator; see :meth:`TranslatorTrainer.generators`."""
        return {self.settings.direction: self._generator}

    @property
    def parameters(self) -> dict[str, int]:
        """Number of parameters of the generator and of the discriminator."""
        return {"generator": count_parameters(self._generator), "discriminator": count_parameters(self._discriminator)}

    def _run_trial(self) -> None:
        """Run the passes of a step, and leave everything unchanged."""
        blank = self._blank_batch()
        with self._dropout_randomness(trial=True):
            fake = self.translate(blank)
            self.discriminator_backward(blank, blank, fake.detach())
            self.generator_backward(blank, blank, fake)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
