"""Evaluation of translations, against values worked out by hand and perfect or trivial translators."""

import numpy as np
import pytest
from numpy.typing import NDArray

from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.translation_methods import Direction
from tests.references.prdc import prdc
from workers.translation.evaluation import (
    MIN_IMAGES,
    EvaluationSet,
    ImagesInMemory,
    K,
    brightness,
    evaluate,
    mean_absolute_error,
)
from workers.translation.samples import Pixels

A2B, B2A = Direction.A2B, Direction.B2A


def images(count: int, seed: int = 0, size: int = 4) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), np.uint8)


def negative(direction: Direction, given: Pixels) -> Pixels:
    return 255 - given


def unchanged(direction: Direction, given: Pixels) -> Pixels:
    return given


def colours(given: Pixels) -> NDArray[np.float32]:
    """Return the mean of each channel."""
    means: NDArray[np.float32] = (given.mean(axis=(2, 3)) / 255).astype(np.float32)
    return means


def set_of(count: int = 12, *, paired: bool = True, held_out: bool = True) -> EvaluationSet:
    a = images(count)
    grey = np.full((3, 4, 4), 127.5)
    return EvaluationSet({"A": a, "B": 255 - a}, held_out=held_out, paired=paired, mean={"A": grey, "B": grey})


def test_brightness_by_hand() -> None:
    black, white = np.zeros((2, 3, 4, 4), np.uint8), np.full((1, 3, 4, 4), 255, np.uint8)
    assert (brightness(black), brightness(white)) == (0, 1)
    assert brightness(np.concatenate([black, white])) == pytest.approx(1 / 3, abs=1e-5)
    for channel, weight in enumerate((0.299, 0.587, 0.114)):
        one = np.zeros((1, 3, 2, 2), np.uint8)
        one[:, channel] = 255
        assert brightness(one) == pytest.approx(weight, abs=1e-5)
        one[:, channel, 0] = 0
        assert brightness(one) == pytest.approx(weight / 2, abs=1e-5)


def test_mean_absolute_error_by_hand() -> None:
    one, other = np.zeros((2, 3, 2, 2), np.uint8), np.zeros((2, 3, 2, 2), np.uint8)
    other[0, 0] = 255
    assert mean_absolute_error(one, other) == mean_absolute_error(other, one) == pytest.approx(1 / 6, abs=1e-5)
    other[1] = 51
    assert mean_absolute_error(one, other) == pytest.approx((1 / 3 + 0.2) / 2, abs=1e-5)
    assert mean_absolute_error(one, one) == 0
    assert mean_absolute_error(np.full((2, 3, 2, 2), 127.5), one) == 0.5


def test_a_perfect_translator() -> None:
    found = set_of()
    evaluations = evaluate(found, list(Direction), negative, colours)
    assert list(evaluations) == [A2B, B2A]
    for direction in Direction:
        one = evaluations[direction]
        assert (one.images, one.held_out) == (12, True)
        assert (one.pixel_error, one.reconstruction_error) == (0, 0)
        assert one.mean_image_error == mean_absolute_error(found.images["A"], np.full((12, 3, 4, 4), 127.5))
        assert one.brightness["translated"] == one.brightness["target"]
        assert one.brightness["source"] == pytest.approx(1 - one.brightness["target"], abs=2e-5)
        assert one.metrics["coverage"] == 1
        assert one.metrics["fid"] == pytest.approx(0, abs=1e-3)
    assert evaluations[A2B].untranslated["fid"] == evaluations[B2A].untranslated["fid"] > 0


def test_an_identity_translator() -> None:
    evaluations = evaluate(set_of(), [A2B, B2A], unchanged, colours)
    for one in evaluations.values():
        assert one.metrics == one.untranslated
        assert one.brightness["translated"] == one.brightness["source"]
        assert one.reconstruction_error == 0
        assert one.pixel_error is not None
        assert one.pixel_error > 0.4


def test_density_and_coverage_equal_the_reference() -> None:
    found = set_of(15)

    def noisy(direction: Direction, given: Pixels) -> Pixels:
        noise = images(len(given), 5)
        return (given // 2 + noise // 2).astype(np.uint8)

    (one,) = evaluate(found, [A2B], noisy, colours).values()
    real, made = colours(found.images["B"]), colours(noisy(A2B, found.images["A"]))
    expected = prdc(real.astype(np.float64), made.astype(np.float64), K)
    for name in ("density", "coverage"):
        assert one.metrics[name] == pytest.approx(expected[name], abs=1e-5)


def test_one_direction_alone_has_no_reconstruction() -> None:
    asked: list[Direction] = []

    def noted(direction: Direction, given: Pixels) -> Pixels:
        asked.append(direction)
        return 255 - given

    (one,) = evaluate(set_of(), [B2A], noted, None).values()
    assert (one.reconstruction_error, one.pixel_error, one.metrics, one.untranslated) == (None, 0, {}, {})
    assert set(asked) == {B2A}


def test_without_pairs_there_is_no_pixel_error() -> None:
    (one, _) = evaluate(set_of(paired=False, held_out=False), [A2B, B2A], negative, None).values()
    assert (one.pixel_error, one.mean_image_error, one.held_out) == (None, None, False)
    assert one.reconstruction_error == 0


@pytest.mark.parametrize(("count", "measured"), [(MIN_IMAGES - 1, False), (MIN_IMAGES, True)])
def test_too_few_images_have_no_metrics(count: int, measured: bool) -> None:
    (one,) = evaluate(set_of(count), [A2B], negative, colours).values()
    assert bool(one.metrics) is bool(one.untranslated) is measured


def test_features_of_real_images_are_extracted_once() -> None:
    described: list[bytes] = []

    def counted(given: Pixels) -> NDArray[np.float32]:
        described.append(given.tobytes())
        return colours(given)

    found = set_of()
    evaluate(found, [A2B, B2A], unchanged, counted)
    assert len(described) == 4


def test_images_are_translated_in_batches_with_progress() -> None:
    sizes: list[int] = []
    fractions: list[float] = []

    def noted(direction: Direction, given: Pixels) -> Pixels:
        sizes.append(len(given))
        return given

    (one,) = evaluate(set_of(40), [A2B], noted, None, fractions.append).values()
    assert one.images == 40
    assert sizes == [16, 16, 8]
    assert fractions == [0.5, 1.0]


def test_images_in_memory_are_preprocessed() -> None:
    given = images(5)
    preprocessing = Preprocessing(size=[4, 4], mean=[0.5], std=[0.25])
    held = ImagesInMemory(given)
    assert len(held) == 5
    batches = list(held.batches(preprocessing, 2))
    assert [batch.indices.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    expected = (given / 255 - 0.5) / 0.25
    np.testing.assert_allclose(np.concatenate([batch.inputs for batch in batches]), expected, atol=1e-5)
    (some,) = held.batches(preprocessing, 8, indices=[4, 1])
    np.testing.assert_allclose(some.inputs, expected[[4, 1]], atol=1e-5)
