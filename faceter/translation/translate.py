"""Translates an image of any size, and there and back."""

import time
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt
from faceter.translation.generator import Generator
from faceter.translation.pixels import PaddedImage, Translation
from faceter.translation.tiling import run_in_parts
from faceter.vision.decoded_image import DecodedImage, Pixels

MEMORY = 1 << 30
"""Bytes that a translation may take beside the generator and the image, unless the caller says otherwise."""

LEAST_TILE = 32
"""Smallest tile that may be asked for, pixels."""

_PARTS_OF_THE_MEMORY = 2
"""A tile may take half of the memory: twice as many tiles are no slower, their tensors being nearer to the caches."""


_MIB = 1 << 20


@dataclass(frozen=True, eq=False)
class Translated:
    """A translated image.

    Attributes:
        colour: sRGB, uint8 [H, W, 3], of the size the image had; three such side by side for a cycle.
        alpha: uint8 [H, W] as it was, or None.
        seconds: How long it took.
        tiles: In how many tiles the translation was made; 1 if the whole was run at once.
        notes: What was done beside, the image's own notes first; a few words each, ASCII only.
    """

    colour: Pixels
    alpha: Pixels | None
    seconds: float
    tiles: int
    notes: tuple[str, ...]


def translate(
    image: DecodedImage,
    generator: Generator,
    *,
    folder: Path,
    tile: int | Literal["never"] | None = None,
    scale: int | None = None,
    memory: int = MEMORY,
    interrupt: Interrupt | None = None,
) -> Translated:
    """Translate an image.

    It is padded by reflection to a size that the generator takes, and cropped back. An image whose run would take
    more than ``memory`` is translated in tiles, which give what the whole would; see `faceter.translation.stages`.
    For a generator of one size, and for ``scale``, it is resized by Lanczos' filter, and so is the translation.

    Args:
        image: The image.
        generator: The generator.
        folder: A folder for the files of tiles, which have no names; see `faceter.translation.tiling.kept_bytes`.
        tile: Height and width of the tiles, pixels; ``never`` for the whole at once; None lets the memory decide.
        scale: Longest side of the working size, pixels; None for the image's own.
        memory: Bytes that running the generator may take, about, beside its weights and the image.
        interrupt: Stops the translation.

    Raises:
        FaceterError: `IMAGE_TOO_LARGE` if it cannot be translated in that memory; `METHOD_NOT_APPLICABLE` if tiles are
            asked for and the generator cannot be run in tiles; `INVALID_REQUEST`; `INFERENCE_FAILED` if the generator
            fails or was interrupted; `STORAGE_FULL`.
    """
    how = _How(folder, tile, scale, memory, interrupt)
    started = time.perf_counter()
    small, notes = _working(image.colour, how)
    made, tiles, words = _run(small, generator, how)
    colour = _resized(made, *image.size)
    return Translated(colour, image.alpha, time.perf_counter() - started, tiles, _joined(image.notes, notes, words))


def translate_and_back(
    image: DecodedImage,
    there: Generator,
    back: Generator,
    *,
    folder: Path,
    tile: int | Literal["never"] | None = None,
    scale: int | None = None,
    memory: int = MEMORY,
    interrupt: Interrupt | None = None,
) -> Translated:
    """Translate an image and the translation back, both at the working size.

    Args:
        image: The image.
        there: The generator of the translation.
        back: The generator of the other direction.
        folder: As `translate` takes it, and what follows.
        tile: Height and width of the tiles.
        scale: Longest side of the working size.
        memory: Bytes that running a generator may take.
        interrupt: Stops the translation.

    Returns:
        The image, its translation and the translation back, side by side, [H, 3W, 3], with alpha, if there is one,
        beside itself as often; ``tiles`` counts both.

    Raises:
        FaceterError: As `translate`.
    """
    how = _How(folder, tile, scale, memory, interrupt)
    started = time.perf_counter()
    small, notes = _working(image.colour, how)
    first, tiles, words = _run(small, there, how)
    second, more_tiles, more_words = _run(first, back, how)
    shown = [image.colour, *(_resized(made, *image.size) for made in (first, second))]
    alpha = None if image.alpha is None else np.hstack([image.alpha] * 3)
    seconds = time.perf_counter() - started
    return Translated(
        np.hstack(shown), alpha, seconds, tiles + more_tiles, _joined(image.notes, notes, words, more_words)
    )


