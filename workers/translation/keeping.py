"""What is kept of a training while it lasts, and of a translator for good: its archive."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from faceter.contracts.translators import Direction, LossPoint
from faceter.translation.archive import (
    CURVES,
    CURVES_IMAGE,
    STATE,
    Archive,
    curves_content,
    generator_member,
    sample_member,
    thinned,
    write_archive,
)
from workers.figures.loss_curves import loss_curves_png
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.translation.onnx_writer import write_generator
from workers.translation.trainer import Generator, Trainer


class Keeper:
    """Writes archives of a training, each with a contact sheet of its own beside those of before.

    Args:
        title: What images of it are called.
        folder: For files that are only needed while they are written.
        draw: Draws the contact sheet of the translator as it stands, given its title.
    """

    def __init__(self, title: str, folder: Path, draw: Callable[[str], bytes]) -> None:
        self._title = title
        self._folder = folder
        self._draw = draw
        self._sheets: dict[int, bytes] = {}
        self._curves = b""

    def restore(self, content: bytes) -> State:
        """Go on from an archive, and return the state of the training in it."""
        with Archive(BytesIO(content)) as archive:
            self._sheets = archive.samples()
            return checkpoints.load(archive.read(STATE))

    @contextmanager
    def archive(self, trainer: Trainer, state: State, points: list[LossPoint], step: int) -> Iterator[BinaryIO]:
        """Lend the archive of a training as it stands, at its beginning; the file goes after the block.

        Args:
            trainer: Has the generators.
            state: What training goes on from.
            points: Its losses so far.
            step: Steps taken.
        """
        self._sheets[step] = self._draw(f"{self._title}, {step:,} steps")
        self._sheets = thinned(self._sheets)
        self._curves = loss_curves_png(points, self._title)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            write_archive(file, self._members(trainer, state, points))
            file.seek(0)
            yield file

    @property
    def last_sheet(self) -> bytes:
        """The contact sheet drawn last."""
        return self._sheets[max(self._sheets)]

    @property
    def last_curves(self) -> bytes:
        """The image of losses drawn last, empty before there is an archive."""
        return self._curves

    def _members(self, trainer: Trainer, state: State, points: list[LossPoint]) -> Iterator[tuple[str, bytes]]:
        for name, network in trainer.generators().items():
            yield generator_member(Direction(name)), generator_content(network)
        yield CURVES, curves_content(points)
        yield CURVES_IMAGE, self._curves
        for step, sheet in self._sheets.items():
            yield sample_member(step), sheet
        yield STATE, checkpoints.dump(state)


def generator_content(network: Generator) -> bytes:
    """Return a generator's ONNX file."""
    content: bytes = write_generator(network).SerializeToString(deterministic=True)
    return content
