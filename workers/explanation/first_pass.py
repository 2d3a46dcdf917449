"""The first pass: every sample run once, its patterns numbered, and both kept in files of the worker's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.pattern_table import PatternTable
from workers.explanation.patterns import Bits
from workers.explanation.samples import Frame, Integers, Samples
from workers.explanation.sampling import visible
from workers.explanation.stream import Maps, Run, Source, Spill, runs
from workers.jobs.journal import Journal, NoJournal, State
from workers.jobs.scratch import ScratchFiles

_MASK_BYTES = 2**26
_SHOWN = 6
_STAGE = "samples"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Layer:
    """A layer after the first pass."""

    name: str
    """The tensor."""
    shape: tuple[int, int, int]
    """Units, rows, columns of its maps."""
    units: Integers
    """Which units are looked at, int64 [U]."""
    maps: Spill
    """Activations of these units in each sample, float32 [N, U, rows, columns]."""
    strongest: Integers
    """Samples in which each unit is strongest, the strongest first, int64 [U, T]; −1 where there are fewer."""
    peaks: NDArray[np.float32]
    """Its largest activation in them, float32 [U, T]."""


@dataclass(frozen=True)
class FirstPass:
    """All samples, run."""

    table: PatternTable
    """The patterns."""
    ids: Spill
    """Pattern of each pixel, int32 [N, pixels]."""
    concepts: Spill
    """Which concepts are in each sample, packed bits, uint8 [N, ⌈K/8⌉]."""
    frames: list[Frame]
    """Where samples lie in the model's input; empty if all are the whole of it."""
    layers: list[Layer]
    """In the order asked for."""
    predicted: Integers | None
    """Class that the model predicts, int64 [N]; None if it is no classifier."""

    def frame(self, sample: int) -> Frame:
        """Return where a sample lies."""
        return self.frames[sample] if self.frames else Frame()


