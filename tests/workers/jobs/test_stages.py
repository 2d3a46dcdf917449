"""Progress in weighted stages: bounds, order, parts and nesting."""

from __future__ import annotations

import pytest

from faceter.contracts.jobs import Training
from workers.jobs.stages import Stages


class Reports:
    """Collects what is reported."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.fractions: list[float] = []
        self.training: list[Training | None] = []

    def __call__(self, step: str, fraction: float, training: Training | None) -> None:
        """Collect one report."""
        self.steps.append(step)
        self.fractions.append(fraction)
        self.training.append(training)


@pytest.fixture
def reports() -> Reports:
    """No report yet."""
    return Reports()


def test_each_stage_gets_its_weight_of_the_whole(reports: Reports) -> None:
    """Fractions of a stage are mapped into its part; entering reports its beginning."""
    stages = Stages(reports, {"reading": 1, "tuning": 7, "writing": 2})

    for name in ("reading", "tuning", "writing"):
        stage = stages.enter(name)
        stage(0.5)
        stage(1.0)

    assert reports.fractions == pytest.approx([0, 0.05, 0.1, 0.1, 0.45, 0.8, 0.8, 0.9, 1.0])
    assert reports.steps == ["reading"] * 3 + ["tuning"] * 3 + ["writing"] * 3


def test_a_stage_that_is_left_out_counts_as_done(reports: Reports) -> None:
    """Stages before the entered one count as done."""
    stages = Stages(reports, {"reading": 1, "tuning": 7, "writing": 2})

    stages.enter("reading")
    stages.enter("writing")

    assert reports.fractions == pytest.approx([0, 0.8])


def test_progress_is_monotone(reports: Reports) -> None:
    """No stage can begin after a later one has."""
    stages = Stages(reports, {"reading": 1, "writing": 2})
    stages.enter("writing")

    with pytest.raises(ValueError, match="'reading' comes before 'writing'"):
        stages.enter("reading")


def test_a_stage_of_weight_0_takes_no_room(reports: Reports) -> None:
    """It begins where it ends."""
    stages = Stages(reports, {"reading": 1, "tuning": 0, "writing": 1})

    stages.enter("tuning")(1.0)

    assert reports.fractions == pytest.approx([0.5, 0.5])


def test_a_call_may_name_another_step_and_carry_training(reports: Reports) -> None:
    """Step and training are passed on."""
    training = Training(phase="warmup", step=3)

    Stages(reports, {"tuning": 1}).enter("tuning")(0.25, "warmup", training)

    assert reports.steps == ["tuning", "warmup"]
    assert reports.training == [None, training]


def test_a_part_of_a_stage(reports: Reports) -> None:
    """A part maps its own fractions into the stage."""
    stages = Stages(reports, {"reading": 1, "units": 4})
    stage = stages.enter("units")

    for number in range(2):
        stage.part(number / 2, (number + 1) / 2, f"unit {number}")(0.5)

    assert reports.fractions == pytest.approx([0.2, 0.4, 0.8])
    assert reports.steps == ["units", "unit 0", "unit 1"]


def test_stages_nest(reports: Reports) -> None:
    """Weights of nested stages are relative to the stage."""
    inner = Stages(reports, {"reading": 1, "tuning": 4}).enter("tuning").stages({"synthesis": 300, "distillation": 100})

    inner.enter("synthesis")(0.5)
    inner.enter("distillation")

    assert reports.fractions == pytest.approx([0.2, 0.2, 0.5, 0.8])
    assert reports.steps == ["tuning", "synthesis", "synthesis", "distillation"]


@pytest.mark.parametrize("weights", [{}, {"reading": 0.0}, {"reading": 1.0, "writing": -0.5}])
def test_weights_that_divide_nothing_are_refused(reports: Reports, weights: dict[str, float]) -> None:
    """At least one weight is positive, none is negative."""
    with pytest.raises(ValueError, match="weights"):
        Stages(reports, weights)


def test_an_unknown_stage_is_refused(reports: Reports) -> None:
    """Names are the keys of the weights."""
    with pytest.raises(ValueError, match="training"):
        Stages(reports, {"reading": 1}).enter("training")
