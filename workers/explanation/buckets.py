"""Counts by unit and pattern, kept on disk until a slice of units is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.explanation.patterns import Floats
from workers.explanation.samples import Integers
from workers.jobs.scratch import ScratchFiles, write_rows

_SLICE_BYTES = 2**28
_WAITING = 2**18

_ENTRY = np.dtype([("unit", np.int32), ("pattern", np.int32), ("count", np.int32)])


class Buckets:
    """Counts as they come, sample after sample, in one file for each slice of units.

    Args:
        files: Where they lie.
        name: What their names begin with.
        units: U, how many units there are.
        patterns: P, how many patterns.
    """

    def __init__(self, files: ScratchFiles, name: str, units: int, patterns: int) -> None:
        self._patterns = patterns
        size = max(1, _SLICE_BYTES // (8 * max(1, patterns)))
        self.slices = [slice(start, min(start + size, units)) for start in range(0, units, size)]
        """The units of each file."""
        self._files = [files.open(f"{name}-{part.start}", fresh=True) for part in self.slices]
        self._waiting: list[NDArray[np.void]] = []
        self._held = 0

    def add(self, units: Integers, patterns: Integers, counts: Integers) -> None:
        """Add counts of a sample, int64 [n] each: unit, pattern and how many pixels."""
        entries = np.empty(len(units), _ENTRY)
        entries["unit"], entries["pattern"], entries["count"] = units, patterns, counts
        self._waiting.append(entries)
        self._held += len(entries)
        if self._held > _WAITING:
            self._write()

    def counts(self, number: int) -> Floats:
        """Return the counts of one slice of units, float64 [U, P]."""
        self._write()
        part = self.slices[number]
        counts = np.zeros((part.stop - part.start) * self._patterns)
        for entries in self._entries(number):
            places = (entries["unit"].astype(np.int64) - part.start) * self._patterns + entries["pattern"]
            np.add.at(counts, places, entries["count"])
        return counts.reshape(-1, self._patterns)

    def _entries(self, number: int) -> Iterator[NDArray[np.void]]:
        file = self._files[number]
        file.seek(0)
        while content := file.read(_WAITING * _ENTRY.itemsize):
            yield np.frombuffer(content, _ENTRY)

    def _write(self) -> None:
        if not self._waiting:
            return
        entries = np.concatenate(self._waiting)
        entries = entries[np.argsort(entries["unit"], kind="stable")]
        ends = np.searchsorted(entries["unit"], [part.start for part in self.slices[1:]])
        for file, some in zip(self._files, np.split(entries, ends), strict=True):
            file.seek(0, 2)
            write_rows(file, some)
        self._waiting, self._held = [], 0
