"""The inputs a network is tuned on, and those held out of tuning."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.quantization.tuning.augmentation import augment
from workers.quantization.tuning.session import Session

_HELD_OUT_EVERY = 8
_MOST_HELD_OUT = 512


class Pool:
    """Inputs to draw batches from; every eighth is held out, at most 512 of those are used.

    Of fewer than eight none can be spared: all of them are drawn from, and held out at once.

    Args:
        session: Its device and seed.
        inputs: [N, …], kept where they are; batches are brought to the device.
        batch: Inputs drawn at a time.
        mixed: The share of a batch that becomes a mix of two inputs.
        pasted: The share of a batch that gets a part of another input.
        hard: Whether what is held out is mixed too, two and two: made inputs are such that the float network is sure of
            them, and any network agrees on those.

    Attributes:
        random: What batches are drawn with.
        held_out: Inputs that are never drawn, unless there are fewer than eight.
    """

    def __init__(
        self,
        session: Session,
        inputs: Tensor,
        batch: int,
        mixed: float,
        *,
        pasted: float = 0.0,
        hard: bool = False,
    ) -> None:
        self.random = session.random("tuning")
        self._session = session
        self._batch = batch
        self._mixed = mixed
        self._pasted = pasted
        held = torch.arange(len(inputs)) % _HELD_OUT_EVERY == 0
        if len(inputs) < _HELD_OUT_EVERY:
            held[:] = False
        held_out = inputs[held][:_MOST_HELD_OUT] if held.any() else inputs
        if hard:
            held_out = augment(held_out, session.random("held out"), images=self._images, mixed=1.0)
        self.held_out = session.arranged(held_out)
        kept = inputs[~held]
        self._first = session.arranged(kept[:batch])
        self._inputs = kept.pin_memory() if session.device.type == "cuda" and not kept.is_cuda else kept

    @property
    def sample(self) -> Tensor:
        """One batch, always the same: for measuring activations."""
        return self._first

    def draw(self) -> Tensor:
        """Return a random batch, varied, on the device."""
        chosen = torch.randint(len(self._inputs), (self._batch,), generator=self.random)
        x = self._session.arranged(self._inputs[chosen.to(self._inputs.device)])
        varied = augment(x, self.random, images=self._images, mixed=self._mixed, pasted=self._pasted)
        return self._session.arranged(varied)

    @property
    def _images(self) -> bool:
        space = self._session.space
        return space is not None and space.images
