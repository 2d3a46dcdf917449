"""Writes the archive of a translator: as a checkpoint of its training, and as the file of its record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import LossPoint
from faceter.translation.archive import (
    CURVES,
    CURVES_IMAGE,
    STATE,
    Archive,
    curves_content,
    generator_member,
    sample_member,
    thin_samples,
    write_archive,
)
from workers.figures.loss_curves import loss_curves_png
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.training.curves import Curves, LossMeans
from workers.translation.onnx_writer import write_generator
from workers.translation.trainer import Generator, TranslatorTrainer

MOST_POINTS: Final = 500
"""Points of the loss curves at most."""

_LOOP: Final = "training"
"""Key of the training loop's state in `STATE`."""


class ArchiveWriter:
    """Writes archives of a training; each adds a contact sheet to those before.

    Args:
        trainer: Has the generators.
        title: Title of its figures.
        folder: For temporary files.
        draw: Draws the contact sheet of the current generators, given its title.
    """

    def __init__(self, trainer: TranslatorTrainer, title: str, folder: Path, draw: Callable[[str], bytes]) -> None:
        self._trainer = trainer
        self._title = title
        self._folder = folder
        self._draw = draw
        self._sheets: dict[int, bytes] = {}
        self._curves = b""

    def restore(self, content: bytes) -> State:
        """Go on from an archive, and return the state of the training loop in it."""
        with Archive(BytesIO(content)) as archive:
            self._sheets = archive.samples()
            return training_state(archive)

    @contextmanager
    def write(self, state: State) -> Iterator[BinaryIO]:
        """Yield a temporary file with the archive, at its beginning.

        Args:
            state: That of the training loop.
        """
        curves = Curves(MOST_POINTS)
        curves.restore(state["curves"])
        points, step = loss_points(curves.points()), state["budget"]["taken"]
        self._sheets[step] = self._draw(f"{self._title}, {step:,} steps")
        self._sheets = thin_samples(self._sheets)
        self._curves = loss_curves_png(points, self._title)
        with tempfile.TemporaryFile(dir=self._folder) as file:
            write_archive(file, self._members(state, points))
            file.seek(0)
            yield file

    @property
    def last_sheet(self) -> bytes:
        """The last contact sheet."""
        return self._sheets[max(self._sheets)]

    @property
    def last_curves(self) -> bytes:
        """The last plot of the losses; empty before the first archive."""
        return self._curves

    def _members(self, state: State, points: list[LossPoint]) -> Iterator[tuple[str, bytes]]:
        for name, network in self._trainer.generators().items():
            yield generator_member(Direction(name)), generator_content(network)
        yield CURVES, curves_content(points)
        yield CURVES_IMAGE, self._curves
        for step, sheet in self._sheets.items():
            yield sample_member(step), sheet
        yield STATE, checkpoints.dump({_LOOP: state})


def training_state(archive: Archive) -> State:
    """Return the state of the training loop in an archive."""
    state: State = checkpoints.load(archive.read(STATE))[_LOOP]
    return state


def loss_points(points: Sequence[LossMeans]) -> list[LossPoint]:
    """Return points of the curves as the API has them."""
    return [LossPoint(step=point.step, seconds=point.seconds, losses=dict(point.losses)) for point in points]


def generator_content(network: Generator) -> bytes:
    """Return a generator's ONNX file."""
    content: bytes = write_generator(network).SerializeToString(deterministic=True)
    return content
