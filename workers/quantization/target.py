"""Reaching a target: bits for every weight, chosen by what the network loses by them, and tuned.

A run goes through these in turn.

1. Inputs: made as `auto` makes them, in a quarter of the budget where `auto` is then tuned on them, in a tenth where
   another method makes its own; `ft` has the calibration data.
2. Sensitivity of every weight at 2 to 8 bits, on calibration data if there are any, else on those inputs, else on
   noise; in about a tenth of the time. From it the Pareto frontier.
3. The choice. By bytes it is the best of the frontier that fits. By what may be lost it is searched for by measuring
   rounded networks as they would be served: their accuracy on the evaluation data or, without, their agreement with the
   float network on inputs held out. Tuning wins back most of what rounding loses, so the first try is where rounding
   loses 5 times what may be lost.
4. Tuning of the choice by the method asked for. By bytes once, with all that is left of the budget. By what may be lost
   at most three times, with a half, a quarter and a quarter of it: after each the network is measured again, and the
   next is further along the frontier, smaller if there is room and larger if too much was lost, and begins with the
   weights tuned so far. It ends sooner if the target is met with most of what may be lost.

What is handed over is the smallest network measured that meets the target or, if none does, the best.

Activations have 8 bits throughout, as in ZeroQ's mixed precision: fewer would make no weight smaller and the served
graph no faster, and would cost accuracy that weights can be made smaller with.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281, section 3.2.
"""

from __future__ import annotations

from dataclasses import replace

from faceter.contracts.quantizations import QuantizationRequest, Size, Target, TradeOff, Tuning
from faceter.graphs.packing import pack_weights, weight_bytes
from faceter.graphs.qdq import QuantizationPlan, write_qdq
from workers.host import compute_device
from workers.quantization.auto import Automatic
from workers.quantization.data import Data
from workers.quantization.ft import FineTuning
from workers.quantization.mixed.assignment import weight_shapes, with_weight_bits
from workers.quantization.mixed.choice import Choice, Reached, choose_by_bytes, trade_off
from workers.quantization.mixed.descent import Descent
from workers.quantization.mixed.grading import Grade, Grader
from workers.quantization.mixed.inputs import Gathered, gather
from workers.quantization.mixed.pareto import packed_frontier
from workers.quantization.mixed.shares import Shares
from workers.quantization.mixed.tries import MakesTrainer, Network, Tuner
from workers.quantization.mixed.weighing import batches_of, weigh
from workers.quantization.observation import as_array
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.tuned import AccuracyOf, TunedOutcome, budget_of, teacher_labels, worth_compiling
from workers.quantization.tuning.inputs import searchable
from workers.quantization.tuning.kernels import compiled
from workers.quantization.tuning.loop import Hooks
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.parts import Parts
from workers.quantization.tuning.session import Session

ACTIVATION_BITS = 8
_MOST_WEIGHT_BITS = 8
_TINY = 1e-9


def settled_bits(request: QuantizationRequest) -> QuantizationRequest:
    """Return a request with the bits that a target leaves: 8 for activations, and 8 at most for a weight."""
    if request.target is None:
        return request
    return request.model_copy(update={"weight_bits": _MOST_WEIGHT_BITS, "activation_bits": ACTIVATION_BITS})


def reach(
    method: TunedMethod,
    prepared: Prepared,
    request: QuantizationRequest,
    target: Target,
    data: Data,
    hooks: Hooks,
    accuracy: AccuracyOf,
    shares: Shares | None = None,
) -> TunedOutcome:
    """Choose bits for every weight so that a target is reached, and tune the network with them.

    Args:
        method: Which to tune by.
        prepared: The network.
        request: The budget and the seed.
        target: What to reach.
        data: The job's datasets. Evaluation data are looked at to see what is lost, where that is the target.
        hooks: The job's.
        accuracy: Makes the function that measures accuracy on a part of the evaluation data, to be shown.
        shares: How the budget is spent.

    Returns:
        The best found. Whether it meets the target is said of the file as it is served; see :func:`settled`.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``, ``OUT_OF_MEMORY``, ``TUNING_DIVERGED`` where the first tuning did.
    """
    tunable = not isinstance(method, Automatic) or searchable(prepared)
    if tunable:
        method.check(prepared)
    budget, device = budget_of(request), compute_device()
    parts = Parts(budget, hooks)
    with compiled(tunable and worth_compiling(budget), device) as is_compiled:
        session = Session(prepared, settled_bits(request), device)
        run = _Run(method if tunable else None, session, target, data, parts, accuracy, shares or Shares())
        return run.run(is_compiled=is_compiled)


