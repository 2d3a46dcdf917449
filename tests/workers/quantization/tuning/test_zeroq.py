import pytest
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    prepared_for,
    signal_network,
    take_step,
    without_batch_norm,
)
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.losses import output_divergence
from workers.quantization.zeroq import ZeroQ, ZeroQTrainer


def new_trainer(digits: Digits, **settings: object) -> ZeroQTrainer:
    method = ZeroQ(**{"batch": 32, "iterations": 40, **settings})  # type: ignore[arg-type]
    prepared = prepared_for(digits.model)
    request = request_for(method="zeroq", weight_bits=4, activation_bits=4)
    session = TuningSession(prepared, request, CPU)
    return method.trainer(session, method.start(prepared, request).plan)


def test_distillation_approaches_the_statistics_of_batch_norm(digits: Digits) -> None:
    trainer = new_trainer(digits)
    losses = [{name: float(value) for name, value in trainer.distill().items()} for _ in range(40)]
    assert losses[-1]["statistics"] < 0.2 * losses[0]["statistics"]
    assert trainer.iteration == 0, "another batch has been begun"
    made = trainer.synthetic()
    assert made is not None
    assert made.shape == (32, 1, 8, 8)


def test_the_first_batch_is_held_out_and_the_rest_tuned_on(digits: Digits) -> None:
    trainer = new_trainer(digits, iterations=2, synthesis_share=0.5)
    for step in range(7):
        take_step(trainer, step / 14)
    assert trainer.held_out() is None
    finished = trainer.synthetic()
    assert finished is not None
    assert len(finished) == 3 * 32
    take_step(trainer, 0.5)
    held_out = trainer.held_out()
    assert held_out is not None
    assert trainer.held_out() is held_out
    assert torch.equal(held_out.cpu(), finished[:32])
    assert trainer.pool is not None
    assert torch.equal(trainer.pool[:64].cpu(), finished[32:])
    assert len(trainer.pool) == 3 * 32, "the batch in work was half done"


def test_half_of_a_single_batch_is_held_out(digits: Digits) -> None:
    trainer = new_trainer(digits)
    trainer.distill()
    trainer.begin_tuning()
    held_out = trainer.held_out()
    assert held_out is not None
    assert trainer.pool is not None
    assert len(held_out) == len(trainer.pool) == 16
    assert not torch.equal(held_out, trainer.pool)


def test_ranges_are_the_smallest_and_largest_values_on_the_distilled_data(digits: Digits) -> None:
    trainer = new_trainer(digits, iterations=10)
    for _ in range(30):
        trainer.distill()
    trainer.begin_tuning()
    session, plan = trainer.session, trainer.student.plan()
    assert trainer.pool is not None
    sites = [site for site in plan.sites.activations if site.role == "full"]
    with torch.no_grad():
        seen = session.teacher(trainer.pool, watch=[name for site in sites for name in site.tensors])
    assert sites
    for site in sites:
        quantizer = plan.activations[site.name]
        high = max(float(seen[name].max()) for name in site.tensors)
        low = min(0.0, *(float(seen[name].min()) for name in site.tensors))
        assert float(quantizer.scale) * 15 == pytest.approx(high - low, rel=1e-4)


def test_tuning_lowers_the_divergence(digits: Digits) -> None:
    trainer = new_trainer(digits, iterations=20, learning_rate=0.01)
    for _ in range(60):
        trainer.distill()
    trainer.begin_tuning()
    session, held_out = trainer.session, trainer.held_out()
    assert held_out is not None

    def divergence() -> float:
        with torch.no_grad():
            given = session.run(trainer.student, held_out)
        return float(output_divergence(session.heads, session.teacher_outputs(held_out), given))

    before = divergence()
    for step in range(60):
        assert trainer.phase == "tuning"
        take_step(trainer, 0.5 + step / 120)
    assert divergence() < 0.8 * before


def test_a_network_without_batch_norm_is_refused(digits: Digits) -> None:
    with pytest.raises(FaceterError, match="zaq, auto, ft, rq, dfq and aciq") as caught:
        ZeroQ().check(prepared_for(without_batch_norm(digits.model)))
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE
    assert caught.value.errors[0].field == "method"


def test_networks_with_batch_norm_of_any_task_are_accepted(digits: Digits) -> None:
    ZeroQ().check(prepared_for(digits.model, CLASSIFIER))
    ZeroQ().check(prepared_for(digits.model, IMAGES))
    ZeroQ().check(prepared_for(signal_network(), SIGNALS))
