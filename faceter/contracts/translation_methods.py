"""Training methods, generator architectures and directions of translators."""

from enum import StrEnum
from typing import Literal


class TranslationMethod(StrEnum):
    """Training method of a translator."""

    CYCLEGAN = "cyclegan"
    """Trained on two sets of unpaired images; both directions (Zhu et al. 2017)."""
    PIX2PIX = "pix2pix"
    """Trained on image pairs; one direction (Isola et al. 2017)."""


class GeneratorKind(StrEnum):
    """Architecture of a generator."""

    RESNET = "resnet"
    """Two downsampling layers, residual blocks, two upsampling layers."""
    UNET = "unet"
    """Encoder down to a few pixels and decoder, with a skip connection at each level."""

    @property
    def multiple(self) -> int:
        """The side lengths of training images must be a multiple of this, in pixels."""
        return 32 if self is GeneratorKind.UNET else 4


class Direction(StrEnum):
    """Direction of translation: from A to B or from B to A."""

    A2B = "a2b"
    B2A = "b2a"

    @property
    def back(self) -> "Direction":
        """The opposite direction."""
        return Direction.B2A if self is Direction.A2B else Direction.A2B

    @property
    def source(self) -> Literal["A", "B"]:
        """Domain of the input images."""
        return "A" if self is Direction.A2B else "B"

    @property
    def target(self) -> Literal["A", "B"]:
        """Domain of the output images."""
        return "B" if self is Direction.A2B else "A"