class FirstPassJob:
    """The first pass, which can go on where an earlier attempt left its files.

    Args:
        network: The model.
        samples: The samples.
        request: Names the layers.
        choose: Returns the units to look at, of a layer with so many.
        files: Where it is kept; what is there of an earlier attempt is used if the journal knows of it.
        journal: Knows where an earlier attempt was.
    """

    def __init__(
        self,
        network: Source,
        samples: Samples,
        request: ExplanationRequest,
        choose: Callable[[str, int], Integers],
        files: ScratchFiles,
        journal: Journal | None = None,
    ) -> None:
        self._network, self._samples, self._request, self._choose = network, samples, request, choose
        self._files, self._journal = files, journal or NoJournal()
        self._table = PatternTable(samples.groups, len(samples.concepts))
        self._ids = Spill(files.open("ids"), (samples.grid[0] * samples.grid[1],), np.dtype(np.int32))
        self._concepts = Spill(files.open("concepts"), (-(-len(samples.concepts) // 8),), np.dtype(np.uint8))
        self._frames = np.zeros((len(samples), 4))
        self._predicted = np.zeros(len(samples), np.int64)
        self._layers: list[_Growing] = []

    def run(self, progress: Progress = lambda _: None) -> FirstPass:
        """Run all samples and keep what is needed of them.

        Args:
            progress: Told the share that is done.
        """
        done = self._restored()
        for number, run in enumerate(runs(self._network, self._samples, done), done):
            self._add(number, run)
            last = number + 1 == len(self._samples)
            self._journal.write(_STAGE, partial(self._state, number + 1), finished=last)
            progress((number + 1) / len(self._samples))
        frames = [Frame((row[0], row[1]), (row[2], row[3])) for row in self._frames.tolist()]
        return FirstPass(
            table=self._table,
            ids=self._ids,
            concepts=self._concepts,
            frames=[] if all(frame.is_whole for frame in frames) else frames,
            layers=[layer.finished() for layer in self._layers],
            predicted=None if self._predicted.min() < 0 else self._predicted,
        )

    def _add(self, number: int, run: Run) -> None:
        if not self._layers:
            self._begin([maps.shape for maps in run.maps])
            for layer in self._layers:
                layer.maps.keep(0)
        ids = self._table.ids(run.labels, visible(self._samples.grid, run.frame))
        present = np.zeros(len(self._samples.concepts), np.bool_)
        present[self._table.concepts_of(self._table.count(ids))] = True
        self._ids.append(ids)
        self._concepts.append(np.packbits(present))
        self._frames[number] = (*run.frame.scale, *run.frame.offset)
        self._predicted[number] = run.predicted
        for layer, maps in zip(self._layers, run.maps, strict=True):
            layer.add(number, maps)

    def _begin(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._layers = [
            _Growing(
                name,
                (units, rows, columns),
                self._choose(name, units),
                self._samples.grid,
                self._files.open(f"maps-{n}"),
            )
            for n, (name, (units, rows, columns)) in enumerate(zip(self._request.layers, shapes, strict=True))
        ]

    def _state(self, count: int) -> State:
        state = self._table.state() | {"done": np.array(count), "frames": self._frames, "predicted": self._predicted}
        for number, layer in enumerate(self._layers):
            state |= {f"{name}_{number}": values for name, values in layer.state().items()}
        return state

    def _restored(self) -> int:
        """Return how many samples need not be run again."""
        state = self._journal.read(_STAGE)
        if state is None:
            self._ids.keep(0)
            self._concepts.keep(0)
            return 0
        count = int(state["done"])
        self._begin([tuple(state[f"shape_{number}"].tolist()) for number in range(len(self._request.layers))])
        if min(len(spill) for spill in (self._ids, self._concepts, *(layer.maps for layer in self._layers))) < count:
            # the files lie on another machine's disk
            self._layers = []
            self._ids.keep(0)
            self._concepts.keep(0)
            return 0
        self._table.restore(state)
        self._ids.keep(count)
        self._concepts.keep(count)
        self._frames, self._predicted = state["frames"], state["predicted"]
        for number, layer in enumerate(self._layers):
            layer.restore({name: state[f"{name}_{number}"] for name in ("strongest", "peaks")}, count)
        return count


class _Growing:
    """A layer while samples come."""

    def __init__(
        self, name: str, shape: tuple[int, int, int], units: Integers, grid: tuple[int, int], file: IO[bytes]
    ) -> None:
        self._name, self._shape, self._units = name, shape, units
        self.maps = Spill(file, (len(units), *shape[1:]), np.dtype(np.float32))
        held = max(1, min(_SHOWN, _MASK_BYTES // max(1, len(units) * grid[0] * grid[1])))
        self._strongest = np.full((len(units), held), -1, np.int64)
        self._peaks = np.full((len(units), held), -np.inf, np.float32)

    def add(self, sample: int, maps: Maps) -> None:
        chosen = maps if len(self._units) == len(maps) else maps[self._units]
        self.maps.append(chosen)
        peaks = chosen.max(axis=(1, 2))
        better = np.flatnonzero(peaks > self._peaks[:, -1])
        if len(better):
            self._peaks[better, -1], self._strongest[better, -1] = peaks[better], sample
            order = np.argsort(-self._peaks[better], axis=1, kind="stable")
            self._peaks[better] = np.take_along_axis(self._peaks[better], order, 1)
            self._strongest[better] = np.take_along_axis(self._strongest[better], order, 1)

    def state(self) -> State:
        return {"shape": np.array(self._shape), "strongest": self._strongest, "peaks": self._peaks}

    def restore(self, state: State, count: int) -> None:
        self._strongest, self._peaks = state["strongest"], state["peaks"]
        self.maps.keep(count)

    def finished(self) -> Layer:
        return Layer(self._name, self._shape, self._units, self.maps, self._strongest, self._peaks)


def formula_masks(
    first: FirstPass, strongest: Integers, vectors: Sequence[Bits | None], pixels: int
) -> NDArray[np.uint8]:
    """Return where each unit's formula holds in the samples in which it is strongest, packed, uint8 [U, T, ⌈pixels/8⌉].

    Args:
        first: The first pass.
        strongest: int64 [U, T].
        vectors: Of each unit's formula, bool [P]; None without one.
        pixels: Of one sample.
    """
    masks = np.zeros((*strongest.shape, -(-pixels // 8)), np.uint8)
    for row, (samples, vector) in enumerate(zip(strongest, vectors, strict=True)):
        if vector is not None:
            known = np.append(vector, False)
            for place, sample in enumerate(samples):
                if sample >= 0:
                    ids = first.ids.rows(int(sample), int(sample) + 1)[0]
                    masks[row, place] = np.packbits(known[ids])
    return masks
