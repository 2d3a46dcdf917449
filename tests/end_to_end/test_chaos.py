"""A short run of chaos: nothing acknowledged is lost. `python -m tests.chaos` runs longer."""

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run

pytestmark = pytest.mark.end_to_end

PLAN = Plan(seconds=40, seed=7, every=1.0, pause=0.15, most_jobs=8, longest_stop=3, patience=120)


def test_nothing_acknowledged_is_lost_while_processes_are_killed(short_path: Path) -> None:
    outcome = run(PLAN, short_path / "data")
    report = "\n".join(outcome.lines())
    assert outcome.faults == [], report
    assert outcome.kills >= 10, report
    assert outcome.checked["uploads byte-equal"] >= 5, report
    assert outcome.checked["jobs succeeded"] >= 1, report
