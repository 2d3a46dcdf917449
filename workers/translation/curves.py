"""How losses went, in a bounded number of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from faceter.contracts.translators import LossPoint

MOST_POINTS: Final = 500
"""Points kept at most."""


class Curves:
    """Means of losses over equally many steps each; when there are 500 points, two and two become one.

    Every step counts, and the first steps of a long training are no finer than its last ones.
    """

    def __init__(self) -> None:
        self._points: list[LossPoint] = []
        self._width = 1
        self._sums: dict[str, float] = {}
        self._last = (0, 0.0)
        self._count = 0

    def add(self, step: int, seconds: float, losses: Mapping[str, float]) -> None:
        """Add the losses of one step.

        Args:
            step: Steps taken by now.
            seconds: Seconds of training by now.
            losses: By name; the same names each time.
        """
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._last = step, seconds
        self._count += 1
        if self._count < self._width:
            return
        self._points.append(self._unfinished())
        self._sums, self._count = {}, 0
        if len(self._points) == MOST_POINTS:
            self._points = [_mean(*two) for two in zip(self._points[::2], self._points[1::2], strict=True)]
            self._width *= 2

    def points(self) -> list[LossPoint]:
        """Return all points in order, each with the step it ends at; the last may be of fewer steps than the others."""
        return [*self._points, *([self._unfinished()] if self._count else [])]

    def drop_after(self, step: int) -> None:
        """Forget what went on after a step, which training has gone back to."""
        self._points = [point for point in self._points if point.step <= step]
        self._sums, self._count = {}, 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "points": [point.model_dump() for point in self._points],
            "width": self._width,
            "sums": dict(self._sums),
            "last": list(self._last),
            "count": self._count,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self._points = [LossPoint(**point) for point in state["points"]]
        self._width, self._count = state["width"], state["count"]
        self._sums, self._last = dict(state["sums"]), (state["last"][0], state["last"][1])

    def _unfinished(self) -> LossPoint:
        step, seconds = self._last
        means = {name: total / self._count for name, total in self._sums.items()}
        return LossPoint(step=step, seconds=round(seconds, 3), losses=means)


def _mean(first: LossPoint, second: LossPoint) -> LossPoint:
    losses = {name: (first.losses[name] + value) / 2 for name, value in second.losses.items()}
    return LossPoint(step=second.step, seconds=second.seconds, losses=losses)
