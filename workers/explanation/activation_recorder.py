"""The first pass: run the model once on every sample and write activation maps and patterns to files of the job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import IO

import numpy as np

from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.activations import ActivationExtractor, Maps, SampleActivations, stream_activations
from workers.explanation.pattern_table import PatternTable
from workers.explanation.probe.dataset import InputPlacement, Integers, ProbeDataset
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.explanation.row_file import RowFile
from workers.explanation.upsampling import visible_pixels
from workers.jobs.division import Arrays
from workers.jobs.journal import Journal, NoJournal, State
from workers.jobs.scratch import ScratchFiles

_MASK_BYTES = 2**26
_MAX_EXAMPLES = 6
_STAGE = "samples"


class ActivationRecorder:
    """Records activations; can resume from the files of an earlier attempt.

    Args:
        extractor: Runs the model.
        probe: The probe dataset.
        request: Names the layers.
        select_units: From a layer's name and number of units to the units to explain.
        files: Where activations are written; files of an earlier attempt are used if the journal knows them.
        journal: State of an earlier attempt.
    """

    def __init__(
        self,
        extractor: ActivationExtractor,
        probe: ProbeDataset,
        request: ExplanationRequest,
        select_units: Callable[[str, int], Integers],
        files: ScratchFiles,
        journal: Journal | None = None,
    ) -> None:
        self._extractor, self._probe, self._request, self._select_units = extractor, probe, request, select_units
        self._files, self._journal = files, journal or NoJournal()
        self._table = PatternTable(probe.label_maps, len(probe.concepts))
        self._pattern_ids = RowFile(files.open("ids"), (probe.grid[0] * probe.grid[1],), np.dtype(np.int32))
        self._concepts = RowFile(files.open("concepts"), (-(-len(probe.concepts) // 8),), np.dtype(np.uint8))
        self._placements = np.zeros((len(probe), 4))
        self._predicted = np.zeros(len(probe), np.int64)
        self._layers: list[_LayerRecorder] = []

    def record(self, progress: Callable[[float], None] = lambda _: None) -> RecordedActivations:
        """Run all samples.

        Args:
            progress: Called with the fraction done.
        """
        done = self._restored()
        for number, sample in enumerate(stream_activations(self._extractor, self._probe, done), done):
            self._add(number, sample)
            last = number + 1 == len(self._probe)
            self._journal.write(_STAGE, partial(self._state, number + 1), finished=last)
            progress((number + 1) / len(self._probe))
        return self._recorded(slice(0, len(self._probe)))

    def part(self, start: int, stop: int, progress: Callable[[float], None] = lambda _: None) -> State:
        """Run some samples only, and return what `merge` takes; its largest arrays are read from files when used.

        Args:
            start: First sample, at which a batch of the whole begins.
            stop: Sample after the last.
            progress: Called with the fraction done.
        """
        lengths = np.zeros(stop - start, np.int64)
        for rows in self._row_files():
            rows.truncate(0)
        for done, sample in enumerate(stream_activations(self._extractor, self._probe, start, stop), 1):
            self._add(start + done - 1, sample)
            lengths[done - 1] = len(self._table)
            progress(done / len(lengths))
        state = self._state(start)
        for name in ("placements", "predicted"):
            state[name] = state[name][start:stop]
        state |= {"lengths": lengths, "ids": self._pattern_ids.mapped(), "concepts": self._concepts.mapped()}
        return state | {f"maps_{number}": layer.maps.mapped() for number, layer in enumerate(self._layers)}

    def merge(self, parts: Iterable[Arrays], numbers: list[Integers] | None = None) -> RecordedActivations:
        """Record the samples of parts, in order and without gaps; they come out as if they were run together.

        Args:
            parts: Of `part`.
            numbers: Gets for each part the number of each of its patterns.
        """
        for rows in self._row_files():
            rows.truncate(0)
        start = stop = 0
        for place, part in enumerate(parts):
            first = int(part["done"])
            start, stop = start if place else first, first + len(part["lengths"])
            self._placements[first:stop], self._predicted[first:stop] = part["placements"], part["predicted"]
            table = PatternTable(self._probe.label_maps, len(self._probe.concepts))
            table.restore(part)
            new = self._table.merge(table, part["lengths"])
            if numbers is not None:
                numbers.append(new)
            ids = part["ids"]
            # pattern −1 reads the last entry
            self._pattern_ids.append(np.append(new, -1).astype(np.int32)[ids])
            self._concepts.append(part["concepts"])
            if not self._layers:
                shapes = [tuple(part[f"shape_{number}"].tolist()) for number in range(len(self._request.layers))]
                self._open_layers(shapes)
                for layer in self._layers:
                    layer.maps.truncate(0)
            for number, layer in enumerate(self._layers):
                layer.maps.append(part[f"maps_{number}"])
                layer.merge(part[f"strongest_{number}"], part[f"peaks_{number}"])
        return self._recorded(slice(start, stop))

    def _recorded(self, samples: slice) -> RecordedActivations:
        rows = self._placements[samples].tolist()
        placements = [InputPlacement((row[0], row[1]), (row[2], row[3])) for row in rows]
        predicted = self._predicted[samples]
        return RecordedActivations(
            table=self._table,
            pattern_ids=self._pattern_ids,
            concepts=self._concepts,
            placements=[] if all(placement.is_whole for placement in placements) else placements,
            layers=[layer.finished() for layer in self._layers],
            predicted=None if predicted.min() < 0 else predicted,
        )

    def _add(self, number: int, sample: SampleActivations) -> None:
        if not self._layers:
            self._open_layers([maps.shape for maps in sample.maps])
            for layer in self._layers:
                layer.maps.truncate(0)
        ids = self._table.ids(sample.concepts, visible_pixels(self._probe.grid, sample.placement))
        present = np.zeros(len(self._probe.concepts), np.bool_)
        present[self._table.concepts_of(self._table.count(ids))] = True
        self._pattern_ids.append(ids)
        self._concepts.append(np.packbits(present))
        self._placements[number] = (*sample.placement.scale, *sample.placement.offset)
        self._predicted[number] = sample.predicted
        for layer, maps in zip(self._layers, sample.maps, strict=True):
            layer.add(number, maps)

    def _open_layers(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self._layers = [
            _LayerRecorder(
                name,
                (units, rows, columns),
                self._select_units(name, units),
                self._probe.grid,
                self._files.open(f"maps-{number}"),
            )
            for number, (name, (units, rows, columns)) in enumerate(zip(self._request.layers, shapes, strict=True))
        ]

    def _state(self, count: int) -> State:
        state = self._table.state() | {
            "done": np.array(count),
            "placements": self._placements,
            "predicted": self._predicted,
        }
        for number, layer in enumerate(self._layers):
            state |= {f"{name}_{number}": values for name, values in layer.state().items()}
        return state

    def _restored(self) -> int:
        """Return how many samples an earlier attempt recorded; 0 if its files are not on this disk."""
        state = self._journal.read(_STAGE)
        count = 0 if state is None else int(state["done"])
        if state is not None:
            self._open_layers([tuple(state[f"shape_{number}"].tolist()) for number in range(len(self._request.layers))])
            if min(len(rows) for rows in self._row_files()) < count:
                self._layers, count = [], 0
        for rows in self._row_files():
            rows.truncate(count)
        if state is not None and count:
            self._table.restore(state)
            self._placements, self._predicted = state["placements"], state["predicted"]
            for number, layer in enumerate(self._layers):
                layer.restore({name: state[f"{name}_{number}"] for name in ("strongest", "peaks")})
        return count

    def _row_files(self) -> list[RowFile]:
        return [self._pattern_ids, self._concepts, *(layer.maps for layer in self._layers)]


class _LayerRecorder:
    """Records one layer."""

    def __init__(
        self, name: str, shape: tuple[int, int, int], units: Integers, grid: tuple[int, int], file: IO[bytes]
    ) -> None:
        self._name, self._shape, self._units = name, shape, units
        self.maps = RowFile(file, (len(units), *shape[1:]), np.dtype(np.float32))
        examples = max(1, min(_MAX_EXAMPLES, _MASK_BYTES // max(1, len(units) * grid[0] * grid[1])))
        self._strongest = np.full((len(units), examples), -1, np.int64)
        self._peaks = np.full((len(units), examples), -np.inf, np.float32)

    def add(self, sample: int, maps: Maps) -> None:
        selected = maps if len(self._units) == len(maps) else maps[self._units]
        self.maps.append(selected)
        peaks = selected.max(axis=(1, 2))
        better = np.flatnonzero(peaks > self._peaks[:, -1])
        if len(better):
            self._peaks[better, -1], self._strongest[better, -1] = peaks[better], sample
            order = np.argsort(-self._peaks[better], axis=1, kind="stable")
            self._peaks[better] = np.take_along_axis(self._peaks[better], order, 1)
            self._strongest[better] = np.take_along_axis(self._strongest[better], order, 1)

    def merge(self, strongest: Integers, peaks: Maps) -> None:
        """Add the strongest samples of later ones; of equal ones, earlier samples come first."""
        every, peak = np.hstack([self._strongest, strongest]), np.hstack([self._peaks, peaks])
        order = np.argsort(-peak, axis=1, kind="stable")[:, : self._peaks.shape[1]]
        self._strongest, self._peaks = np.take_along_axis(every, order, 1), np.take_along_axis(peak, order, 1)

    def state(self) -> State:
        return {"shape": np.array(self._shape), "strongest": self._strongest, "peaks": self._peaks}

    def restore(self, state: State) -> None:
        self._strongest, self._peaks = state["strongest"], state["peaks"]

    def finished(self) -> LayerActivations:
        return LayerActivations(self._name, self._shape, self._units, self.maps, self._strongest, self._peaks)
