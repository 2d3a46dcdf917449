"""The inception score by hand, and at its ends."""

import math

import numpy as np
import pytest

from workers.evaluation.inception_score import inception_score, shortfall, split_count, split_score


def test_by_hand() -> None:
    p = np.array([[0.5, 0.5], [1.0, 0.0]])
    first = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    second = math.log(1 / 0.75)
    assert split_score(p) == pytest.approx(math.exp((first + second) / 2))


def test_it_is_the_number_of_classes_for_sure_answers_of_all_alike() -> None:
    assert split_score(np.repeat(np.eye(7), 3, axis=0)) == pytest.approx(7)


def test_it_is_one_where_all_answers_are_the_same() -> None:
    assert split_score(np.tile([0.2, 0.3, 0.5], (11, 1))) == pytest.approx(1)


def test_parts_are_drawn_at_random_and_hold_every_sample_once() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 103)
    found = inception_score(rows, np.random.default_rng(1), splits=10)
    assert found == inception_score(rows, np.random.default_rng(1), splits=10)
    assert found.splits == 10
    assert found.deviation > 0
    order = np.random.default_rng(1).permutation(103)
    scores = [split_score(rows[part]) for part in np.array_split(order, 10)]
    assert found.mean == pytest.approx(np.mean(scores))
    assert found.deviation == pytest.approx(np.std(scores))


def test_there_are_no_more_parts_than_samples() -> None:
    found = inception_score(np.eye(3), np.random.default_rng(0), splits=10)
    assert (found.splits, found.mean, found.deviation) == (3, 1.0, 0.0)


@pytest.mark.parametrize(
    ("samples", "classes", "splits"),
    [(1, 4, 1), (100, 4, 1), (999, 10, 1), (1000, 10, 2), (5000, 10, 10), (10**6, 10, 10), (50_000, 1000, 10),
     (10_000, 1000, 2), (3000, 1000, 1)],
)  # fmt: skip
def test_parts_are_large_enough_for_the_classes(samples: int, classes: int, splits: int) -> None:
    assert split_count(samples, classes) == splits
    found = inception_score(np.full((min(samples, 5000), 2), 0.5), np.random.default_rng(0))
    assert found.splits == split_count(min(samples, 5000), 2)


def test_a_hundred_samples_of_four_classes_score_nearly_four() -> None:
    certain = np.eye(4)[np.random.default_rng(0).integers(0, 4, 100)]
    found = inception_score(certain, np.random.default_rng(0))
    assert (found.splits, found.deviation) == (1, 0.0)
    assert found.mean > 3.9
    assert inception_score(certain, np.random.default_rng(0), splits=10).mean < 3.6


@pytest.mark.parametrize(("samples", "classes"), [(100, 4), (500, 10), (300, 50)])
def test_the_shortfall_of_certain_answers_is_about_what_is_measured(samples: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    scores = [split_score(np.eye(classes)[rng.integers(0, classes, samples)]) for _ in range(300)]
    assert np.log(classes / np.mean(scores)) == pytest.approx(-np.log1p(-shortfall(samples, classes)), rel=0.15)
