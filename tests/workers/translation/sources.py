"""Small datasets of two domains, and trainings of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import Domain, ResizedImages
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings

CPU = torch.device("cpu")


class GivenImages:
    """A dataset of images that are there already; pairs by position where they are said to be pairs.

    Args:
        a: Images of A.
        b: Images of B.
        paired: Whether they are pairs.
    """

    def __init__(self, a: Sequence[Image.Image], b: Sequence[Image.Image], *, paired: bool = False) -> None:
        self._images = {"A": list(a), "B": list(b)}
        self._paired = paired
        self.read: list[tuple[Domain, int]] = []

    def count(self, domain: Domain) -> int:
        return len(self._images[domain])

    def image(self, domain: Domain, index: int) -> Image.Image:
        self.read.append((domain, index))
        return self._images[domain][index]

    def pairs(self) -> list[tuple[int, int]]:
        return [(index, index) for index in range(len(self._images["A"]))] if self._paired else []


def smooth(count: int, size: int = 36, seed: int = 0) -> list[Image.Image]:
    """Return images whose colours change smoothly: random brightness, less of it further down, in one tint.

    Which way is up and the tint tell them from inverted ones, so that there is but one translation which fits. Were
    colours drawn each for itself, a translator might just as well exchange them, or brighten images and leave dark
    places dark.
    """
    random = np.random.default_rng(seed)
    brightness = np.linspace(0.85, 0.15, 4)[:, None] + 0.6 * (random.random((count, 4, 4)) - 0.5)
    tinted = np.stack([brightness.clip(0, 1) ** power for power in (0.5, 1.0, 2.0)], axis=-1)
    return [
        Image.fromarray((255 * colours).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        for colours in tinted
    ]


def inverted(images: Sequence[Image.Image]) -> list[Image.Image]:
    """Return 255 − x of every image."""
    return [ImageOps.invert(image) for image in images]


def unpaired(folder: Path, *, image_size: int = 32, count: int = 12, seed: int = 0, batch_size: int = 1) -> BatchLoader:
    """Return smooth images as A and others, inverted, as B."""
    side = image_size + 4
    source = GivenImages(smooth(count, side, 1), inverted(smooth(count, side, 2)))
    return BatchLoader(ResizedImages(source, image_size, folder=folder), batch_size=batch_size, seed=seed)


def paired(folder: Path, *, image_size: int = 32, count: int = 12, seed: int = 0, batch_size: int = 1) -> BatchLoader:
    """Return smooth images as A and the same inverted as B."""
    images = smooth(count, image_size + 4, 1)
    source = GivenImages(images, inverted(images), paired=True)
    return BatchLoader(ResizedImages(source, image_size, folder=folder), batch_size=batch_size, seed=seed, paired=True)


def small_cyclegan(folder: Path, *, seed: int = 0, batch_size: int = 1, identity: float = 0.5) -> CycleGan:
    """Return a CycleGAN of 4 channels and one block at 32², with a pool that is soon full."""
    settings = CycleGanSettings(image_size=32, channels=4, blocks=1, seed=seed, identity=identity, pool=3)
    return CycleGan(settings, unpaired(folder, seed=seed, batch_size=batch_size), Accelerator(CPU))


def small_pix2pix(folder: Path, *, seed: int = 0, batch_size: int = 1) -> Pix2Pix:
    """Return a pix2pix with a U-Net of 2 channels at 64², where it has a level with dropout."""
    settings = Pix2PixSettings(image_size=64, channels=2, seed=seed)
    return Pix2Pix(settings, paired(folder, image_size=64, seed=seed, batch_size=batch_size), Accelerator(CPU))
