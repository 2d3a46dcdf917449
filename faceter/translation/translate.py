"""Translates an image of any size, in one direction or there and back (a cycle)."""

import time
from dataclasses import dataclass
from itertools import chain
from math import isqrt
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt
from faceter.translation.generator import LoadedGenerator
from faceter.translation.pixels import PaddedImage, TranslationBuffer
from faceter.translation.tiling import run_tiled
from faceter.vision.decoded_image import DecodedImage, Pixels

DEFAULT_MEMORY = 1 << 30
"""Default memory limit of a translation in bytes, besides the generator's weights and the image."""

MIN_TILE = 32
"""Smallest side of a tile that can be requested, pixels."""

_TILE_MEMORY_DIVISOR = 2
"""A tile uses half of the memory limit: smaller tiles are no slower, since their tensors fit the caches better."""


_MIB = 1 << 20


@dataclass(frozen=True, eq=False)
class TranslatedImage:
    """A translated image.

    Attributes:
        colour: sRGB, uint8 [H, W, 3], of the image's own size; three images side by side for a cycle.
        alpha: uint8 [H, W], unchanged; None without transparency.
        seconds: Duration of the translation.
        tiles: Number of tiles; 1 if the whole image was run at once.
        warnings: Conversions that a reader should know of, those of the decoded image first; short, ASCII only.
    """

    colour: Pixels
    alpha: Pixels | None
    seconds: float
    tiles: int
    warnings: tuple[str, ...]


def translate(
    image: DecodedImage,
    generator: LoadedGenerator,
    *,
    folder: Path,
    tile: int | Literal["never"] | None = None,
    scale: int | None = None,
    memory: int = DEFAULT_MEMORY,
    interrupt: Interrupt | None = None,
) -> TranslatedImage:
    """Translate an image.

    It is padded by reflection to a size that the generator accepts, and cropped back. An image whose run would exceed
    ``memory`` is translated in tiles, with the same result; see `faceter.translation.stages`. For a generator of fixed
    size, and for ``scale``, the image and its translation are resized with a Lanczos filter.

    Args:
        image: The image.
        generator: The generator.
        folder: For the spill files of tiled runs, which have no names; see `faceter.translation.tiling.spill_bytes`.
        tile: Height and width of the tiles, pixels; ``never`` disables tiling; None chooses by ``memory``.
        scale: Longest side of the working size, pixels; None for the image's own size.
        memory: Approximate memory limit of a run in bytes, besides the generator's weights and the image.
        interrupt: Stops the translation.

    Raises:
        FaceterError: `IMAGE_TOO_LARGE` if it cannot be translated within ``memory``; `METHOD_NOT_APPLICABLE` if tiles
            are requested and the generator is not tileable; `INVALID_REQUEST`; `INFERENCE_FAILED` if the generator
            fails or was interrupted; `STORAGE_FULL`.
    """
    options = _RunOptions(folder, tile, scale, memory, interrupt)
    started = time.perf_counter()
    working, scale_warnings = _at_working_size(image.colour, options)
    output, tiles, run_warnings = _run(working, generator, options)
    colour = _resized(output, *image.size)
    warnings = _unique(image.warnings, scale_warnings, run_warnings)
    return TranslatedImage(colour, image.alpha, time.perf_counter() - started, tiles, warnings)


def translate_and_back(
    image: DecodedImage,
    there: LoadedGenerator,
    back: LoadedGenerator,
    *,
    folder: Path,
    tile: int | Literal["never"] | None = None,
    scale: int | None = None,
    memory: int = DEFAULT_MEMORY,
    interrupt: Interrupt | None = None,
) -> TranslatedImage:
    """Translate an image and translate the result back, both at the working size.

    Args:
        image: The image.
        there: The generator of the first direction.
        back: The generator of the opposite direction.
        folder: This and the following as in `translate`.
        tile: Height and width of the tiles.
        scale: Longest side of the working size.
        memory: Memory limit of a run.
        interrupt: Stops the translation.

    Returns:
        The image, its translation and the reconstruction side by side, [H, 3W, 3]; alpha, if any, is repeated three
        times. ``tiles`` counts both runs.

    Raises:
        FaceterError: As `translate`.
    """
    options = _RunOptions(folder, tile, scale, memory, interrupt)
    started = time.perf_counter()
    working, scale_warnings = _at_working_size(image.colour, options)
    translation, tiles_there, warnings_there = _run(working, there, options)
    reconstruction, tiles_back, warnings_back = _run(translation, back, options)
    images = [image.colour, *(_resized(output, *image.size) for output in (translation, reconstruction))]
    alpha = None if image.alpha is None else np.hstack([image.alpha] * 3)
    seconds = time.perf_counter() - started
    warnings = _unique(image.warnings, scale_warnings, warnings_there, warnings_back)
    return TranslatedImage(np.hstack(images), alpha, seconds, tiles_there + tiles_back, warnings)


