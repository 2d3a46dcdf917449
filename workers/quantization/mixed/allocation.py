"""Mixed precision: bit allocation for a target in bytes or in lost accuracy, and tuning of the network.

A run has these phases.

1. Inputs: generated as by `auto`, in a quarter of the budget if `auto` is then tuned on them, in a tenth if another
   method generates its own; `ft` uses the calibration data.
2. Sensitivity of every weight at 2 to 8 bits, on calibration data, else on those inputs, else on noise; in about a
   tenth of the time. It gives the Pareto frontier.
3. Search. For `max_bytes` the largest allocation that fits is taken. For `max_drop` rounded networks are measured as
   served: their accuracy on the evaluation data or, without, their agreement with the float network on held-out inputs.
   Tuning recovers most of the accuracy that rounding loses, so the first candidate is one that loses 5 times the
   allowed drop by rounding.
4. Tuning by the requested method. For `max_bytes` once, with all that is left of the budget. For `max_drop` at most
   three times, with a half, a quarter and a quarter of it: after each the network is measured, and the next candidate
   is smaller if the target was met and larger if not, and starts from the weights tuned so far. It ends early once the
   target is met with most of the allowed drop.

The result is the smallest measured network that meets the target or, if none does, the best.

Activations have 8 bits, as in ZeroQ's mixed precision: fewer would make no weight smaller and the served graph no
faster, and would cost accuracy that allows smaller weights.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281, section 3.2.
"""

from __future__ import annotations

from dataclasses import replace

from faceter.contracts.quantizations import QuantizationRequest, Target, Tuning
from faceter.graphs.packing import pack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.host import compute_device
from workers.quantization.auto import Automatic
from workers.quantization.comparison_inputs import HeldOutInputs
from workers.quantization.datasets import JobDatasets
from workers.quantization.ft import FineTuning
from workers.quantization.mixed.accuracy_meter import AccuracyMeter
from workers.quantization.mixed.bit_allocation import weight_shapes, with_weight_bits
from workers.quantization.mixed.candidates import CandidateNetwork, CandidateTuner, TrainerFactory
from workers.quantization.mixed.drop_search import DropSearch
from workers.quantization.mixed.frontier_search import FrontierChoice, choose_by_bytes
from workers.quantization.mixed.inputs import SearchInputs, search_inputs
from workers.quantization.mixed.pareto import ParetoFrontier, packed_frontier
from workers.quantization.mixed.sensitivity_budget import sensitivities_within_budget, sensitivity_batches
from workers.quantization.mixed.settings import AllocationSettings
from workers.quantization.mixed.trade_off import AllocationResult
from workers.quantization.observation import as_array
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.tune import teacher_classes
from workers.quantization.tuning.fused_kernels import compiled_kernels
from workers.quantization.tuning.inputs.space import can_tune
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.run_sequence import RunSequence
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning_accuracy import AccuracyFactory
from workers.quantization.tuning_budget import budget_of, is_worth_compiling
from workers.training.callbacks import Callbacks

_ACTIVATION_BITS = 8
_MAX_WEIGHT_BITS = 8


def with_target_bits(request: QuantizationRequest) -> QuantizationRequest:
    """Return a request with the bits that a target implies: 8 for activations, at most 8 for a weight."""
    if request.target is None:
        return request
    return request.model_copy(update={"weight_bits": _MAX_WEIGHT_BITS, "activation_bits": _ACTIVATION_BITS})


def allocate_bits(
    method: TunedMethod,
    prepared: PreparedNetwork,
    request: QuantizationRequest,
    target: Target,
    datasets: JobDatasets,
    callbacks: Callbacks,
    accuracy: AccuracyFactory,
    settings: AllocationSettings | None = None,
) -> OptimizedNetwork:
    """Choose the bits of every weight for a target, and tune the network.

    Args:
        request: The budget and the seed.
        datasets: For `max_drop`, candidates are measured on the evaluation data.
        accuracy: Returns the function that measures accuracy on a part of the evaluation data; shown only.

    Returns:
        The best network. Whether it meets the target is decided for the exported file; see `trade_off`.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``, ``OUT_OF_MEMORY``, ``TUNING_DIVERGED`` in the first tuning.
    """
    tunable = not isinstance(method, Automatic) or can_tune(prepared)
    if tunable:
        method.check(prepared)
    budget, device = budget_of(request), compute_device()
    runs = RunSequence(budget, callbacks)
    with compiled_kernels(tunable and is_worth_compiling(budget), device) as is_compiled:
        session = TuningSession(prepared, with_target_bits(request), device)
        allocator = _BitAllocator(
            method if tunable else None, session, datasets, runs, settings or AllocationSettings()
        )
        return allocator.run(target, accuracy, is_compiled=is_compiled)


