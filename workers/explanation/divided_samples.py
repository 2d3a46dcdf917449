"""Both passes over the samples by shards of samples, with the result of the undivided passes to the bit.

Round `samples` records a range of samples in each shard, with patterns numbered by themselves; the job gives them the
numbers of the whole. Round `firings` counts where units fire in the same ranges, from the recorded parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.activation_thresholds import activation_thresholds
from workers.explanation.activations import ActivationExtractor
from workers.explanation.firing_counts import FiringCounts, count_firings, empty_firings
from workers.explanation.pattern_count_files import PatternCountFiles
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.jobs.division import Arrays, Division, Part, Shard, plan_shards
from workers.jobs.journal import State
from workers.jobs.scratch import ScratchFiles
from workers.jobs.stages import Stage

SAMPLES: Final = "samples"
FIRINGS: Final = "firings"
_THRESHOLDS: Final = "thresholds"
_BITS_OF_A_BYTE: Final = 8
_MOST_PIXELS: Final = 2**31 - 1
"""Pixels of a shard, whose counts are int32."""


class DividedSamples:
    """The passes over the samples of an explanation.

    Args:
        division: How the job is divided.
        recorder: Records samples.
        probe: The probe dataset.
        extractor: Runs the model.
        files: Files of the job, or of the shard.
    """

    def __init__(
        self,
        division: Division,
        recorder: ActivationRecorder,
        probe: ProbeDataset,
        extractor: ActivationExtractor,
        files: ScratchFiles,
    ) -> None:
        self._division, self._recorder, self._probe = division, recorder, probe
        self._device, self._files = extractor.device, files
        # a shard begins where the undivided job begins a batch, and where it begins a byte of bits of samples
        self._unit = math.lcm(extractor.batch_size(probe), _BITS_OF_A_BYTE)
        self._numbers: list[Integers] = []
        self._firings: Sequence[Part] = ()

    def record(self, progress: Stage) -> RecordedActivations:
        """Run all samples; a shard of the round `firings` counts in its own instead, and does not return.

        Args:
            progress: The part of the job that this is.
        """
        if self._division.computing == FIRINGS:
            self._count(progress)
        parts = self._division.parts(SAMPLES, self._plan, self._record_part, progress)
        if parts is None:
            return self._recorder.record(progress)
        return self._recorder.merge((part.load() for part in parts), self._numbers)

    def count(
        self, recorded: RecordedActivations, request: ExplanationRequest, progress: Stage
    ) -> Callable[[LayerActivations], FiringCounts] | None:
        """Count where units fire by the shards of `record`; None if there were none.

        Args:
            recorded: The activations.
            request: Says what activation thresholds are.
            progress: The part of the job that this is.

        Returns:
            From a layer to its counts.
        """
        if not self._numbers:
            return None
        kept = self._division.kept(_THRESHOLDS)
        if kept is None:
            state: State = {}
            for number, layer in enumerate(recorded.layers):
                progress(0.0, f"thresholds of {layer.name}")
                thresholds = activation_thresholds(layer, request, about=self._probe.about)
                state |= {f"thresholds_{number}": thresholds, f"strongest_{number}": layer.strongest}
            self._division.keep(_THRESHOLDS, state)
            kept = state
        self._firings = self._count(progress)
        by_layer = kept
        return lambda layer: self._merged(recorded, layer, by_layer)

    def _plan(self, size: float) -> list[Shard]:
        """Return ranges of units of samples; the cost is the number of samples."""
        count = len(self._probe)
        costs = [float(min(self._unit, count - start)) for start in range(0, count, self._unit)]
        return plan_shards(SAMPLES, costs, min(size, _MOST_PIXELS // math.prod(self._probe.grid)))

    def _record_part(self, shard: Shard, progress: Stage) -> State:
        start, stop = shard.start * self._unit, min(shard.stop * self._unit, len(self._probe))
        return self._recorder.part(start, stop, progress)

    def _count(self, progress: Stage) -> Sequence[Part]:
        parts = self._division.parts(FIRINGS, self._plan, self._count_part, progress)
        assert parts is not None, "a job whose samples are divided counts by the same shards"
        return parts

    def _count_part(self, shard: Shard, progress: Stage) -> State:
        """Count in the samples of a shard, by its own numbers of samples and patterns."""
        part, kept = self._division.earlier(SAMPLES, shard), self._division.kept(_THRESHOLDS)
        assert kept is not None, "thresholds come before the shards that need them"
        recorded = self._recorder.merge([part])
        start, state, count = int(part["done"]), State(), len(recorded.layers)
        for number, layer in enumerate(recorded.layers):
            strongest = kept[f"strongest_{number}"] - start
            own = replace(recorded, layers=[replace(layer, strongest=strongest)])
            counts = count_firings(
                own,
                own.layers[0],
                kept[f"thresholds_{number}"],
                self._probe,
                self._device,
                self._files,
                progress.part(number / count, (number + 1) / count),
            )
            shown = np.nonzero((strongest >= 0) & (strongest < len(layer.maps)))
            state |= {
                f"entries_{number}": counts.pattern_counts.entries(),
                f"candidates_{number}": np.packbits(counts.candidates, axis=1),
                f"samples_{number}": counts.samples,
                f"shown_{number}": np.stack(shown),
                f"masks_{number}": counts.masks[shown],
            }
        return state | {"start": np.array(start)}

    def _merged(self, recorded: RecordedActivations, layer: LayerActivations, kept: Arrays) -> FiringCounts:
        number = next(number for number, one in enumerate(recorded.layers) if one is layer)
        candidates, fired, masks = empty_firings(layer, self._probe, len(self._probe))
        pattern_counts = PatternCountFiles(self._files, "counts", len(layer.units), len(recorded.table))
        for part, patterns in zip(self._firings, self._numbers, strict=True):
            state = part.load()
            entries = state[f"entries_{number}"]
            pattern_counts.add(entries[0], patterns[entries[1]], entries[2])
            candidates |= np.unpackbits(state[f"candidates_{number}"], axis=1, count=candidates.shape[1]) > 0
            first, samples = int(state["start"]) // _BITS_OF_A_BYTE, state[f"samples_{number}"]
            fired[:, first : first + samples.shape[1]] = samples
            masks[tuple(state[f"shown_{number}"])] = state[f"masks_{number}"]
        return FiringCounts(kept[f"thresholds_{number}"], pattern_counts, candidates, fired, masks)
