"""Maps at the pixels of a sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from workers.explanation.samples import Frame
from workers.explanation.sampling import Sampler, visible

sides = st.integers(1, 13)


@settings(max_examples=60, deadline=None)
@given(grid=st.tuples(sides, sides), size=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_it_is_bilinear_interpolation_as_torch_has_it(grid: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *size)).astype(np.float32))
    expected = F.interpolate(maps[None], grid, mode="bilinear", align_corners=False)[0].reshape(3, -1)
    torch.testing.assert_close(Sampler(grid, size)(maps), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(grid=st.tuples(sides, sides), size=st.tuples(sides, sides), seed=st.integers(0, 9999))
def test_nothing_between_two_values_is_over_the_larger(grid: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy((rng.normal(size=(2, *size)) * 10.0 ** rng.integers(-30, 30)).astype(np.float32))
    brought = Sampler(grid, size)(maps)
    assert (brought.amax(1) <= maps.amax((1, 2))).all()
    assert (brought.amin(1) >= maps.amin((1, 2))).all()


def test_a_plateau_stays_what_it_is() -> None:
    maps = torch.full((1, 5, 7), 0.1)
    assert (Sampler((112, 112), (5, 7))(maps) == torch.tensor(0.1)).all()


def test_a_cropped_sample_is_seen_in_its_middle_only() -> None:
    # the middle half of the columns fills the input
    frame = Frame(scale=(1.0, 2.0), offset=(0.0, -0.5))
    seen = visible((2, 8), frame)
    assert seen is not None
    assert seen.reshape(2, 8).tolist() == [[False, False, True, True, True, True, False, False]] * 2
    maps = torch.arange(4.0).reshape(1, 1, 4)
    assert Sampler((1, 8), (1, 4), frame)(maps)[0, 2:6].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_padded_sample_fills_a_part_of_the_map() -> None:
    # the sample takes the upper half of the input
    frame = Frame(scale=(0.5, 1.0))
    maps = torch.arange(4.0).reshape(1, 4, 1)
    assert Sampler((2, 1), (4, 1), frame)(maps)[0].tolist() == [0.0, 1.0]
    assert visible((2, 1), frame) is None


@pytest.mark.parametrize("frame", [Frame(), Frame((0.9, 0.9), (0.05, 0.05))])
def test_all_is_visible_unless_cropped(frame: Frame) -> None:
    assert visible((5, 5), frame) is None


@settings(max_examples=100, deadline=None)
@given(
    grid=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    seed=st.integers(0, 9999),
    share=st.sampled_from([0.01, 0.2, 0.9]),
    frame=st.sampled_from([Frame(), Frame((0.5, 1.0), (0.25, 0.0)), Frame((1.0, 2.0), (0.0, -0.5))]),
)
def test_looking_around_the_cells_that_are_over_finds_every_pixel_that_is(
    grid: tuple[int, int], size: tuple[int, int], seed: int, share: float, frame: Frame
) -> None:
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, *size)).astype(np.float32))
    over = torch.from_numpy(np.quantile(maps.reshape(4, -1).numpy(), 1 - share, axis=1).astype(np.float32))
    sampler = Sampler(grid, size, frame)
    unit, pixel = torch.nonzero(sampler(maps) > over[:, None], as_tuple=True)
    found = sampler.firing(maps, over)
    assert found[0].tolist() == unit.tolist()
    assert found[1].tolist() == pixel.tolist()
