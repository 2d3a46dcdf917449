"""Runs a generator over an image tile by tile, in bounded memory, with the same result as on the whole image."""

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
from faceter.translation.instance_moments import InstanceMoments
from faceter.translation.local_operators import FeatureMapShape
from faceter.translation.peak_memory import ARENA_FACTOR, BYTES_PER_VALUE, NodeMemory, conv_workspace, peak_size
from faceter.translation.spill_file import SpillFile
from faceter.translation.stages import GeneratorStage, TilingPlan
from faceter.translation.tiles import TileSpan, split_axis, tile_size, tile_span

FloatArray = NDArray[np.float32]

_MIB = 1 << 20


class TileReader(Protocol):
    """A tensor that tiles are read from."""

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return a tile, float32 [C, h, w]: half-open ranges of rows and columns."""


class TileWriter(Protocol):
    """A tensor that tiles are written to."""

    def write(self, tile: FloatArray, row: int, column: int) -> None:
        """Write a tile, float32 [C, h, w], at its first row and column."""


def run_tiled(
    plan: TilingPlan,
    engine: Engine,
    image: TileReader,
    translation: TileWriter,
    size: tuple[int, int],
    *,
    folder: Path,
    memory: int,
    tile: int | None = None,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> int:
    """Translate an image tile by tile.

    One stage at a time is loaded, run over all tiles and closed, so that only one stage's weights are in memory. What
    later stages read is spilled to unnamed files in ``folder`` until the last of them has run.

    Args:
        plan: The generator in stages.
        engine: Loads the stages.
        image: The image, 3 channels.
        translation: Receives the translation, each value once.
        size: Height and width in pixels, multiples of the plan's stride.
        folder: For the spill files; see `spill_bytes`.
        memory: Approximate limit in bytes of a run on one tile; a tile has at least one stride of the stage.
        tile: Height and width of the tiles in pixels, rounded up to the stage's stride; if None set by ``memory``.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the run, within a tile or before the next.

    Returns:
        The number of tiles of the last stage.

    Raises:
        FaceterError: `INFERENCE_FAILED` if it was interrupted or a stage cannot run; `STORAGE_FULL`.
    """
    _check_disk_space(plan, size, folder)
    run = _TiledRun(plan, image, translation, size, folder)
    try:
        count = 0
        for stage in plan.stages:
            run.begin(stage)
            pixels = int(memory / stage_bytes_per_pixel(plan, stage))
            tiles = run.tiles(stage, tile_size(plan, stage, size, pixels=pixels, tile=tile))
            model = engine.load(stage.content, threads=threads, layout=layout)
            try:
                for rows, columns in tiles:
                    run.run_tile(stage, model, rows, columns, interrupt)
                count = len(tiles)
            finally:
                model.close()
            run.end(stage)
        return count
    finally:
        run.close()


def stage_bytes_per_pixel(plan: TilingPlan, stage: GeneratorStage) -> float:
    """Return the estimated memory of a stage's run on a tile, in bytes per pixel that it reads."""
    sizes = {name: _values_per_pixel(plan.shapes[name]) for name in stage.inputs}
    sizes |= {node.node.output[0]: _values_per_pixel(node.shape) for node in stage.nodes}
    nodes = []
    for node in stage.nodes:
        input_size, output_size = sizes[node.inputs[0]], sizes[node.node.output[0]]
        workspace = node.workspace * input_size
        if node.node.op_type == "Conv":
            workspace += conv_workspace(input_size, output_size)
        nodes.append(NodeMemory(node.inputs, tuple(node.node.output[:1]), workspace))
    inputs = sum(sizes[name] for name in stage.inputs)
    live = peak_size(nodes, sizes, {*stage.inputs, *stage.outputs}) - inputs
    outputs = sum(sizes[name] for name in stage.outputs)
    return BYTES_PER_VALUE * (inputs + ARENA_FACTOR * live + outputs)


def spill_bytes(plan: TilingPlan, size: tuple[int, int]) -> int:
    """Return the peak size on disk of the spill files of an image of a height and width."""

    def file_size(name: str) -> int:
        return ceil(_values_per_pixel(plan.shapes[name]) * size[0] * size[1] * BYTES_PER_VALUE)

    peak, live = 0, 0
    for stage in plan.stages:
        live += sum(file_size(name) for name in stage.outputs if name != plan.output)
        peak = max(peak, live)
        live -= sum(file_size(name) for name in stage.released)
    return peak


