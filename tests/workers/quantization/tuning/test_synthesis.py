"""Inputs made from the float network alone: they come to fit what it expects, and are the same for equal seeds."""

import pytest
import torch

from faceter.contracts.models import ModelMetadata
from tests.workers.quantization.mixed.networks import two_headed
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.methods_at_work import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    prepared_for,
    signal_network,
    without_batch_norm,
)
from workers.jobs.checkpoints import dump, load
from workers.quantization.prepared import Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.session import Session
from workers.quantization.tuning.synthesis import Objective, Synthesis, beginnings


@pytest.fixture(scope="module")
def normalized(digits: Digits) -> Prepared:
    return prepared_for(digits.model, CLASSIFIER)


@pytest.fixture(scope="module")
def folded(digits: Digits) -> Prepared:
    return prepared_for(without_batch_norm(digits.model), CLASSIFIER)


def begun(prepared: Prepared, seed: int = 0, **settings: object) -> Synthesis:
    request = request_for(weight_bits=3, activation_bits=3, seed=seed)
    session = Session(prepared, request, CPU)
    assert session.space is not None
    adversary = session.student(RawQuantization()(prepared, request).plan, learned_steps=False).requires_grad_(False)
    return Synthesis(session, session.space, adversary, Objective(**settings))  # type: ignore[arg-type]


def steps(synthesis: Synthesis, count: int) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in synthesis.step(1.0).items()} for _ in range(count)]


def test_inputs_come_to_have_the_statistics_that_batch_norm_remembers(normalized: Prepared) -> None:
    synthesis = begun(normalized, batch=64, iterations=60)
    losses = steps(synthesis, 60)
    assert set(losses[0]) == {"statistics", "classes"}
    assert losses[-1]["statistics"] < 0.3 * losses[0]["statistics"]
    assert "BatchNorm" in synthesis.path


def test_inputs_come_to_be_of_the_classes_they_are_asked_for(normalized: Prepared) -> None:
    synthesis = begun(normalized, batch=64, iterations=60, classes=1.0)
    losses = steps(synthesis, 60)
    assert losses[-1]["classes"] < 0.5 * losses[0]["classes"]


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_answers_asked_for_are_mostly_one_class_and_partly_another(normalized: Prepared, classes: int) -> None:
    wanted = begun(normalized, batch=256)._targets(classes)
    torch.testing.assert_close(wanted.sum(1), torch.ones(len(wanted)))
    assert ((wanted > 0).sum(1) <= 2).all()
    first = wanted.amax(1)
    assert (first >= 0.5).all()
    assert set(wanted.argmax(1).tolist()) == set(range(classes)), "all classes in turn"
    if classes > 1:
        assert float((1 - first).mean()) == pytest.approx(1 / 6, abs=0.03), "the mean of u² / 2"


def test_inputs_are_as_unsure_as_they_are_asked_to_be(normalized: Prepared) -> None:
    synthesis = begun(normalized, batch=64, iterations=80, classes=1.0)
    wanted = synthesis._targets(10)
    steps(synthesis, 80)
    [name] = synthesis.session.heads.tensors
    found = synthesis.session.ask_teacher(synthesis.made[0])[name].softmax(-1)
    unsure = wanted.amax(1) < 0.7
    assert float(found.amax(1)[unsure].mean()) < float(found.amax(1)[~unsure].mean()) - 0.1


def test_the_statistic_is_zero_for_what_has_just_the_right_one(normalized: Prepared) -> None:
    """((μ − β) / γ)² + (σ / γ − 1)², the mean over channels and then layers."""
    synthesis = begun(normalized)
    found = {}
    for name, item in normalized.statistics.items():
        beta, gamma = torch.tensor(item.beta), torch.tensor(item.gamma)
        signs = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        found[name] = beta.view(1, -1, 1, 1) + gamma.view(1, -1, 1, 1) * signs
    assert float(synthesis._distance(found)) == pytest.approx(0, abs=1e-4)
    moved = {
        name: values + 2 * torch.tensor(normalized.statistics[name].gamma).view(1, -1, 1, 1)
        for name, values in found.items()
    }
    assert float(synthesis._distance(moved)) == pytest.approx(4, rel=1e-3)


def test_without_statistics_they_are_made_for_classes_alone(folded: Prepared) -> None:
    synthesis = begun(folded, batch=64, iterations=40)
    losses = steps(synthesis, 40)
    assert losses[0].keys() == {"classes"}
    assert losses[-1]["classes"] < 0.5 * losses[0]["classes"]
    assert synthesis.path == "inputs made for random classes, the model holding no BatchNorm statistics"


