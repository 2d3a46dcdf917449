"""Where units fire: thresholds, found in the files of the first pass, and in a second pass counts by unit and pattern.

Memory does not grow with the number of samples, but for a bit for each unit and sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.buckets import Buckets
from workers.explanation.first_pass import FirstPass, Layer, Progress
from workers.explanation.patterns import Bits
from workers.explanation.samples import Integers, Samples
from workers.explanation.sampling import Sampler
from workers.explanation.stream import Maps, in_order
from workers.explanation.thresholds import thresholds
from workers.host import processor_count, torch_threads
from workers.jobs.scratch import ScratchFiles

QUANTILE = 0.005
"""Share of activations over the threshold if nothing is said, as published."""

TEXT_THRESHOLD = 0.0
"""Threshold of units of text models if nothing is said: where a ReLU lets something through."""

_READ_BYTES = 2**23
_PIXELS_AT_ONCE = 2**19


@dataclass(frozen=True)
class Counts:
    """A layer after the second pass."""

    thresholds: NDArray[np.float32]
    """Each unit fires where its activation is over this, float32 [U]."""
    buckets: Buckets
    """u, pixels by unit and pattern."""
    candidates: Bits
    """Which concepts there are in samples where a unit fires, bool [U, K]."""
    samples: NDArray[np.uint8]
    """In which samples it fires, packed bits, uint8 [U, ⌈N/8⌉]."""
    masks: NDArray[np.uint8]
    """Where it fires in the samples in which it is strongest, packed bits, uint8 [U, T, ⌈pixels/8⌉]."""


def layer_thresholds(layer: Layer, request: ExplanationRequest, *, about: str) -> NDArray[np.float32]:
    """Return over what each unit of a layer fires, float32 [U]."""
    count = len(layer.units)
    if request.threshold is not None:
        return np.full(count, request.threshold, np.float32)
    if request.quantile is None and about == "text":
        return np.full(count, TEXT_THRESHOLD, np.float32)

    def passes() -> Iterator[Maps]:
        for _, block in _blocks(layer):
            yield np.ascontiguousarray(block.transpose(1, 0, 2, 3)).reshape(count, -1)

    return thresholds(passes, count, QUANTILE if request.quantile is None else request.quantile)


def second_pass(
    first: FirstPass,
    layer: Layer,
    over: NDArray[np.float32],
    samples: Samples,
    device: torch.device,
    files: ScratchFiles,
    progress: Progress = lambda _: None,
) -> Counts:
    """Count where units of a layer fire.

    Args:
        first: The first pass.
        layer: One of its layers.
        over: Thresholds of its units, float32 [U].
        samples: The samples.
        device: Where maps are brought to pixels.
        files: Where counts are kept.
        progress: Told the share that is done.
    """
    units, pixels, concepts = len(over), samples.grid[0] * samples.grid[1], len(samples.concepts)
    candidates = np.zeros((units, concepts), np.bool_)
    fired = np.zeros((units, -(-len(samples) // 8)), np.uint8)
    masks = np.zeros((*layer.strongest.shape, -(-pixels // 8)), np.uint8)
    counter = _Counter(first, layer, over, samples.grid, device)
    buckets = Buckets(files, "counts", units, len(first.table))
    with torch_threads(1):
        for found in in_order(lambda span: counter.count(*span), list(_spans(layer)), processor_count()):
            for hit in found:
                buckets.add(*hit.entries)
                candidates[hit.units] |= (
                    np.unpackbits(first.concepts.rows(hit.sample, hit.sample + 1)[0], count=concepts) > 0
                )
                fired[hit.units, hit.sample >> 3] |= np.uint8(128 >> (hit.sample & 7))
                for unit, mask in hit.masks.items():
                    masks[unit, layer.strongest[unit] == hit.sample] = mask
                progress((hit.sample + 1) / len(samples))
    return Counts(over, buckets, candidates, fired, masks)


@dataclass(frozen=True)
class _Hit:
    """A sample in which units fire."""

    sample: int
    units: Integers
    """Those that do, rising."""
    entries: tuple[Integers, Integers, Integers]
    """Unit, pattern and how many pixels."""
    masks: dict[int, NDArray[np.uint8]]
    """Packed masks by unit, of those for which the sample is among the strongest."""


class _Counter:
    """Counts sample by sample; safe from several threads at once."""

    def __init__(
        self,
        first: FirstPass,
        layer: Layer,
        over: NDArray[np.float32],
        grid: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._first, self._layer, self._grid, self._device = first, layer, grid, device
        self._over = torch.from_numpy(over).to(device)
        self._whole = Sampler(grid, layer.shape[1:], device=device)

    def count(self, start: int, stop: int) -> list[_Hit]:
        """Return what is found in samples [start, stop)."""
        maps = self._layer.maps.rows(start, stop)
        ids = self._first.ids.rows(start, stop)
        return [hit for row in range(stop - start) if (hit := self._hit(start + row, maps[row], ids[row])) is not None]

    @torch.inference_mode()
    def _hit(self, sample: int, maps: Maps, ids: NDArray[np.int32]) -> _Hit | None:
        values = torch.from_numpy(maps).to(self._device)
        # what lies between two values is never over the larger, so units whose largest is not over fire nowhere
        active = torch.nonzero(values.amax(dim=(1, 2)) > self._over).squeeze(1)
        frame = self._first.frame(sample)
        bring = self._whole if frame.is_whole else Sampler(self._grid, self._layer.shape[1:], frame, self._device)
        found = []
        for units in torch.split(active, max(1, _PIXELS_AT_ONCE // len(ids))):
            row, pixel = (axis.cpu().numpy() for axis in bring.firing(values[units], self._over[units]))
            found.append((units.cpu().numpy()[row], pixel))
        if not found:
            return None
        unit, pixel = (np.concatenate(parts) for parts in zip(*found, strict=True))
        pattern = ids[pixel].astype(np.int64)
        if not frame.is_whole:
            unit, pixel, pattern = unit[pattern >= 0], pixel[pattern >= 0], pattern[pattern >= 0]
        if not len(unit):
            return None
        keys, counts = np.unique(unit * len(self._first.table) + pattern, return_counts=True)
        entries = (*np.divmod(keys, len(self._first.table)), counts)
        fired = np.unique(entries[0])
        return _Hit(sample, fired, entries, self._masks(sample, fired, unit, pixel, len(ids)))

    def _masks(
        self, sample: int, fired: Integers, unit: Integers, pixel: Integers, pixels: int
    ) -> dict[int, NDArray[np.uint8]]:
        shown = fired[(self._layer.strongest[fired] == sample).any(axis=1)]
        masks = {}
        for one in shown.tolist():
            mask = np.zeros(pixels, np.bool_)
            mask[pixel[unit == one]] = True
            masks[one] = np.packbits(mask)
        return masks


def _spans(layer: Layer) -> Iterator[tuple[int, int]]:
    size = max(1, _READ_BYTES // (4 * len(layer.units) * layer.shape[1] * layer.shape[2]))
    for start in range(0, len(layer.maps), size):
        yield start, min(start + size, len(layer.maps))


def _blocks(layer: Layer) -> Iterable[tuple[int, Maps]]:
    for start, stop in _spans(layer):
        yield start, layer.maps.rows(start, stop)
