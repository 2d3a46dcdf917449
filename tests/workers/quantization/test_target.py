"""Reaching a target by mixed precision: met or not, measured on what may be looked at, and on nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from redis import Redis

from app.services.models.service import summary
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.jobs import QuantizationJob, Training
from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationMethod, QuantizationReport, Target, TradeOff, TradeOffPoint
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import InputDataset, open_dataset
from faceter.graphs.check import load_model
from faceter.graphs.packing import pack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
from faceter.store.library import Library
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import Digits, accuracy, one_thread, outputs_of, request_for
from tests.workers.quantization.test_job import started, stored_dataset, stored_model
from tests.workers.quantization.test_pipeline import SETTINGS, classifier, digits_zip, evaluating
from tests.workers.quantization.tuning.methods_at_work import (
    IMAGES,
    KilledError,
    Recording,
    digest,
    light,
    prepared_for,
)
from workers.quantization.data import Data
from workers.quantization.mixed.assignment import with_weight_bits
from workers.quantization.mixed.choice import Reached
from workers.quantization.pipeline import Quantized, quantize, quantize_model
from workers.quantization.prepared import Prepared
from workers.quantization.probe import accuracy_probe
from workers.quantization.rq import RawQuantization
from workers.quantization.target import reach
from workers.quantization.tuned import TunedOutcome
from workers.quantization.tuning.loop import Hooks, NoHooks

COUNT = 200


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def evaluation(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InputDataset]:
    path = digits_zip(tmp_path_factory.mktemp("evaluation"), digits, count=COUNT)
    with open_dataset(path, DatasetKind.IMAGES, SETTINGS) as data:
        yield data


def run_on(
    model: onnx.ModelProto,
    data: Data | None = None,
    hooks: Hooks | None = None,
    metadata: ModelMetadata | None = None,
    **fields: object,
) -> Quantized:
    request = request_for(**fields)
    return quantize(model.SerializeToString(), metadata or classifier(), request, data or Data(), SETTINGS, hooks=hooks)


def trade_off_of(report: QuantizationReport) -> TradeOff:
    assert report.trade_off is not None
    return report.trade_off


def chosen(report: QuantizationReport) -> TradeOffPoint:
    trade_off = trade_off_of(report)
    return trade_off.points[trade_off.chosen]


def said(report: QuantizationReport, words: str) -> bool:
    return any(words in note for note in report.warnings)


@pytest.fixture(scope="module")
def within_bytes(digits: Digits) -> Quantized:
    return run_on(digits.model, target={"max_bytes": 1300}, max_steps=24)


@pytest.fixture(scope="module")
def within_drop(digits: Digits, evaluation: InputDataset) -> Quantized:
    return run_on(digits.model, evaluating(evaluation), target={"max_drop": 2.0}, max_steps=24)


def test_the_weights_in_the_stored_file_fit(within_bytes: Quantized) -> None:
    report = within_bytes.report
    stored = weight_bytes(load_model(within_bytes.content, max_bytes=SETTINGS.max_model_bytes))
    assert stored == report.size.weights_packed <= 1300
    trade_off = trade_off_of(report)
    assert trade_off.met
    larger = [point.weight_bytes for point in trade_off.points if point.weight_bytes > chosen(report).weight_bytes]
    assert min(larger) > 1300, "the largest that fits"
    assert said(report, "The target is met: weights take")


def test_each_weight_has_the_bits_of_the_chosen_point(within_bytes: Quantized) -> None:
    report = within_bytes.report
    weights = {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"}
    assert weights == chosen(report).bits
    assert len(set(weights.values())) > 1
    for tensor in report.tensors:
        assert tensor.role != "activation" or tensor.bits == 8
    assert said(report, f"have from {min(weights.values())} to {max(weights.values())} bits each")


def test_the_tuned_network_is_the_one_that_is_served(within_bytes: Quantized, digits: Digits) -> None:
    """What the report says of agreement on held-out inputs holds for the file in ONNX Runtime, on inputs like them."""
    report = within_bytes.report
    assert report.tuning is not None
    assert report.tuning.kept_step > 0
    assert chosen(report).tuned
    assert within_bytes.made.held_out is not None
    inputs = within_bytes.made.held_out
    model = load_model(within_bytes.content, max_bytes=SETTINGS.max_model_bytes)
    same = outputs_of(model, inputs).argmax(1) == outputs_of(digits.model, inputs).argmax(1)
    assert float(same.mean()) == pytest.approx(chosen(report).measured or 0.0, abs=0.02)
    assert accuracy(outputs_of(model, digits.images), digits.classes) > 0.8


def test_the_curve_holds_what_can_be_had(within_bytes: Quantized, within_drop: Quantized) -> None:
    for made in (within_bytes, within_drop):
        points = trade_off_of(made.report).points
        sizes = [point.weight_bytes for point in points]
        assert 20 < len(points) <= 130
        assert sizes == sorted(sizes)
        assert [point.sensitivity for point in points] == sorted((p.sensitivity for p in points), reverse=True)
        assert all(point.predicted is not None for point in points)
        assert set(points[0].bits.values()) == {2}


def test_bytes_that_cannot_be_met_end_with_the_smallest(digits: Digits) -> None:
    report = run_on(digits.model, target={"max_bytes": 200}, max_steps=4).report
    assert not trade_off_of(report).met
    assert set(chosen(report).bits.values()) == {2}
    assert said(report, "The target is not met")


def test_evaluation_data_choose_nothing_where_bytes_are_asked_for(
    digits: Digits, evaluation: InputDataset, tmp_path: Path
) -> None:
    wrong = Digits(digits.model, digits.model, digits.calibration, digits.images, (digits.classes + 1) % 10)
    with open_dataset(digits_zip(tmp_path, wrong, count=COUNT), DatasetKind.IMAGES, SETTINGS) as mislabelled:
        first, other = (
            run_on(digits.model, evaluating(data), target={"max_bytes": 1300}, max_steps=8)
            for data in (evaluation, mislabelled)
        )
    assert first.content == other.content
    assert trade_off_of(first.report).measure == trade_off_of(other.report).measure == "accuracy"
    assert trade_off_of(first.report).original > 0.9
    assert trade_off_of(other.report).original < 0.1


def test_a_drop_is_met_on_the_evaluation_data(within_drop: Quantized, digits: Digits) -> None:
    report = within_drop.report
    trade_off = trade_off_of(report)
    (quality,) = report.quality
    assert trade_off.measure == "accuracy"
    assert trade_off.met
    assert (trade_off.original, chosen(report).measured) == (quality.before, quality.after)
    assert quality.before - quality.after <= 0.02 + 1e-9
    answers = outputs_of(load_model(within_drop.content, max_bytes=SETTINGS.max_model_bytes), digits.images[:COUNT])
    assert accuracy(answers, digits.classes[:COUNT]) == pytest.approx(quality.after, abs=0.02)
    assert report.size.weights_packed < 0.7 * trade_off.points[-1].weight_bytes
    met = [p.weight_bytes for p in trade_off.points if p.measured and quality.before - p.measured <= 0.02 + 1e-9]
    assert min(met) == chosen(report).weight_bytes, "the smallest of those measured"
    assert said(report, f"on {COUNT} samples of the evaluation data. So the choice has seen these")


def test_the_evaluation_data_are_measured_on_and_not_tuned_on(
    within_drop: Quantized, digits: Digits, tmp_path: Path
) -> None:
    """In another order they give the same accuracies, but would give other batches."""
    order = np.arange(COUNT)[::-1]
    reversed_digits = Digits(
        digits.model, digits.model, digits.calibration, digits.images[order], digits.classes[order]
    )
    with open_dataset(digits_zip(tmp_path, reversed_digits, count=COUNT), DatasetKind.IMAGES, SETTINGS) as data:
        other = run_on(digits.model, evaluating(data), target={"max_drop": 2.0}, max_steps=24)
    assert other.content == within_drop.content
    assert other.report.trade_off == within_drop.report.trade_off
    assert within_drop.made.synthetic is not None
    assert within_drop.made.synthetic.shape[1:] == (1, 8, 8)


def test_a_drop_that_cannot_be_met_ends_with_the_best(digits: Digits, evaluation: InputDataset) -> None:
    """One scale for each tensor of badly scaled weights loses more at 8 bits than a few steps win back."""
    report = run_on(
        digits.badly_scaled,
        evaluating(evaluation),
        target={"max_drop": 0.1},
        weight_granularity="tensor",
        method="zeroq",
        max_steps=12,
    ).report
    trade_off = trade_off_of(report)
    assert not trade_off.met
    assert report.quality[0].before - report.quality[0].after > 0.001
    assert chosen(report).measured == max(point.measured or 0.0 for point in trade_off.points)
    assert said(report, "This is the best that was found")


def test_without_evaluation_data_it_is_an_estimate(digits: Digits) -> None:
    made = run_on(digits.model, target={"max_drop": 5.0}, max_steps=16)
    report = made.report
    trade_off = trade_off_of(report)
    assert (trade_off.measure, trade_off.original) == ("agreement", 1.0)
    assert report.agreement.source == "synthetic"
    assert chosen(report).measured == report.agreement.top1
    assert trade_off.met == ((report.agreement.top1 or 0.0) >= 0.95 - 1e-9)
    assert said(report, "synthetic inputs that were held out. This is an estimate")
    held_out, synthetic = made.made.held_out, made.made.synthetic
    assert held_out is not None
    assert synthetic is not None
    assert len(held_out) == report.agreement.samples == len(synthetic) / 4


def test_ft_is_weighed_and_tuned_on_the_calibration_data_and_measured_on_others_of_them(
    digits: Digits, evaluation: InputDataset
) -> None:
    made = run_on(
        digits.model, Data(calibration=evaluation), method="ft", target={"max_drop": 4.0}, max_steps=10,
        calibration_dataset_id="dts_test",
    )  # fmt: skip
    report = made.report
    assert report.tuning is not None
    assert report.tuning.path == "the calibration data"
    assert report.agreement.source == "calibration"
    assert report.agreement.samples == COUNT / 4
    assert said(report, f"measured on {COUNT} calibration inputs")
    assert made.made.synthetic is None


@pytest.mark.parametrize("method", ["zeroq", "gdfq", "zaq"])
def test_other_methods_tune_mixed_networks_too(method: str, digits: Digits) -> None:
    report = run_on(digits.model, method=method, target={"max_bytes": 1100}, max_steps=16).report
    assert trade_off_of(report).met
    assert report.size.weights_packed <= 1100
    assert {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"} == chosen(report).bits
    assert report.tuning is not None
    assert report.tuning.steps == 16
    assert [phase.name for phase in report.tuning.phases][:2] == ["synthesis", "sensitivity"]


def test_a_network_whose_inputs_cannot_be_made_is_rounded() -> None:
    net = GraphBuilder(["n", 16], name="left")
    net.inputs.append(onnx.helper.make_tensor_value_info("right", onnx.TensorProto.FLOAT, ["n", 16]))
    for name in ("left", "right"):
        net.add("Gemm", name, net.weight(64, 16), net.weight(64), transB=1)
        net.add("Relu", output=f"{name}/relu")
    net.add("Add", "left/relu", "right/relu")
    net.add("Gemm", net.last, net.weight(10, 64), net.weight(10), transB=1)
    model = net.build()
    for target in ({"max_drop": 8.0}, {"max_bytes": 1500}):
        report = run_on(model, metadata=ModelMetadata(), target=target, max_steps=10).report
        assert report.tuning is None
        assert trade_off_of(report).met
        assert not chosen(report).tuned
        assert len(set(chosen(report).bits.values())) > 1
        assert report.agreement.source == "noise"
        assert said(report, "Nothing was tuned")
        assert said(report, "noise inputs")


def test_weights_that_take_more_than_was_reckoned_with_are_made_to_fit() -> None:
    """A weight of zeros needs but one bit, and what unpacks that takes more than its codes are worth."""
    net = GraphBuilder(["n", 3, 16, 16], name="image")
    net.conv(8, 3)
    trunk = net.add("Relu")
    net.add("Conv", trunk, net.constant(np.zeros((8, 8, 1, 1), np.float32), "nothing"))
    net.add("Add", net.last, trunk)
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 8), net.weight(5), transB=1)
    prepared = prepared_for(net.build(), IMAGES)

    def within(most: int) -> tuple[Reached, int]:
        target = Target(max_bytes=most)
        request = request_for(target=target, max_steps=2)
        made = reach(
            light(QuantizationMethod.AUTO), prepared, request, target, Data(), NoHooks(), accuracy_probe(None, prepared)
        )
        assert made.reached is not None
        return made.reached, weight_bytes(pack_weights(write_qdq(made.outcome.plan)))

    free, _ = within(10_000)
    base = RawQuantization()(prepared, request_for()).plan
    sizes = [weight_bytes(pack_weights(write_qdq(with_weight_bits(base, point.bits)))) for point in free.frontier]
    more = [index for index, size in enumerate(sizes) if index and size > free.frontier[index].weight_bytes]
    assert more
    for index in (more[-1], more[len(more) // 2]):
        limit = free.frontier[index].weight_bytes
        found, size = within(limit)
        assert size <= limit
        assert found.choice.index < index


class Watched(Recording):
    """A job that something happens to in a phase.

    Args:
        phase: How the name of the phase begins; never if empty.
        times: After how many words from it.
        killed: Whether the worker is killed then; else someone wants the best so far.
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
        """The phases it was told of, one after the other."""
        names = [training.phase for _, training in self.told]
        return [name for index, name in enumerate(names) if index == 0 or name != names[index - 1]]