@dataclass(frozen=True)
class _RunOptions:
    """The options of `translate`."""

    folder: Path
    tile: int | Literal["never"] | None
    scale: int | None
    memory: int
    interrupt: Interrupt | None

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale < 1:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"The working size must be at least 1 pixel, not {self.scale}.",
                field="scale",
            )
        if isinstance(self.tile, int) and self.tile < MIN_TILE:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"A tile must have at least {MIN_TILE} pixels a side, not {self.tile}.",
                field="tile",
            )


def _at_working_size(colour: Pixels, options: _RunOptions) -> tuple[Pixels, tuple[str, ...]]:
    """Return an image at its working size, and warnings."""
    longest = max(colour.shape[:2])
    if options.scale is None or options.scale >= longest:
        return colour, ()
    factor = options.scale / longest
    height, width = (max(1, round(side * factor)) for side in colour.shape[:2])
    return _resized(colour, height, width), (f"translated at {width} x {height} and scaled back",)


def _run(colour: Pixels, generator: LoadedGenerator, options: _RunOptions) -> tuple[Pixels, int, tuple[str, ...]]:
    """Return a translation, its number of tiles, and warnings."""
    height, width = colour.shape[:2]
    signature, unpadded = generator.signature, (int(height), int(width))
    warnings: tuple[str, ...] = ()
    size = signature.size or generator.padded(*unpadded)
    if signature.size is not None:
        unpadded = signature.size
        warnings = (f"resized to the generator's {size[1]} x {size[0]} and back",)
    image = PaddedImage(_resized(colour, *unpadded), generator.preprocessing)
    translation = TranslationBuffer(*unpadded, generator.preprocessing)
    if _is_tiled(generator, size, options):
        plan = generator.plan()
        assert plan is not None
        tiles = run_tiled(
            plan,
            generator.engine,
            image,
            translation,
            size,
            folder=options.folder,
            memory=options.memory // _TILE_MEMORY_DIVISOR,
            tile=options.tile if isinstance(options.tile, int) else None,
            threads=generator.threads,
            layout=generator.layout,
            interrupt=options.interrupt,
        )
        return translation.colour, tiles, warnings
    values = image.read((0, size[0]), (0, size[1]))[None]
    output = signature.output
    outputs = generator.model.run({signature.input: values}, [output], interrupt=options.interrupt)
    translation.write(outputs[output][0], 0, 0)
    return _resized(translation.colour, height, width), 1, warnings


def _is_tiled(generator: LoadedGenerator, size: tuple[int, int], options: _RunOptions) -> bool:
    """Return whether to run in tiles; raise if neither tiles nor the whole image are possible."""
    height, width = size
    needed = generator.bytes_per_pixel * height * width
    if isinstance(options.tile, int):
        reason = generator.why_not_tileable()
        if reason is not None:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                f"The generator cannot be run in tiles: {reason}. Leave `tile` out.",
                field="tile",
            )
        return options.tile < max(size) or needed > options.memory
    if needed <= options.memory:
        return False
    reason = "`tile` is `never`" if options.tile == "never" else generator.why_not_tileable()
    if reason is None:
        return True
    longest = isqrt(int(max(size) ** 2 * options.memory / needed))
    needed_mib, allowed_mib = needed / _MIB, options.memory / _MIB
    raise FaceterError(
        ProblemKind.IMAGE_TOO_LARGE,
        f"Translating {width} × {height} pixels at once needs about {needed_mib:,.0f} MiB; {allowed_mib:,.0f} MiB "
        f"are allowed. Tiles cannot be used: {reason}. Set `scale` to {longest} or less, or send a smaller "
        "image.",
    )


def _resized(colour: Pixels, height: int, width: int) -> Pixels:
    if colour.shape[:2] == (height, width):
        return colour
    return np.asarray(Image.fromarray(colour).resize((width, height), Image.Resampling.LANCZOS))


def _unique(*warnings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(warnings)))