def _check_disk_space(plan: TilingPlan, size: tuple[int, int], folder: Path) -> None:
    """Raise if the disk has no room now, rather than after minutes."""
    needed, free = spill_bytes(plan, size), shutil.disk_usage(folder).free
    if needed > free:
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            f"The intermediate tensors of an image of {size[1]} × {size[0]} pixels take up to {needed / _MIB:,.0f} MiB "
            f"on disk; {free / _MIB:,.0f} MiB are free. Set `scale` to a smaller working size, or free disk space.",
        )


def _values_per_pixel(shape: FeatureMapShape) -> float:
    return float(shape.channels * shape.rows.scale * shape.columns.scale)


class _TiledRun:
    """The spill files and statistics of one translation."""

    def __init__(
        self, plan: TilingPlan, image: TileReader, translation: TileWriter, size: tuple[int, int], folder: Path
    ) -> None:
        self._plan = plan
        self._translation = translation
        self._size = size
        self._folder = folder
        self._readers: dict[str, TileReader] = {plan.input: image}
        self._files: dict[str, SpillFile] = {}
        self._moments: dict[str, InstanceMoments] = {}
        self._statistics: dict[str, tuple[FloatArray, FloatArray]] = {}

    def begin(self, stage: GeneratorStage) -> None:
        """Create the spill files of a stage's outputs."""
        height, width = self._size
        for name in stage.outputs:
            shape = self._plan.shapes[name]
            if name != self._plan.output:
                file = SpillFile(self._folder, shape.channels, shape.rows.size(height), shape.columns.size(width))
                self._files[name] = self._readers[name] = file
            if name in stage.normalized:
                self._moments[name] = InstanceMoments(shape.channels)

    def tiles(self, stage: GeneratorStage, size: tuple[int, int]) -> list[tuple[TileSpan, TileSpan]]:
        """Return the tiles of a stage, row by row, each as its spans of rows and of columns."""
        (height, width), (tile_height, tile_width) = self._size, size
        rows = [tile_span(self._plan, stage, "rows", *ends, height) for ends in split_axis(height, tile_height)]
        columns = [tile_span(self._plan, stage, "columns", *ends, width) for ends in split_axis(width, tile_width)]
        return [(row, column) for row in rows for column in columns]

    def run_tile(
        self, stage: GeneratorStage, model: LoadedModel, rows: TileSpan, columns: TileSpan, interrupt: Interrupt | None
    ) -> None:
        """Run a stage on a tile with its halo, and write its outputs without the halo."""
        results = model.run(self._inputs(stage, rows, columns), stage.outputs, interrupt=interrupt)
        for name in stage.outputs:
            shape = self._plan.shapes[name]
            (top, bottom), (left, right) = rows.output_range(shape.rows), columns.output_range(shape.columns)
            if top == bottom or left == right:
                continue
            first_row, first_column = rows.input_range(shape.rows)[0], columns.input_range(shape.columns)[0]
            values = results[name][
                0, :, top - first_row : bottom - first_row, left - first_column : right - first_column
            ]
            writer = self._translation if name == self._plan.output else self._files[name]
            writer.write(values, top, left)
            if name in self._moments:
                self._moments[name].add(values)

    def end(self, stage: GeneratorStage) -> None:
        """Finish the statistics, and delete the files that no later stage reads."""
        for name in stage.normalized:
            moments = self._moments.pop(name)
            self._statistics[name] = moments.mean(), moments.variance()
        for name in stage.released:
            del self._readers[name]
            self._files.pop(name).close()

    def close(self) -> None:
        """Delete all files."""
        for file in self._files.values():
            file.close()

    def _inputs(self, stage: GeneratorStage, rows: TileSpan, columns: TileSpan) -> Mapping[str, Array]:
        inputs: dict[str, Array] = {}
        for name in stage.inputs:
            shape = self._plan.shapes[name]
            tile = self._readers[name].read(rows.input_range(shape.rows), columns.input_range(shape.columns))
            inputs[name] = tile[None]
        for norm in stage.norms:
            inputs[norm.mean], inputs[norm.variance] = self._statistics[norm.source]
        return inputs