def test_without_classes_too_procedural_images_stay_as_they_are() -> None:
    synthesis = begun(prepared_for(two_headed(), IMAGES), batch=6, iterations=9)
    begin = synthesis.pool()
    assert steps(synthesis, 2) == [{}, {}]
    first, second = synthesis.made
    assert torch.equal(first, begin)
    assert not torch.equal(first, second)
    assert synthesis.path == "procedural images, the model holding no BatchNorm statistics"


def test_other_inputs_are_sought_where_the_networks_differ() -> None:
    folded_signals = prepared_for(without_batch_norm(signal_network()), ModelMetadata())
    synthesis = begun(folded_signals, batch=64, iterations=40)
    losses = steps(synthesis, 40)
    assert losses[0].keys() == {"disagreement"}
    assert losses[-1]["disagreement"] > 1.5 * losses[0]["disagreement"]
    assert synthesis.path == "adversarial inputs, the model holding no BatchNorm statistics"


def test_beyond_what_memory_may_hold_the_first_inputs_are_dropped(normalized: Prepared) -> None:
    kept = 2 * 6 * 64 * 4
    synthesis = begun(normalized, batch=6, iterations=1, most_bytes=kept)
    steps(synthesis, 1)
    assert not synthesis.enough
    steps(synthesis, 1)
    assert synthesis.enough
    second = synthesis.made[1]
    steps(synthesis, 1)
    assert len(synthesis.made) == 2
    assert synthesis.made[0] is second


@pytest.mark.parametrize("kind", ["images", "signals"])
def test_batches_follow_one_another_and_all_are_in_the_pool(kind: str, normalized: Prepared) -> None:
    prepared = normalized if kind == "images" else prepared_for(signal_network(), SIGNALS)
    synthesis = begun(prepared, batch=6, iterations=3)
    space = synthesis.space
    begin = synthesis.pool()
    assert begin.shape == (6, *space.shape), "what is in work, as long as there is nothing else"
    steps(synthesis, 7)
    assert synthesis.pool().shape == (12, *space.shape)
    assert torch.equal(space.clamp(synthesis.pool()), synthesis.pool())
    first, second = synthesis.made
    assert not torch.equal(first, second)
    assert not torch.equal(first, begin)


def test_equal_seeds_give_equal_inputs_and_others_others(normalized: Prepared) -> None:
    one, again, other = (begun(normalized, seed, batch=6, iterations=2) for seed in (1, 1, 2))
    for synthesis in (one, again, other):
        steps(synthesis, 5)
    assert torch.equal(one.pool(), again.pool())
    assert not torch.equal(one.pool(), other.pool())


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_it_goes_on_from_its_state(done: int, normalized: Prepared) -> None:
    whole = begun(normalized, 1, batch=6, iterations=3)
    steps(whole, done)
    state = load(dump(whole.state()))
    expected = steps(whole, 5)
    again = begun(normalized, 1, batch=6, iterations=3)
    again.restore(state)
    assert steps(again, 5) == expected
    assert torch.equal(again.pool(), whole.pool())


def test_it_goes_on_where_less_fits_into_memory(normalized: Prepared) -> None:
    """Another worker may have more or less of it; batches keep the size that they began with."""
    first = begun(normalized, 1, batch=8, iterations=2)
    steps(first, 3)
    again = begun(normalized, 1, batch=8, iterations=2)
    again.session.most = 4
    again.restore(load(dump(first.state())))
    assert steps(again, 5) == steps(first, 5)


def test_a_lower_rate_moves_inputs_less(normalized: Prepared) -> None:
    moved = []
    for rate in (1.0, 0.2):
        synthesis = begun(normalized, 1, batch=6, iterations=9)
        before = synthesis.pool()
        synthesis.step(rate)
        moved.append(float((synthesis.pool() - before).abs().mean()))
    assert moved[1] == pytest.approx(0.2 * moved[0], rel=0.15)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_beginnings_are_inputs_a_network_can_be_given(count: int, normalized: Prepared) -> None:
    for prepared in (normalized, prepared_for(signal_network(), SIGNALS)):
        session = Session(prepared, request_for(), CPU)
        assert session.space is not None
        made = beginnings(session.space, count, 7)
        assert made.shape == (count, *session.space.shape)
        assert made.dtype is torch.float32
        torch.testing.assert_close(session.space.clamp(made), made)
        assert torch.equal(made, beginnings(session.space, count, 7))
        assert not torch.equal(made, beginnings(session.space, count, 8))
