"""Bilinear upsampling of activation maps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from workers.explanation.probe.dataset import InputPlacement
from workers.explanation.upsampling import Upsampler, visible_pixels

sides = st.integers(1, 13)


@settings(max_examples=60, deadline=None)
@given(grid=st.tuples(sides, sides), size=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_it_is_bilinear_interpolation_of_torch(grid: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, *size)).astype(np.float32))
    expected = F.interpolate(maps[None], grid, mode="bilinear", align_corners=False)[0].reshape(3, -1)
    torch.testing.assert_close(Upsampler(grid, size)(maps), expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(grid=st.tuples(sides, sides), size=st.tuples(sides, sides), seed=st.integers(0, 9999))
def test_no_value_exceeds_its_neighbours(grid: tuple[int, int], size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = torch.from_numpy((rng.normal(size=(2, *size)) * 10.0 ** rng.integers(-30, 30)).astype(np.float32))
    upsampled = Upsampler(grid, size)(maps)
    assert (upsampled.amax(1) <= maps.amax((1, 2))).all()
    assert (upsampled.amin(1) >= maps.amin((1, 2))).all()


def test_a_constant_map_stays_constant() -> None:
    maps = torch.full((1, 5, 7), 0.1)
    assert (Upsampler((112, 112), (5, 7))(maps) == torch.tensor(0.1)).all()


def test_a_cropped_sample_is_visible_in_its_middle_only() -> None:
    # the middle half of the columns fills the input
    placement = InputPlacement(scale=(1.0, 2.0), offset=(0.0, -0.5))
    visible = visible_pixels((2, 8), placement)
    assert visible is not None
    assert visible.reshape(2, 8).tolist() == [[False, False, True, True, True, True, False, False]] * 2
    maps = torch.arange(4.0).reshape(1, 1, 4)
    assert Upsampler((1, 8), (1, 4), placement)(maps)[0, 2:6].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_padded_sample_fills_a_part_of_the_map() -> None:
    # the sample takes the upper half of the input
    placement = InputPlacement(scale=(0.5, 1.0))
    maps = torch.arange(4.0).reshape(1, 4, 1)
    assert Upsampler((2, 1), (4, 1), placement)(maps)[0].tolist() == [0.0, 1.0]
    assert visible_pixels((2, 1), placement) is None


@pytest.mark.parametrize("placement", [InputPlacement(), InputPlacement((0.9, 0.9), (0.05, 0.05))])
def test_all_pixels_are_visible_unless_cropped(placement: InputPlacement) -> None:
    assert visible_pixels((5, 5), placement) is None


@settings(max_examples=100, deadline=None)
@given(
    grid=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    seed=st.integers(0, 9999),
    share=st.sampled_from([0.01, 0.2, 0.9]),
    placement=st.sampled_from(
        [InputPlacement(), InputPlacement((0.5, 1.0), (0.25, 0.0)), InputPlacement((1.0, 2.0), (0.0, -0.5))]
    ),
)
def test_the_sparse_path_finds_every_firing_pixel(
    grid: tuple[int, int], size: tuple[int, int], seed: int, share: float, placement: InputPlacement
) -> None:
    maps = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, *size)).astype(np.float32))
    thresholds = torch.from_numpy(np.quantile(maps.reshape(4, -1).numpy(), 1 - share, axis=1).astype(np.float32))
    upsampler = Upsampler(grid, size, placement)
    unit, pixel = torch.nonzero(upsampler(maps) > thresholds[:, None], as_tuple=True)
    found_units, found_pixels = upsampler.firing(maps, thresholds)
    assert found_units.tolist() == unit.tolist()
    assert found_pixels.tolist() == pixel.tolist()
