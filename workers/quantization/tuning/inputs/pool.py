"""The pool of inputs that a network is tuned on, and the hold-out set."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.quantization.tuning.session import TuningSession

_HELD_OUT_EVERY = 8
_MAX_HELD_OUT = 512


class InputPool:
    """Inputs to draw batches from; every eighth is held out, and at most 512 of those are used.

    Of fewer than eight inputs all are both drawn from and used as the hold-out set.

    Attributes:
        random: The generator that batches are drawn with.
        held_out: The hold-out set, on the device.

    Args:
        inputs: [N, …], on any device; batches are copied to the session's.
        batch: Batch size.
        mixup: Fraction of a batch that is mixed, see :func:`augment`.
        cutmix: Fraction of a batch that gets a box of another input.
        mix_held_out: Whether the hold-out set is mixed too. The float network is confident of synthesized inputs, and
            every network agrees on such; their mixtures discriminate better.
    """

    def __init__(
        self,
        session: TuningSession,
        inputs: Tensor,
        batch: int,
        mixup: float,
        *,
        cutmix: float = 0.0,
        mix_held_out: bool = False,
    ) -> None:
        self.random = session.random("tuning")
        self._session = session
        self._batch = batch
        self._mixup = mixup
        self._cutmix = cutmix
        is_held_out = torch.arange(len(inputs)) % _HELD_OUT_EVERY == 0
        if len(inputs) < _HELD_OUT_EVERY:
            is_held_out[:] = False
        held_out = inputs[is_held_out][:_MAX_HELD_OUT] if is_held_out.any() else inputs
        if mix_held_out:
            held_out = session.augment(held_out, session.random("held out"), mixup=1.0)
        self.held_out = session.to_device(held_out)
        drawable = inputs[~is_held_out]
        self._first = session.to_device(drawable[:batch])
        on_gpu = session.device.type == "cuda"
        self._inputs = drawable.pin_memory() if on_gpu and not drawable.is_cuda else drawable

    @property
    def sample(self) -> Tensor:
        """A fixed batch, on which activation ranges are measured."""
        return self._first

    def draw(self) -> Tensor:
        """Return a random augmented batch on the device."""
        chosen = torch.randint(len(self._inputs), (self._batch,), generator=self.random)
        x = self._session.to_device(self._inputs[chosen.to(self._inputs.device)])
        augmented = self._session.augment(x, self.random, mixup=self._mixup, cutmix=self._cutmix)
        return self._session.to_device(augmented)
