"""Input synthesis: losses fall, batches are finished in order, equal seeds give equal inputs."""

import pytest
import torch

from faceter.contracts.models import ModelMetadata
from tests.workers.quantization.mixed.networks import two_headed
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    prepared_for,
    signal_network,
    without_batch_norm,
)
from workers.jobs.checkpoints import dump, load
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.inputs.synthesis import InputSynthesis, SynthesisSettings, initial_inputs
from workers.quantization.tuning.session import TuningSession


@pytest.fixture(scope="module")
def normalized(digits: Digits) -> PreparedNetwork:
    return prepared_for(digits.model, CLASSIFIER)


@pytest.fixture(scope="module")
def folded(digits: Digits) -> PreparedNetwork:
    return prepared_for(without_batch_norm(digits.model), CLASSIFIER)


def begun(prepared: PreparedNetwork, seed: int = 0, **settings: object) -> InputSynthesis:
    request = request_for(weight_bits=3, activation_bits=3, seed=seed)
    session = TuningSession(prepared, request, CPU)
    assert session.space is not None
    return InputSynthesis(session, session.space, SynthesisSettings(**settings))  # type: ignore[arg-type]


def steps(synthesis: InputSynthesis, count: int) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in synthesis.step(1.0).items()} for _ in range(count)]


def test_the_batch_norm_loss_falls(normalized: PreparedNetwork) -> None:
    synthesis = begun(normalized, batch=64, iterations=60)
    losses = steps(synthesis, 60)
    assert set(losses[0]) == {"statistics", "classes"}
    assert losses[-1]["statistics"] < 0.3 * losses[0]["statistics"]
    assert "BatchNorm" in synthesis.path


def test_the_class_loss_falls(normalized: PreparedNetwork) -> None:
    synthesis = begun(normalized, batch=64, iterations=60, class_weight=1.0)
    losses = steps(synthesis, 60)
    assert losses[-1]["classes"] < 0.5 * losses[0]["classes"]


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_soft_labels_have_one_main_class_and_one_other(normalized: PreparedNetwork, classes: int) -> None:
    wanted = begun(normalized, batch=256)._targets(classes)
    torch.testing.assert_close(wanted.sum(1), torch.ones(len(wanted)))
    assert ((wanted > 0).sum(1) <= 2).all()
    first = wanted.amax(1)
    assert (first >= 0.5).all()
    assert set(wanted.argmax(1).tolist()) == set(range(classes)), "all classes in turn"
    if classes > 1:
        assert float((1 - first).mean()) == pytest.approx(1 / 6, abs=0.03), "the mean of u² / 2"


def test_confidence_follows_the_soft_labels(normalized: PreparedNetwork) -> None:
    synthesis = begun(normalized, batch=64, iterations=80, class_weight=1.0)
    wanted = synthesis._targets(10)
    steps(synthesis, 80)
    [name] = synthesis.session.heads.tensors
    found = synthesis.session.teacher_outputs(synthesis.finished[0])[name].softmax(-1)
    unsure = wanted.amax(1) < 0.7
    assert float(found.amax(1)[unsure].mean()) < float(found.amax(1)[~unsure].mean()) - 0.1


def test_the_batch_norm_distance_is_zero_for_equal_statistics(normalized: PreparedNetwork) -> None:
    """((μ − β) / γ)² + (σ / γ − 1)², the mean over channels and then layers."""
    synthesis = begun(normalized)
    found = {}
    for name, item in normalized.statistics.items():
        beta, gamma = torch.tensor(item.beta), torch.tensor(item.gamma)
        signs = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
        found[name] = beta.view(1, -1, 1, 1) + gamma.view(1, -1, 1, 1) * signs
    assert float(synthesis._batch_norm_distance(found)) == pytest.approx(0, abs=1e-4)
    moved = {
        name: values + 2 * torch.tensor(normalized.statistics[name].gamma).view(1, -1, 1, 1)
        for name, values in found.items()
    }
    assert float(synthesis._batch_norm_distance(moved)) == pytest.approx(4, rel=1e-3)


def test_without_batch_norm_only_the_class_loss_is_used(folded: PreparedNetwork) -> None:
    synthesis = begun(folded, batch=64, iterations=40)
    losses = steps(synthesis, 40)
    assert losses[0].keys() == {"classes"}
    assert losses[-1]["classes"] < 0.5 * losses[0]["classes"]
    assert synthesis.path == "inputs made for random classes, the model holding no BatchNorm statistics"


