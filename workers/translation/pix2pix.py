"""pix2pix: a translator learned from pairs of images.

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
from workers.translation.batches import Batches
from workers.translation.losses import cross_entropy, halved, l1
from workers.translation.trainer import Direction, Generator, Settings, Trainer, count_parameters


@dataclass(frozen=True, kw_only=True)
class Pix2PixSettings(Settings):
    """Settings of pix2pix.

    Args:
        generator: What the generator looks like, a U-Net as published.
        direction: Which domain is made of which.
        l1_weight: Weight of the mean absolute error.
    """

    generator: Literal["resnet", "unet"] = "unet"
    direction: Direction = "a2b"
    l1_weight: float = 100.0


class Pix2Pix(Trainer):
    """pix2pix at work.

    The discriminator sees an image together with the one it was made of. It takes its step first, then the generator
    one against what it has become. Real and made pairs go through it as one batch; instance norm keeps samples apart,
    so that changes nothing.

    Losses of a step, unweighted: ``G_adversarial``, −log D(x, G(x)); ``l1``, ‖G(x) − y‖₁; ``D_real``, −log D(x, y);
    ``D_fake``, −log(1 − D(x, G(x))); the discriminator's is half the sum of the last two.

    Args:
        settings: What it is told.
        data: Paired images.
        accelerator: How to run networks on this host.
    """

    def __init__(self, settings: Pix2PixSettings, data: Batches, accelerator: Accelerator) -> None:
        super().__init__(settings, data, accelerator)
        self.settings = settings
        self._generator = self._new(settings.direction, settings.new_generator())
        self._judge = self._new("D", settings.new_discriminator(6))
        self._generating = self._adam("generators", [self._generator])
        self._judging = self._adam("discriminators", [self._judge])
        accelerator.prepare([self._generator], self._try_out)

    def step(self, share_done: float) -> Mapping[str, Tensor]:
        """Take one step; see :meth:`Trainer.step`."""
        given, wanted = self._begin(share_done)
        if self.settings.direction == "b2a":
            given, wanted = wanted, given
        with self._dropping():
            made = self.generate(given)
            losses = self.judge(given, wanted, made.detach())
            self._judging.step()
            losses |= self.improve(given, wanted, made)
            self._generating.step()
        return losses

    def generate(self, given: Tensor) -> Tensor:
        """Return translations, float32 [N, 3, H, W], with gradients.

        Args:
            given: Images, [N, 3, H, W] in [−1, 1].
        """
        with self.accelerator.autocast():
            return self.accelerator.run(self._generator, given)

    def judge(self, given: Tensor, wanted: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Work out the discriminator's losses and gradients.

        Args:
            given: Images, [N, 3, H, W] in [−1, 1].
            wanted: What belongs to them, likewise.
            made: What was made of them, likewise, without gradients.
        """
        real, fake = (torch.cat([given, other], 1) for other in (wanted, made))
        with self.accelerator.autocast():
            scores = self.accelerator.run(self._judge, real, fake)
        losses = {
            "D_real": cross_entropy(scores[: len(given)], real=True),
            "D_fake": cross_entropy(scores[len(given) :], real=False),
        }
        self._judging.zero_grad(set_to_none=True)
        torch.autograd.backward(halved(losses["D_real"], losses["D_fake"]))
        return {name: loss.detach() for name, loss in losses.items()}

    def improve(self, given: Tensor, wanted: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Work out the generator's losses and gradients.

        Args:
            given: Images, [N, 3, H, W] in [−1, 1].
            wanted: What belongs to them, likewise.
            made: What :meth:`generate` made of them.
        """
        self._judge.requires_grad_(False)
        with self.accelerator.autocast():
            scores = self.accelerator.run(self._judge, torch.cat([given, made], 1))
        losses = {"G_adversarial": cross_entropy(scores, real=True), "l1": l1(made, wanted)}
        self._generating.zero_grad(set_to_none=True)
        torch.autograd.backward(losses["G_adversarial"] + self.settings.l1_weight * losses["l1"])
        self._judge.requires_grad_(True)
        return {name: loss.detach() for name, loss in losses.items()}

    def generators(self) -> dict[Direction, Generator]:
        """Return the generator; see :meth:`Trainer.generators`."""
        return {self.settings.direction: self._generator}

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers the generator and the discriminator have."""
        return {"generator": count_parameters(self._generator), "discriminator": count_parameters(self._judge)}

    def _try_out(self) -> None:
        """Run what a step runs, and leave everything as it was."""
        blank = self._blank()
        with self._dropping(trial=True):
            made = self.generate(blank)
            self.judge(blank, blank, made.detach())
            self.improve(blank, blank, made)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
