"""The projection has the two directions of largest variance."""

import numpy as np
import pytest

from tests.workers.evaluation.samples import gaussian
from workers.evaluation.projection import principal_components, random_subset


def test_directions_of_most_variance_and_their_shares() -> None:
    rows = gaussian(1500, 6) * np.array([1, 5, 1, 3, 1, 1]) + 7
    found = principal_components(rows, np.random.default_rng(0))
    assert np.abs(found.axes).argmax(1).tolist() == [1, 3]
    variances = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    assert found.explained == pytest.approx(tuple(variances[:2] / variances.sum()))
    np.testing.assert_allclose(found.apply(rows).var(0, ddof=1), variances[:2])
    np.testing.assert_allclose(found.apply(rows).mean(0), 0, atol=1e-9)


def test_one_feature_leaves_the_second_direction_empty() -> None:
    rows = gaussian(50, 1)
    found = principal_components(rows, np.random.default_rng(0))
    assert found.explained == pytest.approx((1, 0))
    assert not found.apply(rows)[:, 1].any()


def test_equal_samples_have_no_directions() -> None:
    assert principal_components(np.ones((9, 3)), np.random.default_rng(0)).explained == (0, 0)


def test_drawing_is_without_repetition_and_in_order() -> None:
    found = random_subset(1000, 50, np.random.default_rng(0))
    assert len(set(found.tolist())) == 50
    assert found.tolist() == sorted(found.tolist())
    assert random_subset(10, 50, np.random.default_rng(0)).tolist() == list(range(10))