@dataclass(frozen=True)
class _How:
    """What `translate` was asked for."""

    folder: Path
    tile: int | Literal["never"] | None
    scale: int | None
    memory: int
    interrupt: Interrupt | None

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale < 1:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST, f"A working size has 1 pixel or more, not {self.scale}.", field="scale"
            )
        if isinstance(self.tile, int) and self.tile < LEAST_TILE:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST, f"A tile has {LEAST_TILE} pixels or more, not {self.tile}.", field="tile"
            )


def _working(colour: Pixels, how: _How) -> tuple[Pixels, tuple[str, ...]]:
    """Return an image at its working size, and what is to be said of that."""
    longest = max(colour.shape[:2])
    if how.scale is None or how.scale >= longest:
        return colour, ()
    factor = how.scale / longest
    height, width = (max(1, round(side * factor)) for side in colour.shape[:2])
    return _resized(colour, height, width), (f"translated at {width} x {height} and scaled back",)


def _run(colour: Pixels, generator: Generator, how: _How) -> tuple[Pixels, int, tuple[str, ...]]:
    """Return a translation, its number of tiles, and what is to be said of it."""
    height, width = colour.shape[:2]
    takes, own = generator.takes, (int(height), int(width))
    notes: tuple[str, ...] = ()
    size = takes.size or generator.padded(*own)
    if takes.size is not None:
        own = takes.size
        notes = (f"brought to the generator's {size[1]} x {size[0]} and back",)
    image = PaddedImage(_resized(colour, *own), generator.preprocessing)
    translation = Translation(*own, generator.preprocessing)
    if _in_tiles(generator, size, how):
        plan = generator.plan()
        assert plan is not None
        tiles = run_in_parts(
            plan,
            generator.engine,
            image,
            translation,
            size,
            folder=how.folder,
            memory=how.memory // _PARTS_OF_THE_MEMORY,
            tile=how.tile if isinstance(how.tile, int) else None,
            threads=generator.threads,
            layout=generator.layout,
            interrupt=how.interrupt,
        )
        return translation.colour, tiles, notes
    values = image.read((0, size[0]), (0, size[1]))[None]
    made = generator.model.run({takes.input: values}, [takes.output], interrupt=how.interrupt)[takes.output]
    translation.write(made[0], 0, 0)
    return _resized(translation.colour, height, width), 1, notes


def _in_tiles(generator: Generator, size: tuple[int, int], how: _How) -> bool:
    """Whether to translate in tiles; raises where it can be done neither in tiles nor as a whole."""
    height, width = size
    needed = generator.bytes_per_pixel * height * width
    if isinstance(how.tile, int):
        reason = generator.why_not_tileable()
        if reason is not None:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                f"The generator cannot be run in tiles: {reason}. Leave `tile` out.",
                field="tile",
            )
        return how.tile < max(size) or needed > how.memory
    if needed <= how.memory:
        return False
    reason = "tiles were forbidden by `tile`" if how.tile == "never" else generator.why_not_tileable()
    if reason is None:
        return True
    longest = isqrt(int(max(size) ** 2 * how.memory / needed))
    raise FaceterError(
        ProblemKind.IMAGE_TOO_LARGE,
        f"Translating {width} × {height} pixels at once takes about {needed / _MIB:,.0f} MiB; {how.memory / _MIB:,.0f} "
        f"MiB are allowed. It is not done in tiles: {reason}. Set `scale` to {longest} or less, or send a smaller "
        "image.",
    )


def _resized(colour: Pixels, height: int, width: int) -> Pixels:
    if colour.shape[:2] == (height, width):
        return colour
    return np.asarray(Image.fromarray(colour).resize((width, height), Image.Resampling.LANCZOS))


def _joined(*notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for part in notes for note in part))
