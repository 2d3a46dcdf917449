"""Translating images with generators as they stand in training."""

from __future__ import annotations

import numpy as np
import torch

from faceter.contracts.translators import Direction
from workers.translation.batches import normalized
from workers.translation.samples import Pixels
from workers.translation.trainer import Trainer

_PIXELS_AT_ONCE = 8 * 256 * 256
_HALF = 127.5


class TrainerTranslates:
    """The generators of a training as what translates images: in evaluation mode, in float32, as they are served.

    Args:
        trainer: Has them.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def directions(self) -> list[Direction]:
        """The directions there are."""
        return [Direction(name) for name in self._trainer.generators()]

    @torch.no_grad()
    def __call__(self, direction: Direction, images: Pixels) -> Pixels:
        """Return translations, uint8 [N, 3, H, W]."""
        network = self._trainer.generators()[direction.value].eval()
        made = []
        count = max(1, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3]))
        for start in range(0, len(images), count):
            part = torch.from_numpy(normalized(images[start : start + count]))
            answer = network(self._trainer.accelerator.arranged(part))
            made.append(((answer + 1) * _HALF).round_().clamp_(0, 255).byte().cpu().contiguous().numpy())
        return np.concatenate(made)
