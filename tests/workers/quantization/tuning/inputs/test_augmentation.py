"""Augmented batches: of the same shape, within the same range, equal for equal seeds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.quantization.tuning.inputs.augmentation import augment


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, derandomize=True)
@given(
    count=st.integers(1, 7),
    sides=st.lists(st.integers(1, 40), min_size=0, max_size=3),
    mixup=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    cutmix=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_shape_dtype_and_range_are_kept_and_equal_seeds_give_equal_batches(
    count: int, sides: list[int], mixup: float, cutmix: float, seed: int
) -> None:
    x = torch.rand(count, 3, *sides, generator=seeded(seed)) * 4 - 1
    before = x.clone()
    made = augment(x, seeded(seed), images=len(sides) == 2, mixup=mixup, cutmix=cutmix)
    assert made.shape == x.shape
    assert made.dtype is x.dtype
    assert torch.equal(x, before), "what it is given stays"
    tolerance = 1e-6
    low, high = x.amin(), x.amax()
    assert (made >= low - tolerance).all()
    assert (made <= high + tolerance).all()
    assert torch.equal(made, augment(x, seeded(seed), images=len(sides) == 2, mixup=mixup, cutmix=cutmix))


def test_channels_are_not_mixed() -> None:
    x = torch.zeros(8, 3, 32, 32) + torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(augment(x, seeded(), images=True, mixup=1.0), x)


def test_signals_are_neither_mirrored_nor_shifted() -> None:
    x = torch.rand(6, 2, 40, generator=seeded())
    assert torch.equal(augment(x, seeded(), images=False, mixup=0.0), x)


def test_some_images_are_mirrored_and_all_are_shifted_by_at_most_a_sixteenth() -> None:
    """A bright column tells where it went."""
    side, place = 32, 10
    x = torch.zeros(64, 1, side, side)
    x[..., place] = 1
    seen = set()
    for seed in range(20):
        made = augment(x, seeded(seed), images=True, mixup=0.0)
        columns = made[:, 0, 0].argmax(1)
        mirrored = columns > side // 2
        assert 0 < mirrored.sum() < 64
        shifts = torch.where(mirrored, columns - (side - 1 - place), columns - place)
        assert len(set(shifts.tolist())) == 1, "a whole batch is moved alike"
        seen.add(int(shifts[0]))
    assert seen <= set(range(-2, 3))
    assert len(seen) > 1


def test_mixup_weighs_the_input_itself_most() -> None:
    x = torch.eye(16)
    made = augment(x, seeded(3), images=False, mixup=0.5)
    assert torch.equal(made[8:], x[8:]), "half of the batch is left alone"
    own = made.diagonal()[:8]
    assert (own >= 0.5).all()
    torch.testing.assert_close(made.sum(1), torch.ones(16))
    assert (own < 1).sum() >= 6


@pytest.mark.parametrize("sides", [(40,), (16, 24)])
def test_cutmix_pastes_a_box_at_the_same_place(sides: tuple[int, ...]) -> None:
    count = 12
    x = torch.arange(float(count)).view(-1, 1, *[1] * len(sides)) * 1000 + torch.rand(sides, generator=seeded())
    made = augment(x.expand(count, 2, *sides), seeded(1), images=False, mixup=0.0, cutmix=0.5)
    owner, place = made.div(1000, rounding_mode="floor"), made.remainder(1000)
    torch.testing.assert_close(place, (x.remainder(1000)).expand_as(place), rtol=0, atol=1e-3)
    foreign = owner != torch.arange(float(count)).view(-1, 1, *[1] * len(sides))
    assert not foreign[:6].any(), "the first are left alone"
    assert torch.equal(foreign[:, 0], foreign[:, 1]), "all channels alike"
    assert foreign[6:].flatten(1).any(1).sum() >= 4
    for inside in foreign[6:, 0]:
        if not inside.any():
            continue
        corners = [(int(where.min()), int(where.max()) + 1) for where in inside.nonzero().T]
        lengths = [end - start for start, end in corners]
        assert int(inside.sum()) == int(np.prod(lengths)), "a box"
        assert all(0.2 * side <= length <= 0.8 * side for length, side in zip(lengths, sides, strict=True))
    partners = {tuple(o.unique().tolist()) for o in owner[6:]}
    assert all(len(pair) <= 2 for pair in partners)


def test_gradients_flow_through() -> None:
    x = torch.rand(4, 3, 16, 16, requires_grad=True)
    torch.autograd.backward(augment(x, seeded(), images=True, mixup=0.5).sum())
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_changes_nothing(memory_format: torch.memory_format) -> None:
    x = torch.rand(4, 3, 16, 16, generator=seeded())
    expected = augment(x, seeded(1), images=True, mixup=0.5)
    assert torch.equal(augment(x.contiguous(memory_format=memory_format), seeded(1), images=True, mixup=0.5), expected)