def settled(reached: Reached, target: Target, grade: Grade, size: Size) -> TradeOff:
    """Return the trade-off for the report, once the file has been made and measured as it is served.

    Args:
        reached: Where the run has ended.
        target: What was asked for.
        grade: Of the file.
        size: Of the file.
    """
    if target.max_bytes is not None:
        met = size.weights_packed <= target.max_bytes
    else:
        met = grade.before - grade.after <= (target.max_drop or 0.0) / 100 + _TINY
    index = reached.choice.index
    choice = Choice(index, met, {**reached.choice.measured, index: grade.after})
    return trade_off(
        reached.frontier, choice, measure=grade.measure, original=grade.before, tuned=reached.tuned, most_points=100
    )


def target_notes(target: Target | None, trade_off: TradeOff | None, size: Size) -> list[str]:
    """Say whether the target is met, and by what; nothing without a target.

    Args:
        target: What was asked for.
        trade_off: What came of it.
        size: Of the file.
    """
    if target is None or trade_off is None:
        return []
    if target.max_bytes is not None:
        found, wanted = f"weights take {size.weights_packed:,} bytes", f"at most {target.max_bytes:,}"
    else:
        drop = 100 * (trade_off.original - (trade_off.points[trade_off.chosen].measured or 0.0))
        found, wanted = f"{drop:.2f} points of {trade_off.measure} are lost", f"at most {target.max_drop:g}"
    if trade_off.met:
        return [f"The target is met: {found}, {wanted} being asked for."]
    return [f"The target is not met: {found}, {wanted} being asked for. This is the best that was found."]


