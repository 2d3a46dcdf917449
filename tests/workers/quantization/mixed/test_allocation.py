"""A run of bit allocation: its phases, seeds, checkpoints, stop requests."""

import pytest

from faceter.contracts.jobs import Training
from faceter.contracts.quantizations import QuantizationMethod, Target
from faceter.datasets.kinds import InputDataset
from tests.workers.quantization.evaluation_data import evaluating
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import digest, light, prepared_for
from tests.workers.training.fakes import KilledError, RecordingCallbacks
from workers.quantization.mixed.allocation import allocate_bits
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning_accuracy import tuning_accuracy
from workers.training.callbacks import Callbacks


class PhaseCallbacks(RecordingCallbacks):
    """Callbacks that kill or stop a run in a phase.

    Args:
        phase: Prefix of the name of the phase; never if empty.
        times: Reports of that phase before it happens.
        killed: Whether the worker is killed; else a stop is requested.
    """

    def __init__(
        self, phase: str = "", times: int = 0, *, killed: bool = False, checkpoint: bytes | None = None
    ) -> None:
        super().__init__(every=1, checkpoint=checkpoint)
        self._phase = phase
        self._left = times
        self._killed = killed

    def progress(self, fraction: float, training: Training) -> None:
        super().progress(fraction, training)
        self._left -= bool(self._phase) and training.phase.startswith(self._phase)
        if self._phase and self._left <= 0 and self._killed:
            raise KilledError

    def stop_requested(self) -> bool:
        return bool(self._phase) and self._left <= 0

    @property
    def phases(self) -> list[str]:
        """The reported phases, in order."""
        names = [training.phase for _, training in self.reports]
        return [name for index, name in enumerate(names) if index == 0 or name != names[index - 1]]


@pytest.fixture(scope="module")
def network(digits: Digits) -> PreparedNetwork:
    return prepared_for(digits.model)


def run_with_drop(
    network: PreparedNetwork, evaluation: InputDataset, callbacks: Callbacks, **budget: float
) -> OptimizedNetwork:
    target = Target(max_drop=0.5)
    request = request_for(target=target, seed=2, **(budget or {"max_steps": 36}))
    data = evaluating(evaluation)
    return allocate_bits(
        light(QuantizationMethod.AUTO), network, request, target, data, callbacks, tuning_accuracy(None, network)
    )


@pytest.fixture(scope="module")
def whole(network: PreparedNetwork, evaluation: InputDataset) -> tuple[OptimizedNetwork, PhaseCallbacks]:
    callbacks = PhaseCallbacks()
    return run_with_drop(network, evaluation, callbacks), callbacks


def test_a_run_goes_through_all_phases_and_progress_never_decreases(
    whole: tuple[OptimizedNetwork, PhaseCallbacks],
) -> None:
    made, callbacks = whole
    fractions = [fraction for fraction, _ in callbacks.reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    phases = callbacks.phases
    assert phases[:4] == ["synthesis", "sensitivity", "searching", "tuning W4+A8"]
    assert phases.count("measuring") > 1, "more than one candidate is tuned"
    steps = [training.step for _, training in callbacks.reports]
    assert steps == sorted(steps)
    assert made.tuning is not None
    assert made.tuning.steps == steps[-1] == 36
    assert [point.step for point in made.curves] == sorted(point.step for point in made.curves)
    assert sum(phase.steps for phase in made.tuning.phases) == 36
    assert {phase.name for phase in made.tuning.phases} == set(phases)


def test_equal_seeds_give_equal_networks(
    network: PreparedNetwork, evaluation: InputDataset, whole: tuple[OptimizedNetwork, PhaseCallbacks]
) -> None:
    again = run_with_drop(network, evaluation, Callbacks())
    assert digest(again.plan) == digest(whole[0].plan)
    assert again.warnings == whole[0].warnings


@pytest.mark.parametrize(
    ("phase", "times"),
    [("synthesis", 5), ("sensitivity", 7), ("searching", 3), ("tuning", 6), ("tuning", 20), ("tuning", 26)],
)
def test_a_killed_run_resumes_and_gives_the_same_result(
    phase: str,
    times: int,
    network: PreparedNetwork,
    evaluation: InputDataset,
    whole: tuple[OptimizedNetwork, PhaseCallbacks],
) -> None:
    callbacks = PhaseCallbacks(phase, times, killed=True)
    with pytest.raises(KilledError):
        run_with_drop(network, evaluation, callbacks)
    assert callbacks.checkpoint is not None
    again = PhaseCallbacks(checkpoint=callbacks.checkpoint)
    resumed = run_with_drop(network, evaluation, again)
    expected, recorded = whole
    assert digest(resumed.plan) == digest(expected.plan)
    assert resumed.warnings == expected.warnings
    assert resumed.tuning is not None
    assert expected.tuning is not None
    assert resumed.tuning.resumed == 1
    assert resumed.tuning.kept_step == expected.tuning.kept_step
    assert resumed.allocation is not None
    assert expected.allocation is not None
    assert resumed.allocation.choice == expected.allocation.choice
    assert [point.step for point in resumed.curves] == [point.step for point in expected.curves]
    begun = [training.phase for _, training in again.reports]
    assert len(begun) < len(recorded.reports)
    if phase == "tuning":
        assert "synthesis" not in begun
        assert "sensitivity" not in begun
        taken = max(training.step for _, training in callbacks.reports)
        assert min(training.step for _, training in again.reports) >= taken, "no step is taken twice"


def test_a_budget_in_minutes_has_the_same_phases(network: PreparedNetwork, evaluation: InputDataset) -> None:
    callbacks = PhaseCallbacks()
    made = run_with_drop(network, evaluation, callbacks, max_minutes=0.05)
    assert made.tuning is not None
    assert made.allocation is not None
    assert callbacks.phases[:3] == ["synthesis", "sensitivity", "searching"]
    assert made.allocation.choice.met
    assert made.tuning.ended_by == "budget"
    assert made.tuning.steps == sum(phase.steps for phase in made.tuning.phases) > 0


@pytest.mark.parametrize(("phase", "times"), [("synthesis", 3), ("sensitivity", 3), ("searching", 2), ("tuning", 9)])
def test_a_stop_request_ends_the_run_soon_with_the_best_so_far(
    phase: str, times: int, network: PreparedNetwork, evaluation: InputDataset
) -> None:
    callbacks = PhaseCallbacks(phase, times)
    made = run_with_drop(network, evaluation, callbacks)
    assert made.tuning is not None
    assert made.tuning.ended_by == "request"
    assert made.allocation is not None
    index = made.allocation.choice.index
    assert {name: quantizer.bits for name, quantizer in made.plan.weights.items()} == (
        made.allocation.frontier[index].bits
    )
    after = [training.phase for _, training in callbacks.reports].index(phase) if phase != "tuning" else 0
    tuned = [training for _, training in callbacks.reports[after:] if training.phase.startswith("tuning")]
    assert len(tuned) == (9 if phase == "tuning" else 0)
    assert len(made.allocation.choice.measured) >= 1
