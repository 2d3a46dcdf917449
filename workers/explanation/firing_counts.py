"""The second pass: where units fire, counted by unit and pattern.

Memory grows with the number of samples by one bit per unit and sample only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.host import processor_count
from workers.explanation.activation_thresholds import sample_blocks
from workers.explanation.activations import Maps
from workers.explanation.parallel import map_in_order
from workers.explanation.pattern_count_files import PatternCountFiles
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.explanation.search.patterns import Bits
from workers.explanation.upsampling import Upsampler
from workers.host import torch_threads
from workers.jobs.scratch import ScratchFiles

_BLOCK_PIXELS = 2**19


@dataclass(frozen=True)
class FiringCounts:
    """Where units of a layer fire."""

    thresholds: NDArray[np.float32]
    """Activation threshold of each unit, float32 [U]."""
    pattern_counts: PatternCountFiles
    """u, pixels by unit and pattern."""
    candidates: Bits
    """Concepts that occur in samples where a unit fires, bool [U, K]."""
    samples: NDArray[np.uint8]
    """Samples in which each unit fires, packed bits, uint8 [U, ⌈N/8⌉]."""
    masks: NDArray[np.uint8]
    """Firing masks in the samples with the highest activations, packed bits, uint8 [U, T, ⌈pixels/8⌉]."""


def count_firings(
    recorded: RecordedActivations,
    layer: LayerActivations,
    thresholds: NDArray[np.float32],
    probe: ProbeDataset,
    device: torch.device,
    files: ScratchFiles,
    progress: Callable[[float], None] = lambda _: None,
) -> FiringCounts:
    """Count where units of a layer fire.

    Args:
        recorded: The activations.
        layer: One of its layers.
        thresholds: Activation thresholds, float32 [U].
        probe: The probe dataset.
        device: Where maps are upsampled.
        files: Where counts are written.
        progress: Called with the fraction done.
    """
    units, count, concepts = len(thresholds), len(layer.maps), len(probe.concepts)
    candidates, fired, masks = empty_firings(layer, probe, count)
    counter = _FiringCounter(recorded, layer, thresholds, probe.grid, device)
    pattern_counts = PatternCountFiles(files, "counts", units, len(recorded.table))
    with torch_threads(1):
        for block in map_in_order(lambda span: counter.count(*span), list(sample_blocks(layer)), processor_count()):
            for firings in block:
                sample = firings.sample
                pattern_counts.add(*firings.entries)
                candidates[firings.units] |= (
                    np.unpackbits(recorded.concepts.rows(sample, sample + 1)[0], count=concepts) > 0
                )
                fired[firings.units, sample >> 3] |= np.uint8(128 >> (sample & 7))
                for unit, mask in firings.masks.items():
                    masks[unit, layer.strongest[unit] == sample] = mask
                progress((sample + 1) / count)
    return FiringCounts(thresholds, pattern_counts, candidates, fired, masks)


def empty_firings(
    layer: LayerActivations, probe: ProbeDataset, count: int
) -> tuple[Bits, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return ``candidates``, ``samples`` and ``masks`` of `FiringCounts` for samples in which no unit fires."""
    units, pixels = len(layer.units), probe.grid[0] * probe.grid[1]
    candidates = np.zeros((units, len(probe.concepts)), np.bool_)
    fired = np.zeros((units, -(-count // 8)), np.uint8)
    return candidates, fired, np.zeros((*layer.strongest.shape, -(-pixels // 8)), np.uint8)


@dataclass(frozen=True)
class _SampleFirings:
    """Firings in one sample."""

    sample: int
    units: Integers
    """Units that fire, ascending."""
    entries: tuple[Integers, Integers, Integers]
    """Unit, pattern and number of pixels."""
    masks: dict[int, NDArray[np.uint8]]
    """Packed firing masks by unit, where the sample is one of the unit's strongest."""


class _FiringCounter:
    """Counts firings in blocks of samples. Safe to call from several threads."""

    def __init__(
        self,
        recorded: RecordedActivations,
        layer: LayerActivations,
        thresholds: NDArray[np.float32],
        grid: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._recorded, self._layer, self._grid, self._device = recorded, layer, grid, device
        self._thresholds = torch.from_numpy(thresholds).to(device)
        self._whole = Upsampler(grid, layer.shape[1:], device=device)

    def count(self, start: int, stop: int) -> list[_SampleFirings]:
        """Return the firings in samples [start, stop), without samples where no unit fires."""
        maps = self._layer.maps.rows(start, stop)
        ids = self._recorded.pattern_ids.rows(start, stop)
        counted = [self._count_sample(start + row, maps[row], ids[row]) for row in range(stop - start)]
        return [firings for firings in counted if firings is not None]

    @torch.inference_mode()
    def _count_sample(self, sample: int, maps: Maps, ids: NDArray[np.int32]) -> _SampleFirings | None:
        values = torch.from_numpy(maps).to(self._device)
        # interpolation never exceeds the largest cell, so a unit whose peak is below its threshold fires nowhere
        active = torch.nonzero(values.amax(dim=(1, 2)) > self._thresholds).squeeze(1)
        placement = self._recorded.placement(sample)
        upsampler = (
            self._whole if placement.is_whole else Upsampler(self._grid, self._layer.shape[1:], placement, self._device)
        )
        blocks = []
        for units in torch.split(active, max(1, _BLOCK_PIXELS // len(ids))):
            row, pixel = (axis.cpu().numpy() for axis in upsampler.firing(values[units], self._thresholds[units]))
            blocks.append((units.cpu().numpy()[row], pixel))
        if not blocks:
            return None
        unit, pixel = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        pattern = ids[pixel].astype(np.int64)
        if not placement.is_whole:
            unit, pixel, pattern = unit[pattern >= 0], pixel[pattern >= 0], pattern[pattern >= 0]
        if not len(unit):
            return None
        keys, counts = np.unique(unit * len(self._recorded.table) + pattern, return_counts=True)
        entries = (*np.divmod(keys, len(self._recorded.table)), counts)
        fired = np.unique(entries[0])
        return _SampleFirings(sample, fired, entries, self._masks(sample, fired, unit, pixel, len(ids)))

    def _masks(
        self, sample: int, fired: Integers, unit: Integers, pixel: Integers, pixels: int
    ) -> dict[int, NDArray[np.uint8]]:
        shown = fired[(self._layer.strongest[fired] == sample).any(axis=1)]
        masks = {}
        for number in shown.tolist():
            mask = np.zeros(pixels, np.bool_)
            mask[pixel[unit == number]] = True
            masks[number] = np.packbits(mask)
        return masks
