"""Translates images with the generators of a training in progress."""

from __future__ import annotations

import numpy as np
import torch

from faceter.contracts.translation_methods import Direction
from workers.translation.batches import normalize
from workers.translation.samples import Pixels
from workers.translation.trainer import TranslatorTrainer

_MAX_PIXELS_PER_BATCH = 8 * 256 * 256
_HALF = 127.5


class GeneratorInference:
    """The generators of a trainer in evaluation mode and float32, as they will be served."""

    def __init__(self, trainer: TranslatorTrainer) -> None:
        self._trainer = trainer

    @property
    def directions(self) -> list[Direction]:
        """The directions of the generators."""
        return [Direction(name) for name in self._trainer.generators()]

    @torch.no_grad()
    def __call__(self, direction: Direction, images: Pixels) -> Pixels:
        """Return translations, uint8 [N, 3, H, W]."""
        network = self._trainer.generators()[direction.value].eval()
        translations = []
        count = max(1, _MAX_PIXELS_PER_BATCH // (images.shape[2] * images.shape[3]))
        for start in range(0, len(images), count):
            batch = torch.from_numpy(normalize(images[start : start + count]))
            output = network(self._trainer.accelerator.to_device(batch))
            translations.append(((output + 1) * _HALF).round_().clamp_(0, 255).byte().cpu().contiguous().numpy())
        return np.concatenate(translations)