class _BitAllocator:
    """The state of one run; ``method`` is None if nothing can be tuned."""

    def __init__(
        self,
        method: TunedMethod | None,
        session: TuningSession,
        datasets: JobDatasets,
        runs: RunSequence,
        settings: AllocationSettings,
    ) -> None:
        self.method = method
        self.session = session
        self.prepared = session.prepared
        self.datasets = datasets
        self.runs = runs
        self.settings = settings
        rounded = RawQuantization()(session.prepared, session.request)
        self.base = rounded.plan
        self.warnings = list(rounded.warnings)

    def run(self, target: Target, accuracy: AccuracyFactory, *, is_compiled: bool) -> OptimizedNetwork:
        inputs = self._inputs()
        frontier = self._frontier(inputs)
        trainer = self._trainer(inputs)
        tuner = CandidateTuner(trainer, self.session, self.base, frontier, self.runs, accuracy(self.session))
        if target.max_bytes is not None:
            plan, candidate, result = self._fit_bytes(tuner, target.max_bytes)
        else:
            held_out = None if inputs is None else inputs.held_out
            plan, candidate, result = self._fit_drop(tuner, held_out, (target.max_drop or 0.0) / 100)
        if inputs is None:
            self.warnings.append("Nothing was tuned: that takes a single input and an output of float values.")
        elif tuner.can_tune and candidate.step == 0:
            self.warnings.append("Tuning found nothing better than rounding alone; the rounded network was kept.")
        optimized = OptimizedNetwork(plan, self.warnings, allocation=result)
        if inputs is None:
            return optimized
        return self._with_tuning(optimized, inputs, tuner, candidate, is_compiled=is_compiled)

    def _inputs(self) -> SearchInputs | None:
        if self.method is None:
            return None
        hold_out = self.datasets.evaluation is None
        return search_inputs(self.method, self.session, self.base, self.runs, self.settings, hold_out=hold_out)

    def _frontier(self, inputs: SearchInputs | None) -> ParetoFrontier:
        batches = list(self.prepared.batches)
        if inputs is not None and not self.prepared.calibrated:
            batches = sensitivity_batches(inputs.sensitivity, self.prepared.packing)
        measured = sensitivities_within_budget(self.session, self.base, batches, self.runs, self.settings)
        source = "calibration" if self.prepared.calibrated else "noise" if inputs is None else "synthetic"
        self.warnings.append(f"The sensitivity of each weight was measured on {measured.samples} {source} inputs.")
        return packed_frontier(weight_shapes(self.base), measured.divergence, predict=measured.predict)

    def _trainer(self, inputs: SearchInputs | None) -> TrainerFactory | None:
        """Return the factory of trainers: on the search inputs unless the method generates its own."""
        method = self.method
        if method is None or inputs is None:
            return None
        if isinstance(method, FineTuning):
            rest = as_array(inputs.tuning)
            self.session.prepared = replace(self.prepared, tuning_inputs=lambda: rest)
            return replace(method, distillation=replace(method.distillation, from_start=True)).trainer
        if isinstance(method, Automatic):
            automatic = replace(method, distillation=replace(method.distillation, from_start=True))
            return lambda session, start: automatic.trainer_on(session, start, inputs.tuning)
        return method.trainer

    def _fit_bytes(
        self, tuner: CandidateTuner, max_bytes: int
    ) -> tuple[QuantizationPlan, CandidateNetwork, AllocationResult]:
        choice = choose_by_bytes(tuner.frontier, max_bytes)
        candidate = CandidateNetwork(choice.index)
        plan, choice = _fit_packed(tuner, tuner.plan(candidate), choice, max_bytes)
        if tuner.can_tune:
            candidate = tuner.tune(choice.index, 1.0, None)
            plan, choice = _fit_packed(tuner, tuner.plan(candidate), choice, max_bytes)
        tuned = frozenset({choice.index} if candidate.step else ())
        return plan, candidate, AllocationResult(tuner.frontier, choice, tuned)

    def _fit_drop(
        self, tuner: CandidateTuner, held_out: HeldOutInputs | None, allowed: float
    ) -> tuple[QuantizationPlan, CandidateNetwork, AllocationResult]:
        meter = AccuracyMeter(self.prepared, self.datasets, held_out, self.session.request.seed)
        search = DropSearch(tuner, meter, allowed, self.settings)
        candidate, result = search.run()
        meter.close()
        self.warnings += [*search.warnings, _measured_on(meter, result)]
        return tuner.plan(candidate), candidate, result

    def _with_tuning(
        self,
        optimized: OptimizedNetwork,
        inputs: SearchInputs,
        tuner: CandidateTuner,
        candidate: CandidateNetwork,
        *,
        is_compiled: bool,
    ) -> OptimizedNetwork:
        runs, last = self.runs, tuner.last
        automatic = isinstance(self.method, Automatic)
        synthetic = inputs.generated
        if not automatic and last is not None and last.synthetic is not None:
            synthetic = last.synthetic
        held_out = inputs.held_out
        if held_out is None and last is not None and last.held_out is not None:
            held_out = HeldOutInputs(as_array(last.held_out), "calibration" if synthetic is None else "synthetic")
        tuning = Tuning(
            path=last.tuning.path if last is not None and not automatic else inputs.path,
            steps=runs.budget.taken,
            seconds=round(runs.budget.seconds, 3),
            phases=runs.phases,
            ended_by=runs.ended_by,
            agreement=candidate.agreement,
            kept_step=candidate.step,
            restarts=runs.restarts,
            resumed=runs.resumed,
            precision=self.session.precision.name,
            compiled=is_compiled,
        )
        return replace(
            optimized,
            tuning=tuning,
            curves=tuple(runs.curves),
            synthetic=None if synthetic is None else as_array(synthetic),
            labels=None if synthetic is None else teacher_classes(self.session, synthetic),
            held_out=held_out,
        )


