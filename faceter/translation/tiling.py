"""Runs a generator over an image part by part, in bounded memory, and gives what it would give for the whole."""

import shutil
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel
from faceter.graphs.layouts import PLAIN
from faceter.translation.kept import Kept
from faceter.translation.locality import Grid
from faceter.translation.moments import Moments
from faceter.translation.parts import Part, part, side_lengths, split
from faceter.translation.stages import Plan, Stage
from faceter.translation.working_memory import BYTES, HELD, Work, conv_beside, peak

FloatArray = NDArray[np.float32]

_MIB = 1 << 20


class Source(Protocol):
    """What parts of a tensor can be read from."""

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return float32 [C, h, w]: the part from a first row (column) to the one after the last."""


class Target(Protocol):
    """What parts of a tensor can be written to."""

    def write(self, part: FloatArray, row: int, column: int) -> None:
        """Take float32 [C, h, w], whose first row and column are given."""


def run_in_parts(
    plan: Plan,
    engine: Engine,
    image: Source,
    translation: Target,
    size: tuple[int, int],
    *,
    folder: Path,
    memory: int,
    tile: int | None = None,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> int:
    """Translate an image part by part.

    Each stage is loaded when it is its turn, runs over all parts, and is closed, so that one stage's memory is held at
    a time. What later stages read is kept in files without a name in ``folder`` until the last of them has run.

    Args:
        plan: The generator in stages.
        engine: Loads the stages.
        image: The image, 3 channels.
        translation: Takes the translation, each of its values once.
        size: Height and width in pixels, multiples of the plan's unit.
        folder: For the files; see `kept_bytes`.
        memory: Bytes that running a part may take, about; never less than one unit of the stage takes.
        tile: Height and width of the parts in pixels, rounded up to the stage's unit; chosen by ``memory`` if None.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the run, in a part or before the next.

    Returns:
        The number of parts of the last stage.

    Raises:
        FaceterError: `INFERENCE_FAILED` if it was interrupted or a stage cannot run; `STORAGE_FULL`.
    """
    _check_room(plan, size, folder)
    running = _Running(plan, image, translation, size, folder)
    try:
        count = 0
        for stage in plan.stages:
            running.begin(stage)
            pixels = int(memory / stage_bytes(plan, stage))
            parts = running.parts(stage, side_lengths(plan, stage, size, pixels=pixels, tile=tile))
            model = engine.load(stage.content, threads=threads, layout=layout)
            try:
                for rows, columns in parts:
                    running.make(stage, model, rows, columns, interrupt)
                count = len(parts)
            finally:
                model.close()
            running.end(stage)
        return count
    finally:
        running.close()


def stage_bytes(plan: Plan, stage: Stage) -> float:
    """Return how many bytes running a part of a stage takes for each pixel that it sees, as estimated."""
    sizes = {name: _values(plan.grids[name]) for name in stage.sources}
    sizes |= {step.node.output[0]: _values(step.grid) for step in stage.steps}
    works = []
    for step in stage.steps:
        source, made = sizes[step.sources[0]], sizes[step.node.output[0]]
        beside = step.workspace * source
        if step.node.op_type == "Conv":
            beside += conv_beside(source, made)
        works.append(Work(step.sources, tuple(step.node.output[:1]), beside))
    given = sum(sizes[name] for name in stage.sources)
    live = peak(works, sizes, {*stage.sources, *stage.results}) - given
    handed_over = sum(sizes[name] for name in stage.results)
    return BYTES * (given + HELD * live + handed_over)


def kept_bytes(plan: Plan, size: tuple[int, int]) -> int:
    """Return the most bytes that are on disk at once while an image of a height and width is translated."""
    pixels, most, live = size[0] * size[1], 0, 0
    for stage in plan.stages:
        live += sum(ceil(_values(plan.grids[name]) * pixels * BYTES) for name in stage.results if name != plan.output)
        most = max(most, live)
        live -= sum(ceil(_values(plan.grids[name]) * pixels * BYTES) for name in stage.done_with)
    return most


def _check_room(plan: Plan, size: tuple[int, int], folder: Path) -> None:
    """Raise if the disk has no room now, rather than after minutes."""
    needed, free = kept_bytes(plan, size), shutil.disk_usage(folder).free
    if needed > free:
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            f"An image of {size[1]} × {size[0]} pixels leaves up to {needed / _MIB:,.0f} MiB between its stages, and "
            f"the disk has room for {free / _MIB:,.0f}. Set `scale` to a smaller working size, or make room.",
        )


def _values(grid: Grid) -> float:
    return float(grid.channels * grid.rows.scale * grid.columns.scale)


class _Running:
    """A translation under way: the tensors kept, and the statistics taken."""

    def __init__(self, plan: Plan, image: Source, translation: Target, size: tuple[int, int], folder: Path) -> None:
        self._plan = plan
        self._translation = translation
        self._size = size
        self._folder = folder
        self._sources: dict[str, Source] = {plan.input: image}
        self._kept: dict[str, Kept] = {}
        self._moments: dict[str, Moments] = {}
        self._statistics: dict[str, tuple[FloatArray, FloatArray]] = {}

    def begin(self, stage: Stage) -> None:
        """Make room for a stage's results."""
        height, width = self._size
        for name in stage.results:
            grid = self._plan.grids[name]
            if name != self._plan.output:
                kept = Kept(self._folder, grid.channels, grid.rows.size(height), grid.columns.size(width))
                self._kept[name] = self._sources[name] = kept
            if name in stage.measured:
                self._moments[name] = Moments(grid.channels)

    def parts(self, stage: Stage, lengths: tuple[int, int]) -> list[tuple[Part, Part]]:
        """Return the parts of a stage, row by row."""
        (height, width), (down, across) = self._size, lengths
        rows = [part(self._plan, stage, "rows", *ends, height) for ends in split(height, down)]
        columns = [part(self._plan, stage, "columns", *ends, width) for ends in split(width, across)]
        return [(row, column) for row in rows for column in columns]

    def make(self, stage: Stage, model: LoadedModel, rows: Part, columns: Part, interrupt: Interrupt | None) -> None:
        """Run a stage on a part, and keep what it makes of it, without what it could not see all around."""
        results = model.run(self._inputs(stage, rows, columns), stage.results, interrupt=interrupt)
        for name in stage.results:
            grid = self._plan.grids[name]
            (top, bottom), (left, right) = rows.made(grid.rows), columns.made(grid.columns)
            if top == bottom or left == right:
                continue
            above, before = rows.seen(grid.rows)[0], columns.seen(grid.columns)[0]
            made = results[name][0, :, top - above : bottom - above, left - before : right - before]
            target = self._translation if name == self._plan.output else self._kept[name]
            target.write(made, top, left)
            if name in self._moments:
                self._moments[name].add(made)

    def end(self, stage: Stage) -> None:
        """Finish the statistics, and give back what no later stage reads."""
        for name in stage.measured:
            moments = self._moments.pop(name)
            self._statistics[name] = moments.mean(), moments.variance()
        for name in stage.done_with:
            del self._sources[name]
            self._kept.pop(name).close()

    def close(self) -> None:
        """Give everything back."""
        for kept in self._kept.values():
            kept.close()

    def _inputs(self, stage: Stage, rows: Part, columns: Part) -> Mapping[str, Array]:
        inputs: dict[str, Array] = {}
        for name in stage.sources:
            grid = self._plan.grids[name]
            inputs[name] = self._sources[name].read(rows.seen(grid.rows), columns.seen(grid.columns))[None]
        for norm in stage.norms:
            inputs[norm.mean], inputs[norm.variance] = self._statistics[norm.source]
        return inputs
