"""The inputs a network is tuned on, and those held out of it."""

import pytest
import torch

from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.methods_at_work import CPU, SIGNALS, prepared_for, signal_network
from workers.quantization.tuning.pool import Pool
from workers.quantization.tuning.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(prepared_for(signal_network(), SIGNALS), request_for(seed=3), CPU)


def numbered(count: int, start: int = 0) -> torch.Tensor:
    """Return inputs that tell their number."""
    return torch.arange(float(start), start + count)[:, None, None].expand(-1, 2, 24).clone()


def numbers(x: torch.Tensor) -> set[int]:
    return set(x[:, 0, 0].tolist())


def drawn(pool: Pool, times: int = 60) -> set[int]:
    return set().union(*(numbers(pool.draw()) for _ in range(times)))


@pytest.mark.parametrize("count", [8, 9, 40, 100])
def test_every_eighth_is_held_out_and_never_drawn(count: int, session: Session) -> None:
    pool = Pool(session, numbered(count), 16, 0.0)
    held_out = set(range(0, count, 8))
    assert numbers(pool.held_out) == held_out
    assert drawn(pool) == set(range(count)) - held_out
    assert numbers(pool.sample) <= set(range(count)) - held_out
    assert pool.draw().shape == (16, 2, 24)


@pytest.mark.parametrize("count", [1, 7])
def test_of_a_few_none_can_be_spared(count: int, session: Session) -> None:
    pool = Pool(session, numbered(count), 4, 0.0)
    assert numbers(pool.held_out) == drawn(pool) == set(range(count))


def test_512_are_enough_to_measure_on(session: Session) -> None:
    assert len(Pool(session, numbered(8 * 600), 4, 0.0).held_out) == 512


def test_what_is_drawn_is_mixed_and_pasted_as_asked(session: Session) -> None:
    plain, mixed, pasted = (
        Pool(session, numbered(80), 8, share, pasted=other).draw()
        for share, other in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5))
    )
    whole = [[len(set(x.flatten().tolist())) == 1 for x in batch] for batch in (plain, mixed, pasted)]
    assert all(whole[0])
    assert (plain[4:] == mixed[4:]).all(), "mixes come first"
    assert (plain[:4] != mixed[:4]).any()
    assert (plain[:4] == pasted[:4]).all(), "what gets a part of another comes last"
    assert not all(whole[2][4:])


def test_hard_inputs_are_mixed_two_and_two_and_always_the_same(session: Session) -> None:
    plain, hard, again = (Pool(session, numbered(80), 4, 0.0, hard=is_hard) for is_hard in (False, True, True))
    assert torch.equal(hard.held_out, again.held_out)
    assert not torch.equal(hard.held_out, plain.held_out)
    assert float(hard.held_out.max()) <= float(plain.held_out.max())
    assert not numbers(hard.held_out) <= numbers(plain.held_out)


def test_batches_depend_on_the_seed_and_go_on_from_where_they_were(session: Session) -> None:
    one, again = (Pool(session, numbered(100), 16, 0.5) for _ in range(2))
    assert torch.equal(one.draw(), again.draw())
    state = one.random.get_state()
    expected = [one.draw() for _ in range(3)]
    assert not torch.equal(expected[0], expected[1])
    again.random.set_state(state)
    assert all(torch.equal(again.draw(), wanted) for wanted in expected)
    other = Session(session.prepared, request_for(seed=4), CPU)
    assert not torch.equal(Pool(other, numbered(100), 16, 0.5).draw(), Pool(session, numbered(100), 16, 0.5).draw())


def test_what_it_is_given_is_not_changed(session: Session) -> None:
    inputs = numbered(32)
    pool = Pool(session, inputs, 16, 1.0, hard=True)
    for _ in range(5):
        pool.draw().zero_()
    assert torch.equal(inputs, numbered(32))
