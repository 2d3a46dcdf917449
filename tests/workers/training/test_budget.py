"""Budgets in seconds and in steps."""

import pytest

from workers.training.budget import Budget


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_seconds_are_spent_by_the_clock_alone() -> None:
    clock = Clock()
    budget = Budget(seconds=60.0, clock=clock)
    assert (budget.fraction, budget.spent) == (0.0, False)
    budget.count()
    clock.now += 15
    assert (budget.seconds, budget.fraction, budget.taken) == (15.0, 0.25, 1)
    clock.now += 44.9
    assert not budget.spent
    clock.now += 30
    assert (budget.fraction, budget.spent) == (1.0, True)


def test_steps_are_spent_by_steps_alone() -> None:
    clock = Clock()
    budget = Budget(steps=4, clock=clock)
    clock.now += 1e6
    assert (budget.fraction, budget.spent) == (0.0, False)
    fractions = []
    while not budget.spent:
        budget.count()
        fractions.append(budget.fraction)
    assert fractions == [0.25, 0.5, 0.75, 1.0]
    assert budget.seconds == 1e6


@pytest.mark.parametrize("limits", [{"seconds": 0.0}, {"steps": 0}])
def test_nothing_is_spent_at_once(limits: dict[str, float]) -> None:
    budget = Budget(**limits, clock=Clock())  # type: ignore[arg-type]
    assert (budget.fraction, budget.spent) == (1.0, True)


@pytest.mark.parametrize("limits", [{}, {"seconds": 1.0, "steps": 1}])
def test_a_limit_is_in_one_of_the_two(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="in seconds or in steps"):
        Budget(**limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [{"seconds": 100.0}, {"steps": 20}])
def test_an_interruption_costs_nothing(limits: dict[str, float]) -> None:
    """Seconds between the checkpoint and the restart are no work."""
    clock = Clock()
    budget = Budget(**limits, clock=clock)  # type: ignore[arg-type]
    for _ in range(5):
        budget.count()
        clock.now += 7
    kept = budget.state()
    later = Clock()
    later.now = 5.0
    again = Budget(**limits, clock=later)  # type: ignore[arg-type]
    later.now += 3
    again.restore(kept)
    assert (again.taken, again.seconds, again.fraction) == (5, 35.0, budget.fraction)
    later.now += 10
    assert again.seconds == 45.0