def test_without_statistics_and_classes_procedural_images_are_unchanged() -> None:
    synthesis = begun(prepared_for(two_headed(), IMAGES), batch=6, iterations=9)
    begin = synthesis.all_inputs()
    assert steps(synthesis, 2) == [{}, {}]
    first, second = synthesis.finished
    assert torch.equal(first, begin)
    assert not torch.equal(first, second)
    assert synthesis.path == "procedural images, the model holding no BatchNorm statistics"


def test_without_statistics_and_classes_inputs_that_are_no_images_are_noise() -> None:
    synthesis = begun(prepared_for(without_batch_norm(signal_network()), ModelMetadata()), batch=64)
    assert steps(synthesis, 3) == [{}, {}, {}]
    first, second, _ = synthesis.finished
    assert not torch.equal(first, second)
    for batch in synthesis.finished:
        assert float(batch.mean()) == pytest.approx(0, abs=0.05)
        assert float(batch.std()) == pytest.approx(1, abs=0.05)
    assert synthesis.path == "noise, the model holding no BatchNorm statistics"


def test_beyond_the_memory_limit_the_oldest_batch_is_dropped(normalized: PreparedNetwork) -> None:
    kept = 2 * 6 * 64 * 4
    synthesis = begun(normalized, batch=6, iterations=1, max_bytes=kept)
    steps(synthesis, 1)
    assert not synthesis.is_full
    steps(synthesis, 1)
    assert synthesis.is_full
    second = synthesis.finished[1]
    steps(synthesis, 1)
    assert len(synthesis.finished) == 2
    assert synthesis.finished[0] is second


@pytest.mark.parametrize("kind", ["images", "signals"])
def test_all_finished_batches_are_returned(kind: str, normalized: PreparedNetwork) -> None:
    prepared = normalized if kind == "images" else prepared_for(signal_network(), SIGNALS)
    synthesis = begun(prepared, batch=6, iterations=3)
    space = synthesis.space
    begin = synthesis.all_inputs()
    assert begin.shape == (6, *space.shape), "what is in work, as long as there is nothing else"
    steps(synthesis, 7)
    assert synthesis.all_inputs().shape == (12, *space.shape)
    assert torch.equal(space.clamp(synthesis.all_inputs()), synthesis.all_inputs())
    first, second = synthesis.finished
    assert not torch.equal(first, second)
    assert not torch.equal(first, begin)


def test_equal_seeds_give_equal_inputs_and_others_others(normalized: PreparedNetwork) -> None:
    one, again, other = (begun(normalized, seed, batch=6, iterations=2) for seed in (1, 1, 2))
    for synthesis in (one, again, other):
        steps(synthesis, 5)
    assert torch.equal(one.all_inputs(), again.all_inputs())
    assert not torch.equal(one.all_inputs(), other.all_inputs())


@pytest.mark.parametrize("done", [0, 1, 3, 4])
def test_it_resumes_from_its_state(done: int, normalized: PreparedNetwork) -> None:
    whole = begun(normalized, 1, batch=6, iterations=3)
    steps(whole, done)
    state = load(dump(whole.state()))
    expected = steps(whole, 5)
    again = begun(normalized, 1, batch=6, iterations=3)
    again.restore(state)
    assert steps(again, 5) == expected
    assert torch.equal(again.all_inputs(), whole.all_inputs())


def test_it_resumes_with_less_memory(normalized: PreparedNetwork) -> None:
    """Another worker may have more or less of it; batches keep the size that they began with."""
    first = begun(normalized, 1, batch=8, iterations=2)
    steps(first, 3)
    again = begun(normalized, 1, batch=8, iterations=2)
    again.session.max_batch = 4
    again.restore(load(dump(first.state())))
    assert steps(again, 5) == steps(first, 5)


def test_a_lower_learning_rate_moves_inputs_less(normalized: PreparedNetwork) -> None:
    moved = []
    for rate in (1.0, 0.2):
        synthesis = begun(normalized, 1, batch=6, iterations=9)
        before = synthesis.all_inputs()
        synthesis.step(rate)
        moved.append(float((synthesis.all_inputs() - before).abs().mean()))
    assert moved[1] == pytest.approx(0.2 * moved[0], rel=0.15)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_initial_inputs_are_valid_inputs(count: int, normalized: PreparedNetwork) -> None:
    for prepared in (normalized, prepared_for(signal_network(), SIGNALS)):
        session = TuningSession(prepared, request_for(), CPU)
        assert session.space is not None
        made = initial_inputs(session.space, count, 7)
        assert made.shape == (count, *session.space.shape)
        assert made.dtype is torch.float32
        torch.testing.assert_close(session.space.clamp(made), made)
        assert torch.equal(made, initial_inputs(session.space, count, 7))
        assert not torch.equal(made, initial_inputs(session.space, count, 8))