def _fit_packed(
    tuner: CandidateTuner, plan: QuantizationPlan, choice: FrontierChoice, max_bytes: int
) -> tuple[QuantizationPlan, FrontierChoice]:
    """Go down the frontier until the packed weights fit.

    A weight whose codes need fewer bits than allocated is packed with others of those bits, and the numbers that unpack
    them may take some tens of bytes more than the frontier accounts for.
    """
    while choice.index > 0 and (excess := weight_bytes(pack_weights(write_qdq(plan))) - max_bytes) > 0:
        before = tuner.frontier[choice.index]
        choice = choose_by_bytes(tuner.frontier, min(before.weight_bytes - 1, max_bytes - excess))
        bits = tuner.frontier[choice.index].bits
        plan = with_weight_bits(plan, {name: count for name, count in bits.items() if count != before.bits[name]})
    return plan, choice


def _measured_on(meter: AccuracyMeter, result: AllocationResult) -> str:
    """Return the warning about what candidates were measured on."""
    measured, tuned = len(result.choice.measured), len(result.tuned)
    candidates = f"{measured} bit allocations were measured, {tuned} of them after tuning"
    if meter.source == "evaluation":
        return (
            f"For the target, {candidates}, on {meter.samples} samples of the evaluation data. So the choice depends "
            "on these, and other data may show a slightly larger loss."
        )
    inputs = {
        "synthetic": "held-out synthetic inputs",
        "calibration": "calibration inputs",
        "noise": "inputs of noise",
    }
    return (
        f"For the target, {candidates}, by agreement with the original on {meter.samples} {inputs[meter.source]}. This "
        "is an estimate: give an evaluation_dataset_id for a loss of accuracy."
    )
