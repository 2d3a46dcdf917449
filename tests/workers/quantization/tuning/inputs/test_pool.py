"""The pool of inputs that a network is tuned on, and the hold-out set."""

import pytest
import torch

from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import CPU, SIGNALS, prepared_for, signal_network
from workers.quantization.tuning.inputs.pool import InputPool
from workers.quantization.tuning.session import TuningSession


@pytest.fixture(scope="module")
def session() -> TuningSession:
    return TuningSession(prepared_for(signal_network(), SIGNALS), request_for(seed=3), CPU)


def numbered(count: int, start: int = 0) -> torch.Tensor:
    """Return inputs that tell their number."""
    return torch.arange(float(start), start + count)[:, None, None].expand(-1, 2, 24).clone()


def numbers(x: torch.Tensor) -> set[int]:
    return set(x[:, 0, 0].tolist())


def drawn(pool: InputPool, times: int = 60) -> set[int]:
    return set().union(*(numbers(pool.draw()) for _ in range(times)))


@pytest.mark.parametrize("count", [8, 9, 40, 100])
def test_every_eighth_is_held_out_and_never_drawn(count: int, session: TuningSession) -> None:
    pool = InputPool(session, numbered(count), 16, 0.0)
    held_out = set(range(0, count, 8))
    assert numbers(pool.held_out) == held_out
    assert drawn(pool) == set(range(count)) - held_out
    assert numbers(pool.sample) <= set(range(count)) - held_out
    assert pool.draw().shape == (16, 2, 24)


@pytest.mark.parametrize("count", [1, 7])
def test_with_few_inputs_none_is_held_out_alone(count: int, session: TuningSession) -> None:
    pool = InputPool(session, numbered(count), 4, 0.0)
    assert numbers(pool.held_out) == drawn(pool) == set(range(count))


def test_at_most_512_are_held_out(session: TuningSession) -> None:
    assert len(InputPool(session, numbered(8 * 600), 4, 0.0).held_out) == 512


def test_draws_use_mixup_and_cutmix(session: TuningSession) -> None:
    plain, mixed, pasted = (
        InputPool(session, numbered(80), 8, share, cutmix=other).draw()
        for share, other in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    )
    whole = [[len(set(x.flatten().tolist())) == 1 for x in batch] for batch in (plain, mixed, pasted)]
    assert all(whole[0])
    assert (plain[4:] == mixed[4:]).all(), "mixes come first"
    assert (plain[:4] != mixed[:4]).any()
    assert (plain[:4] == pasted[:4]).all(), "what gets a part of another comes last"
    assert not all(whole[2][4:])


def test_the_hold_out_set_is_mixed_once(session: TuningSession) -> None:
    plain, hard, again = (
        InputPool(session, numbered(80), 4, 0.0, mix_held_out=is_hard) for is_hard in (False, True, True)
    )
    assert torch.equal(hard.held_out, again.held_out)
    assert not torch.equal(hard.held_out, plain.held_out)
    assert float(hard.held_out.max()) <= float(plain.held_out.max())
    assert not numbers(hard.held_out) <= numbers(plain.held_out)


def test_batches_depend_on_the_seed_and_resume(session: TuningSession) -> None:
    one, again = (InputPool(session, numbered(100), 16, 0.5) for _ in range(2))
    assert torch.equal(one.draw(), again.draw())
    state = one.random.get_state()
    expected = [one.draw() for _ in range(3)]
    assert not torch.equal(expected[0], expected[1])
    again.random.set_state(state)
    assert all(torch.equal(again.draw(), wanted) for wanted in expected)
    other = TuningSession(session.prepared, request_for(seed=4), CPU)
    assert not torch.equal(
        InputPool(other, numbered(100), 16, 0.5).draw(), InputPool(session, numbered(100), 16, 0.5).draw()
    )


def test_the_inputs_are_not_changed(session: TuningSession) -> None:
    inputs = numbered(32)
    pool = InputPool(session, inputs, 16, 1.0, mix_held_out=True)
    for _ in range(5):
        pool.draw().zero_()
    assert torch.equal(inputs, numbered(32))
