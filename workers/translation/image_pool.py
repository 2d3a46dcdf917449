"""A store of earlier translations, so that a discriminator does not forget what it has seen.

References:
    Shrivastava et al., "Learning from Simulated and Unsupervised Images through Adversarial Training", CVPR 2017, arXiv
    1612.07828, section 2.3; with 50 images in Zhu et al., ICCV 2017, arXiv 1703.10593, section 4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to ``capacity`` earlier translations; answers some of them in place of new ones.

    Until it is full every image is stored and answered as it is. From then on, with a probability of ½ each, a stored
    image drawn evenly is answered and the new one takes its place; else the new one is answered and not stored.

    Args:
        capacity: Images stored at most; with 0 every image is answered as it is.
        generator: Source of random numbers, on the CPU. Its state is kept with the pool's.
    """

    def __init__(self, capacity: int, generator: torch.Generator) -> None:
        self._capacity = capacity
        self._random = generator
        self._stored: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return as many images as given, new ones or earlier ones, without gradients.

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
        place = int(torch.randint(self._capacity, (), generator=self._random))
        earlier, self._stored[place] = self._stored[place], image.clone()
        return earlier

    def state(self) -> dict[str, Any]:
        """Return everything that later answers depend on."""
        return {"stored": list(self._stored), "random": self._random.get_state()}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from what :meth:`state` returned, with the images on a device."""
        self._stored = [image.to(device) for image in state["stored"]]
        self._random.set_state(state["random"])
