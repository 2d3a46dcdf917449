"""Nearest neighbours are those of the definition, in float64, however samples lie."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.references import neighbors as slow
from tests.workers.evaluation.samples import Floats, gaussian, kinds, two_far_clusters
from workers.evaluation.neighbors import nearest, scaled_points, smallest_per_row


@kinds
@pytest.mark.parametrize("width", [1, 2, 33, 512])
def test_within_a_set(kind: Callable[[Floats], Floats], width: int) -> None:
    x = kind(gaussian(230, width))
    [points] = scaled_points(x)
    found = nearest(points, points, 5)
    np.testing.assert_allclose(found.distances * points.scale, slow.nearest_within(x, 5), rtol=1e-12)
    assert not (found.indices == np.arange(len(x))[:, None]).any(), "no sample is its own neighbour"


@kinds
@pytest.mark.parametrize("width", [1, 48])
def test_between_two_sets(kind: Callable[[Floats], Floats], width: int) -> None:
    x, y = kind(gaussian(150, width)), kind(gaussian(210, width, seed=1))
    one, other = scaled_points(x, y)
    found = nearest(one, other, 3)
    expected = slow.distances(x, y)
    np.testing.assert_allclose(found.distances * one.scale, np.sort(expected, axis=1)[:, :3], rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(expected, found.indices, 1), found.distances * one.scale, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 7, 19])
def test_up_to_all_others(k: int) -> None:
    x = gaussian(20, 3)
    [points] = scaled_points(x)
    found = nearest(points, points, k)
    np.testing.assert_allclose(found.distances * points.scale, slow.nearest_within(x, k), rtol=1e-12)


def test_equally_near_ones_come_in_the_order_of_their_index() -> None:
    x = np.array([[0.0], [1], [-1], [2], [-2]])
    [points] = scaled_points(x)
    assert nearest(points, points, 4).indices[0].tolist() == [1, 2, 3, 4]


def test_features_in_float32_are_taken_for_what_they_are() -> None:
    x = gaussian(90, 40).astype(np.float32)
    [points] = scaled_points(x)
    found = nearest(points, points, 2)
    np.testing.assert_allclose(found.distances * points.scale, slow.nearest_within(x.astype(np.float64), 2), rtol=1e-12)


@pytest.mark.parametrize(("kind", "dtype"), [(np.copy, torch.float32), (two_far_clusters, torch.float64)])
def test_products_are_in_float64_where_float32_is_too_coarse(
    kind: Callable[[Floats], Floats], dtype: torch.dtype
) -> None:
    [points] = scaled_points(kind(gaussian(300, 64)))
    assert points.scaled.dtype is dtype


@pytest.mark.parametrize("columns", [5, 96, 1000, 1003])
@pytest.mark.parametrize("count", [1, 4, 13])
def test_the_smallest_of_each_row(columns: int, count: int) -> None:
    values = torch.rand(30, columns, generator=torch.Generator().manual_seed(0))
    found, where = smallest_per_row(values, count)
    expected = torch.sort(values, 1).values[:, : min(count, columns)]
    assert torch.equal(torch.sort(found, 1).values, expected)
    assert torch.equal(values.gather(1, where), found)
    transposed = smallest_per_row(values.T, 3)
    assert torch.equal(torch.sort(transposed[0], 1).values, torch.sort(values.T, 1).values[:, :3])


def test_progress_rises_to_the_end() -> None:
    [points] = scaled_points(gaussian(200, 4))
    fractions: list[float] = []
    nearest(points, points, 2, fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