class _Run:
    def __init__(
        self,
        method: TunedMethod | None,
        session: Session,
        target: Target,
        data: Data,
        parts: Parts,
        accuracy: AccuracyOf,
        shares: Shares,
    ) -> None:
        self.method = method
        self.session = session
        self.target = target
        self.data = data
        self.parts = parts
        self.accuracy = accuracy
        self.shares = shares
        outcome = RawQuantization()(session.prepared, session.request)
        self.base = outcome.plan
        self.notes = list(outcome.notes)
        self.gathered: Gathered | None = None

    def run(self, *, is_compiled: bool) -> TunedOutcome:
        prepared = self.session.prepared
        if self.method is not None:
            hold_out = self.data.evaluation is None
            self.gathered = gather(self.method, self.session, self.base, self.parts, self.shares, hold_out=hold_out)
        tuner = self._tuner(prepared)
        if self.target.max_bytes is not None:
            plan, reached, network = self._by_bytes(tuner, self.target.max_bytes)
        else:
            plan, reached, network = self._by_loss(tuner, prepared, (self.target.max_drop or 0.0) / 100)
        made = self._outcome(tuner, network, is_compiled=is_compiled)
        return replace(made, outcome=Outcome(plan, self.notes), reached=reached)

    def _tuner(self, prepared: Prepared) -> Tuner:
        """Weigh the layers and return what makes networks of the frontier's points."""
        found = self.gathered
        batches = list(prepared.batches)
        if found is not None and not prepared.calibrated:
            batches = batches_of(found.weighing, prepared.inputs[0])
        weighed = weigh(self.session, self.base, batches, self.parts, self.shares)
        source = "calibration" if prepared.calibrated else "noise" if found is None else "synthetic"
        self.notes.append(f"How much the bits of each weight matter was measured on {weighed.samples} {source} inputs.")
        frontier = packed_frontier(weight_shapes(self.base), weighed.divergence, predict=weighed.predict)
        return Tuner(self._trainer(), self.session, self.base, frontier, self.parts, self.accuracy(self.session))

    def _trainer(self) -> MakesTrainer | None:
        """Return what makes the method that tunes: on the inputs that are there, if it does not make its own."""
        method, found = self.method, self.gathered
        if method is None or found is None:
            return None
        if isinstance(method, FineTuning):
            rest = as_array(found.tuning)
            self.session.prepared = replace(self.session.prepared, tuning_inputs=lambda: rest)
            return replace(method, recipe=replace(method.recipe, from_start=True)).trainer
        if isinstance(method, Automatic):
            automatic = replace(method, recipe=replace(method.recipe, from_start=True))
            return lambda session, start: automatic.trainer_on(session, start, found.tuning)
        return method.trainer

    def _by_bytes(self, tuner: Tuner, most: int) -> tuple[QuantizationPlan, Reached, Network]:
        choice = choose_by_bytes(tuner.frontier, most)
        network = Network(choice.index)
        plan, choice = _fitted(tuner, tuner.plan(network), choice, most)
        if tuner.tunes:
            network = tuner.tune(choice.index, 1.0, None)
            plan, choice = _fitted(tuner, tuner.plan(network), choice, most)
        tuned = frozenset({choice.index} if network.step else ())
        return plan, Reached(tuner.frontier, choice, tuned), network

    def _by_loss(self, tuner: Tuner, prepared: Prepared, allowed: float) -> tuple[QuantizationPlan, Reached, Network]:
        found = self.gathered
        held_out = None if found is None else found.held_out
        apart = TunedOutcome(
            Outcome(self.base),
            held_out=held_out,
            synthetic=held_out if found is not None and found.made is not None else None,
        )
        grader = Grader(prepared, self.session.request, self.data, apart)
        descent = Descent(tuner, grader, allowed, self.shares)
        network, reached = descent.run()
        grader.close()
        self.notes += [*descent.notes, *self._told(grader, reached)]
        return tuner.plan(network), reached, network

    def _told(self, grader: Grader, reached: Reached) -> list[str]:
        """Say what the search measured, and on what."""
        tried, tuned = len(reached.choice.measured), len(reached.tuned)
        words = f"{tried} choices of bits were measured, {tuned} of them after tuning"
        if grader.source == "evaluation":
            return [
                f"To see whether the target is met, {words}, on {grader.samples} samples of the evaluation data. So "
                "the choice has seen these, and other data may show a slightly larger loss."
            ]
        kind = {
            "synthetic": "synthetic inputs that were held out",
            "calibration": "calibration inputs",
            "noise": "noise",
        }
        return [
            f"To see whether the target is met, {words}, in agreement with the original on {grader.samples} "
            f"{kind[grader.source]}. This is an estimate: give an evaluation_dataset_id for a loss of accuracy."
        ]

    def _outcome(self, tuner: Tuner, network: Network, *, is_compiled: bool) -> TunedOutcome:
        found, last = self.gathered, tuner.last
        if found is None:
            self.notes.append("Nothing was tuned: that takes a single input and an output of float values.")
            return TunedOutcome(Outcome(self.base))
        if tuner.tunes and network.step == 0:
            self.notes.append("Tuning found nothing better than rounding alone; the rounded network was kept.")
        automatic = isinstance(self.method, Automatic)
        made = found.made
        if not automatic and last is not None and last.synthetic is not None:
            made = last.synthetic
        tuning = Tuning(
            path=last.tuning.path if last is not None and not automatic else found.path,
            steps=self.parts.budget.taken,
            seconds=round(self.parts.budget.seconds, 3),
            phases=self.parts.phases,
            ended_by=self.parts.ended_by,
            agreement=network.agreement,
            kept_step=network.step,
            restarts=self.parts.restarts,
            resumed=self.parts.resumed,
            precision=self.session.precision.name,
            compiled=is_compiled,
        )
        held_out = found.held_out
        if held_out is None and last is not None and last.held_out is not None:
            held_out = as_array(last.held_out)
        return TunedOutcome(
            Outcome(self.base),
            tuning,
            tuple(self.parts.curves),
            synthetic=None if made is None else as_array(made),
            labels=None if made is None else teacher_labels(self.session, made),
            held_out=held_out,
        )


def _fitted(tuner: Tuner, plan: QuantizationPlan, choice: Choice, most: int) -> tuple[QuantizationPlan, Choice]:
    """Go down the frontier until the weights fit as they are packed in the file.

    A weight whose codes need fewer bits than it has is packed with others of those bits, and what unpacks these may
    take some tens of bytes more than was reckoned with.
    """
    while choice.index > 0 and (excess := weight_bytes(pack_weights(write_qdq(plan))) - most) > 0:
        before = tuner.frontier[choice.index]
        choice = choose_by_bytes(tuner.frontier, min(before.weight_bytes - 1, most - excess))
        bits = tuner.frontier[choice.index].bits
        plan = with_weight_bits(plan, {name: count for name, count in bits.items() if count != before.bits[name]})
    return plan, choice
