"""Search for the smallest network within a `max_drop` target: measured after rounding, tuned, measured again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import TradeOffPoint
from workers.quantization.mixed.accuracy_meter import AccuracyMeter
from workers.quantization.mixed.candidate_selection import (
    TunedPoint,
    interpolated_index,
    is_close,
    next_index,
    next_rounding_drop,
)
from workers.quantization.mixed.candidates import CandidateNetwork, CandidateTuner
from workers.quantization.mixed.frontier_search import FrontierChoice, bisect, predicted_index
from workers.quantization.mixed.settings import AllocationSettings
from workers.quantization.mixed.trade_off import AllocationResult

_MAX_MEASUREMENTS = 8
_MIN_MEASUREMENTS = 3
_TINY = 1e-9


class _StopError(Exception):
    """The user has asked for the best network so far."""


class DropSearch:
    """Search for the smallest network whose accuracy drops by no more than allowed; see `allocation`.

    Tuned candidates and measured accuracies are part of the checkpoint.

    Args:
        meter: Measures candidates.
        allowed: Largest allowed drop, a fraction of 1.

    Attributes:
        warnings: What a reader of the report should know.
    """

    def __init__(
        self, tuner: CandidateTuner, meter: AccuracyMeter, allowed: float, settings: AllocationSettings
    ) -> None:
        self.warnings: list[str] = []
        self._tuner = tuner
        self._runs = tuner.runs
        self._meter = meter
        self._allowed = allowed
        self._settings = settings
        saved = self._runs.saved
        self._tuned = [CandidateNetwork(**item) for item in saved.setdefault("tuned", [])]
        self._selected: list[int] = saved.setdefault("selected", [])
        self._rounded: dict[int, float] = saved.setdefault("rounded", {})

    def run(self) -> tuple[CandidateNetwork, AllocationResult]:
        """Return the best candidate, and the search that led to it."""
        began = time.monotonic()
        self._rounded_accuracy(len(self._tuner.frontier) - 1)
        count = self._max_measurements(time.monotonic() - began)
        if self._tuner.can_tune:
            self._tune(count)
        else:
            self._search_rounded(self._allowed, count)
        if not self._tuned and self._runs.stopped:
            self._rounded_accuracy(self._predicted_index(self._allowed))
        return self._best()

    def _tune(self, max_measurements: int) -> None:
        """Tune points until one is close to the target, or no point or budget is left."""
        drop = self._settings.rounding_factor * self._allowed
        for number, fraction in enumerate(self._settings.tunings):
            if number == len(self._selected):
                preferred = self._interpolate(drop) if number else self._search_rounded(drop, max_measurements)
                index = next_index(
                    self._tuner.frontier, preferred, self._tuned_points(), self._allowed, self._settings.resolution
                )
                if index is None or self._runs.stop_requested() or (number and self._runs.remaining < 1):
                    return
                self._selected.append(index)
            if number == len(self._tuned) and not self._tune_point(self._selected[number], fraction):
                return
            last = self._tuned_points()[number]
            if self._runs.stopped or is_close(last, self._allowed):
                return
            drop = next_rounding_drop(last, self._allowed)

    def _tune_point(self, index: int, fraction: float) -> bool:
        """Tune a point and measure it; return False if a second or later tuning diverged."""
        before = self._tuned[-1] if self._tuned else None
        try:
            candidate = self._tuner.tune(index, fraction, before)
        except FaceterError as error:
            if error.kind is not ProblemKind.TUNING_DIVERGED or before is None:
                raise
            self.warnings.append(f"A further candidate, with other bits, was dropped. {error.detail}")
            return False
        progress = self._runs.untrained_phase("measuring", 0.0)
        self._rounded_accuracy(index)
        candidate = replace(candidate, accuracy=self._meter(self._tuner.plan(candidate)).after)
        progress(1.0)
        self._tuned.append(candidate)
        self._runs.saved["tuned"].append(vars(candidate))
        return True

    def _tuned_points(self) -> list[TunedPoint]:
        return [
            TunedPoint(
                candidate.index,
                self._original - self._rounded[candidate.index],
                self._original - (candidate.accuracy or 0.0),
            )
            for candidate in self._tuned
        ]

    def _search_rounded(self, drop: float, max_measurements: int) -> int:
        """Return the smallest point measured whose accuracy drops by at most ``drop`` after rounding."""
        progress = self._runs.untrained_phase("searching", self._settings.search)
        first = self._predicted_index(drop)
        count = 0

        def measure(point: TradeOffPoint) -> float:
            nonlocal count
            if self._runs.stop_requested():
                raise _StopError
            count += 1
            progress(min(count / max_measurements, 0.99))
            return self._rounded_accuracy(int(np.searchsorted(self._tuner.frontier.weight_bytes, point.weight_bytes)))

        try:
            minimum = self._original - drop - _TINY
            index = bisect(self._tuner.frontier, measure, minimum, start=first, max_measurements=max_measurements).index
        except _StopError:
            index = first
        progress(1.0)
        return index

    def _interpolate(self, drop: float) -> int:
        """Return the smallest point whose interpolated accuracy drops by at most ``drop`` after rounding."""
        return interpolated_index(self._tuner.frontier, self._rounded, self._original - drop)

    def _predicted_index(self, drop: float) -> int:
        index = predicted_index(self._tuner.frontier, 1.0 - drop)
        return len(self._tuner.frontier) // 2 if index is None else index

    def _rounded_accuracy(self, index: int) -> float:
        """Return the accuracy of a point after rounding alone; measured once."""
        if index not in self._rounded:
            accuracy = self._meter(self._tuner.plan(CandidateNetwork(index)))
            self._rounded[index] = accuracy.after
            self._runs.saved["original"] = accuracy.before
        return self._rounded[index]

    @property
    def _original(self) -> float:
        original: float = self._runs.saved["original"]
        return original

    def _max_measurements(self, seconds: float) -> int:
        """Return how many rounded networks to measure if one takes that long."""
        limit = self._runs.budget.limit_seconds
        if limit is None:
            return _MAX_MEASUREMENTS
        return int(np.clip(self._settings.search * limit / max(seconds, _TINY), _MIN_MEASUREMENTS, _MAX_MEASUREMENTS))

    def _best(self) -> tuple[CandidateNetwork, AllocationResult]:
        """Return the smallest candidate within the allowed drop, else the most accurate one."""
        rounded = [CandidateNetwork(index, accuracy) for index, accuracy in self._rounded.items()]
        accuracies = {candidate: candidate.accuracy or 0.0 for candidate in (*self._tuned, *rounded)}
        minimum = self._original - self._allowed - _TINY
        meeting = [candidate for candidate, accuracy in accuracies.items() if accuracy >= minimum]
        if meeting:
            best = min(meeting, key=lambda candidate: (candidate.index, -accuracies[candidate]))
        else:
            best = min(accuracies, key=lambda candidate: (-accuracies[candidate], candidate.index))
        measured: Mapping[int, float] = {item.index: accuracies[item] for item in (*rounded, *self._tuned, best)}
        tuned = {candidate.index for candidate in self._tuned if candidate.step}
        if not best.step:
            tuned.discard(best.index)
        choice = FrontierChoice(best.index, bool(meeting), measured)
        return best, AllocationResult(self._tuner.frontier, choice, frozenset(tuned))