@pytest.fixture(scope="module")
def network(digits: Digits) -> Prepared:
    return prepared_for(digits.model)


def reached(network: Prepared, evaluation: InputDataset, hooks: Hooks, **budget: float) -> TunedOutcome:
    target = Target(max_drop=0.5)
    request = request_for(target=target, seed=2, **(budget or {"max_steps": 36}))
    data = evaluating(evaluation)
    return reach(light(QuantizationMethod.AUTO), network, request, target, data, hooks, accuracy_probe(None, network))


@pytest.fixture(scope="module")
def whole(network: Prepared, evaluation: InputDataset) -> tuple[TunedOutcome, Watched]:
    hooks = Watched()
    return reached(network, evaluation, hooks), hooks


def test_it_goes_through_all_phases_and_only_forward(whole: tuple[TunedOutcome, Watched]) -> None:
    made, hooks = whole
    fractions = [fraction for fraction, _ in hooks.told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    phases = hooks.phases
    assert phases[:4] == ["synthesis", "sensitivity", "searching", "tuning W4+A8"]
    assert phases.count("measuring") > 1, "there is more than one try"
    steps = [training.step for _, training in hooks.told]
    assert steps == sorted(steps)
    assert made.tuning is not None
    assert made.tuning.steps == steps[-1] == 36
    assert [point.step for point in made.curves] == sorted(point.step for point in made.curves)
    assert sum(phase.steps for phase in made.tuning.phases) == 36
    assert {phase.name for phase in made.tuning.phases} == set(phases)


def test_equal_seeds_give_equal_networks(
    network: Prepared, evaluation: InputDataset, whole: tuple[TunedOutcome, Watched]
) -> None:
    again = reached(network, evaluation, NoHooks())
    assert digest(again.outcome.plan) == digest(whole[0].outcome.plan)
    assert again.outcome.notes == whole[0].outcome.notes


@pytest.mark.parametrize(
    ("phase", "times"),
    [("synthesis", 5), ("sensitivity", 7), ("searching", 3), ("tuning", 6), ("tuning", 20), ("tuning", 26)],
)
def test_after_a_kill_it_goes_on_and_ends_the_same(
    phase: str, times: int, network: Prepared, evaluation: InputDataset, whole: tuple[TunedOutcome, Watched]
) -> None:
    hooks = Watched(phase, times, killed=True)
    with pytest.raises(KilledError):
        reached(network, evaluation, hooks)
    assert hooks.checkpoint is not None
    again = Watched(checkpoint=hooks.checkpoint)
    resumed = reached(network, evaluation, again)
    expected, told = whole
    assert digest(resumed.outcome.plan) == digest(expected.outcome.plan)
    assert resumed.outcome.notes == expected.outcome.notes
    assert resumed.tuning is not None
    assert expected.tuning is not None
    assert resumed.tuning.resumed == 1
    assert resumed.tuning.kept_step == expected.tuning.kept_step
    assert resumed.reached is not None
    assert expected.reached is not None
    assert resumed.reached.choice == expected.reached.choice
    assert [point.step for point in resumed.curves] == [point.step for point in expected.curves]
    begun = [training.phase for _, training in again.told]
    assert len(begun) < len(told.told)
    if phase == "tuning":
        assert "synthesis" not in begun
        assert "sensitivity" not in begun
        taken = max(training.step for _, training in hooks.told)
        assert min(training.step for _, training in again.told) >= taken, "no step is taken twice"


def test_a_budget_in_minutes_is_spent_on_the_same(network: Prepared, evaluation: InputDataset) -> None:
    hooks = Watched()
    made = reached(network, evaluation, hooks, max_minutes=0.05)
    assert made.tuning is not None
    assert made.reached is not None
    assert hooks.phases[:3] == ["synthesis", "sensitivity", "searching"]
    assert made.reached.choice.met
    assert made.tuning.ended_by == "budget"
    assert made.tuning.steps == sum(phase.steps for phase in made.tuning.phases) > 0


@pytest.mark.parametrize(("phase", "times"), [("synthesis", 3), ("sensitivity", 3), ("searching", 2), ("tuning", 9)])
def test_a_stop_ends_it_soon_with_the_best_so_far(
    phase: str, times: int, network: Prepared, evaluation: InputDataset
) -> None:
    hooks = Watched(phase, times)
    made = reached(network, evaluation, hooks)
    assert made.tuning is not None
    assert made.tuning.ended_by == "request"
    assert made.reached is not None
    index = made.reached.choice.index
    assert {name: quantizer.bits for name, quantizer in made.outcome.plan.weights.items()} == (
        made.reached.frontier[index].bits
    )
    after = [training.phase for _, training in hooks.told].index(phase) if phase != "tuning" else 0
    tuned = [training for _, training in hooks.told[after:] if training.phase.startswith("tuning")]
    assert len(tuned) == (9 if phase == "tuning" else 0)
    assert len(made.reached.choice.measured) >= 1


def test_a_job_makes_a_mixed_model_with_its_image(
    redis: Redis, settings: Settings, library: Library, digits: Digits, tmp_path: Path
) -> None:
    model = stored_model(library, digits, classifier())
    dataset = stored_dataset(library, digits_zip(tmp_path, digits, count=120))
    request = request_for(target={"max_drop": 3.0}, max_steps=6, evaluation_dataset_id=dataset.id)
    specification = QuantizationJob(model_id=model.id, request=request)
    context = started(redis, settings, library, specification)
    context.succeed(quantize_model(context, specification))
    made = library.models.get(context.new_id("mdl"))
    assert made.name == "digits-auto-mixed"
    assert made.quantization is not None
    assert made.quantization.settings == request
    image = made.files["trade-off.png"]
    assert library.blobs.read(image.sha256).startswith(b"\x89PNG")
    assert image.media_type == "image/png"
    short = summary(made).quantization
    assert short is not None
    assert short.mixed
    assert short.weight_bits == max(chosen(made.quantization).bits.values())
    assert short.activation_bits == 8
