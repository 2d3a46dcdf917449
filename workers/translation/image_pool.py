"""The image pool (replay buffer): earlier translations that stabilize the training of a discriminator.

References:
    Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017, arXiv
    1612.07828, section 2.3; with 50 images in Zhu et al., ICCV 2017, arXiv 1703.10593, section 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to ``capacity`` earlier translations, some of which are returned in place of new ones.

    Until the pool is full, every image is stored and returned. From then on, with probability ½, a uniformly drawn
    stored image is returned and replaced by the new one; otherwise the new image is returned and not stored.

    Args:
        capacity: Maximum number of stored images; 0 returns every image unchanged.
        generator: Random number generator on the CPU. Its state is saved with the pool's.
    """

    def __init__(self, capacity: int, generator: torch.Generator) -> None:
        self._capacity = capacity
        self._random = generator
        self._stored: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return as many images as given, each a new or an earlier one, without gradients.

        Args:
            images: [N, C, H, W], on any device; stored there.
        """
        return torch.stack([self._exchange(image) for image in images.detach()])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self._stored) < self._capacity:
            self._stored.append(image.clone())
            return image
        if not self._capacity or float(torch.rand((), generator=self._random)) < 0.5:
            return image
        index = int(torch.randint(self._capacity, (), generator=self._random))
        earlier, self._stored[index] = self._stored[index], image.clone()
        return earlier

    def state(self) -> dict[str, Any]:
        """Return the images and the random state."""
        return {"stored": list(self._stored), "random": self._random.get_state()}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from a state that :meth:`state` returned, with the images on a device."""
        self._stored = [image.to(device) for image in state["stored"]]
        self._random.set_state(state["random"])
