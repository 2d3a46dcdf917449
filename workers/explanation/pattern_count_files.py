"""Counts by unit and pattern in files on disk, one file for each slice of units."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from workers.explanation.probe.dataset import Integers
from workers.explanation.search.patterns import Floats
from workers.jobs.scratch import ScratchFiles, write_rows

_SLICE_BYTES = 2**28
_BUFFERED_ENTRIES = 2**18

_ENTRY = np.dtype([("unit", np.int32), ("pattern", np.int32), ("count", np.int32)])


class PatternCountFiles:
    """Collects counts sample by sample and sums them slice by slice.

    Args:
        files: Where the files lie.
        name: Prefix of their names.
        units: U, number of units.
        patterns: P, number of patterns.
    """

    def __init__(self, files: ScratchFiles, name: str, units: int, patterns: int) -> None:
        self._patterns = patterns
        size = max(1, _SLICE_BYTES // (8 * max(1, patterns)))
        self.slices = [slice(start, min(start + size, units)) for start in range(0, units, size)]
        """The units of each file."""
        self._files = [files.open(f"{name}-{part.start}", fresh=True) for part in self.slices]
        self._buffer: list[NDArray[np.void]] = []
        self._buffered = 0

    def add(self, units: Integers, patterns: Integers, counts: Integers) -> None:
        """Add the counts of a sample: unit, pattern and number of pixels, int64 [n] each."""
        entries = np.empty(len(units), _ENTRY)
        entries["unit"], entries["pattern"], entries["count"] = units, patterns, counts
        self._buffer.append(entries)
        self._buffered += len(entries)
        if self._buffered > _BUFFERED_ENTRIES:
            self._flush()

    def counts(self, number: int) -> Floats:
        """Return the counts of one slice of units, float64 [U, P]."""
        self._flush()
        part = self.slices[number]
        counts = np.zeros((part.stop - part.start) * self._patterns)
        for entries in self._entries(number):
            places = (entries["unit"].astype(np.int64) - part.start) * self._patterns + entries["pattern"]
            np.add.at(counts, places, entries["count"])
        return counts.reshape(-1, self._patterns)

    def entries(self) -> Integers:
        """Return all counts that are not 0 as unit, pattern and number of pixels, int64 [3, n]."""
        parts = []
        for number, part in enumerate(self.slices):
            counts = self.counts(number)
            units, patterns = np.nonzero(counts)
            parts.append(np.stack([units + part.start, patterns, counts[units, patterns].astype(np.int64)]))
        return np.concatenate(parts, axis=1)

    def _entries(self, number: int) -> Iterator[NDArray[np.void]]:
        file = self._files[number]
        file.seek(0)
        while content := file.read(_BUFFERED_ENTRIES * _ENTRY.itemsize):
            yield np.frombuffer(content, _ENTRY)

    def _flush(self) -> None:
        if not self._buffer:
            return
        entries = np.concatenate(self._buffer)
        entries = entries[np.argsort(entries["unit"], kind="stable")]
        ends = np.searchsorted(entries["unit"], [part.start for part in self.slices[1:]])
        for file, some in zip(self._files, np.split(entries, ends), strict=True):
            file.seek(0, 2)
            write_rows(file, some)
        self._buffer, self._buffered = [], 0
