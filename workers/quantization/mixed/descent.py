"""The smallest network that loses no more than is allowed: measured after rounding, tuned, measured again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import TradeOffPoint
from workers.quantization.mixed.choice import Choice, Reached, search, start_of
from workers.quantization.mixed.grading import Grader
from workers.quantization.mixed.policy import Try, between, foretold, near_enough, next_loss
from workers.quantization.mixed.shares import Shares
from workers.quantization.mixed.tries import Network, Tuner

_MOST_MEASURED = 8
_FEWEST_MEASURED = 3
_TINY = 1e-9


class _StopError(Exception):
    """Someone wants the run to end."""


class Descent:
    """A search for the smallest network that loses no more than is allowed; see `workers.quantization.target`.

    Args:
        tuner: Makes networks of points.
        grader: Measures them.
        allowed: What may be lost, a share of 1.
        shares: How the budget is spent.

    Attributes:
        notes: What a reader of the report should know.
    """

    def __init__(self, tuner: Tuner, grader: Grader, allowed: float, shares: Shares) -> None:
        self.notes: list[str] = []
        self._tuner = tuner
        self._parts = tuner.parts
        self._grader = grader
        self._allowed = allowed
        self._shares = shares
        kept = self._parts.kept
        self._tries = [Network(**item) for item in kept.setdefault("tries", [])]
        self._decided: list[int] = kept.setdefault("decided", [])
        self._rounded: dict[int, float] = kept.setdefault("rounded", {})

    def run(self) -> tuple[Network, Reached]:
        """Return the network to hand over, and where on the frontier it is."""
        began = time.monotonic()
        self._after_rounding(len(self._tuner.frontier) - 1)
        most = self._most_measured(time.monotonic() - began)
        if self._tuner.tunes:
            self._tune(most)
        else:
            self._sought(self._allowed, most)
        if not self._tries and self._parts.stopped:
            self._after_rounding(self._predicted(self._allowed))
        return self._best()

    def _tune(self, most: int) -> None:
        """Tune points until one is near enough, or nothing is left to be tried or to be spent."""
        loss = self._shares.expected * self._allowed
        for number, share in enumerate(self._shares.tunings):
            if number == len(self._decided):
                wanted = self._further(loss) if number else self._sought(loss, most)
                index = between(self._tuner.frontier, wanted, self._seen(), self._allowed, self._shares.resolution)
                if index is None or self._parts.stop_requested() or (number and self._parts.left < 1):
                    return
                self._decided.append(index)
            if number == len(self._tries) and not self._try(self._decided[number], share):
                return
            last = self._seen()[number]
            if self._parts.stopped or near_enough(last, self._allowed):
                return
            loss = next_loss(last, self._allowed)

    def _try(self, index: int, share: float) -> bool:
        """Tune a point and measure it; returns whether it was not given up."""
        before = self._tries[-1] if self._tries else None
        try:
            made = self._tuner.tune(index, share, before)
        except FaceterError as error:
            if error.kind is not ProblemKind.TUNING_DIVERGED or before is None:
                raise
            self.notes.append(f"A further try, with other bits, was given up. {error.detail}")
            return False
        tell = self._parts.aside("measuring", 0.0)
        self._after_rounding(index)
        made = replace(made, grade=self._grader(self._tuner.plan(made)).after)
        tell(1.0)
        self._tries.append(made)
        self._parts.kept["tries"].append(vars(made))
        return True

    def _seen(self) -> list[Try]:
        """Return what the tries lost."""
        return [
            Try(made.index, self._original - self._rounded[made.index], self._original - (made.grade or 0.0))
            for made in self._tries
        ]

    def _sought(self, loss: float, most: int) -> int:
        """Return the smallest point that loses no more than ``loss`` after rounding, as far as it can be told."""
        tell = self._parts.aside("searching", self._shares.searching)
        first = self._predicted(loss)
        told = 0

        def measure(point: TradeOffPoint) -> float:
            nonlocal told
            if self._parts.stop_requested():
                raise _StopError
            told += 1
            tell(min(told / most, 0.99))
            return self._after_rounding(int(np.searchsorted(self._tuner.frontier.weight_bytes, point.weight_bytes)))

        try:
            least = self._original - loss - _TINY
            index = search(self._tuner.frontier, measure, least, start=first, most_measured=most).index
        except _StopError:
            index = first
        tell(1.0)
        return index

    def _further(self, loss: float) -> int:
        """Return the smallest point that should lose no more than ``loss`` after rounding by what was measured."""
        return foretold(self._tuner.frontier, self._rounded, self._original - loss)

    def _predicted(self, loss: float) -> int:
        first = start_of(self._tuner.frontier, 1.0 - loss)
        return len(self._tuner.frontier) // 2 if first is None else first

    def _after_rounding(self, index: int) -> float:
        """Return the grade of a point after rounding alone."""
        if index not in self._rounded:
            found = self._grader(self._tuner.plan(Network(index)))
            self._rounded[index] = found.after
            self._parts.kept["original"] = found.before
        return self._rounded[index]

    @property
    def _original(self) -> float:
        original: float = self._parts.kept["original"]
        return original

    def _most_measured(self, seconds: float) -> int:
        """Return how many rounded networks to measure if one takes that long."""
        limit = self._parts.budget.limit_seconds
        if limit is None:
            return _MOST_MEASURED
        return int(np.clip(self._shares.searching * limit / max(seconds, _TINY), _FEWEST_MEASURED, _MOST_MEASURED))

    def _best(self) -> tuple[Network, Reached]:
        """Return the smallest network that loses no more than is allowed, else the one that loses least."""
        rounded = [Network(index, grade) for index, grade in self._rounded.items()]
        options = {item: item.grade or 0.0 for item in (*self._tries, *rounded)}
        met = [item for item, grade in options.items() if grade >= self._original - self._allowed - _TINY]
        if met:
            best = min(met, key=lambda item: (item.index, -options[item]))
        else:
            best = min(options, key=lambda item: (-options[item], item.index))
        measured: Mapping[int, float] = {item.index: options[item] for item in (*rounded, *self._tries, best)}
        tuned = {item.index for item in self._tries if item.step}
        if not best.step:
            tuned.discard(best.index)
        choice = Choice(best.index, bool(met), measured)
        return best, Reached(self._tuner.frontier, choice, frozenset(tuned))
