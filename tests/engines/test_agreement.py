from math import inf, nan
from typing import Any

import numpy as np
import pytest

from faceter.contracts.serving import ServingPrecision
from faceter.engines.agreement import EngineAgreement, agreement, difference, is_within


def floats(*values: Any) -> np.ndarray[Any, np.dtype[Any]]:
    return np.array(values, np.float32)


def test_equal_outputs_differ_by_nothing() -> None:
    outputs = {"y": floats(1, nan, inf, -inf), "z": np.array([1, 2]), "s": np.array(["a"], object)}
    assert difference(outputs, {name: value.copy() for name, value in outputs.items()}) == 0


def test_small_outputs_are_compared_absolutely_and_large_ones_relatively() -> None:
    assert difference({"y": floats(0.01, 0.5)}, {"y": floats(0.02, 0.5)}) == pytest.approx(0.01)
    assert difference({"y": floats(-200, 1)}, {"y": floats(-200, 3)}) == pytest.approx(0.01)


def test_each_output_has_its_own_scale_and_the_largest_difference_counts() -> None:
    expected = {"large": floats(1000), "small": floats(0.5)}
    assert difference(expected, {"large": floats(1001), "small": floats(0.5)}) == pytest.approx(0.001)
    assert difference(expected, {"large": floats(1001), "small": floats(0.75)}) == pytest.approx(0.25)


def test_infinities_do_not_set_the_scale() -> None:
    assert difference({"y": floats(inf, 1)}, {"y": floats(inf, 1.5)}) == pytest.approx(0.5)


def test_integers_do_not_wrap() -> None:
    assert difference({"y": np.array([0], np.uint8)}, {"y": np.array([1], np.uint8)}) == 1
    assert difference({"y": np.array([True])}, {"y": np.array([False])}) == 1


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"y": floats(1)}, {"z": floats(1)}),
        ({"y": floats(1)}, {"y": floats(1), "z": floats(1)}),
        ({"y": floats(1)}, {"y": floats([1])}),
        ({"y": floats(1)}, {"y": np.array([1.0])}),
        ({"y": floats(1, nan)}, {"y": floats(nan, 1)}),
        ({"y": floats(1, 2)}, {"y": floats(1, nan)}),
        ({"y": floats(1, 2)}, {"y": floats(1, inf)}),
        ({"y": floats(inf)}, {"y": floats(-inf)}),
        ({"y": np.array(["a"], object)}, {"y": np.array(["b"], object)}),
    ],
)
def test_what_cannot_be_compared_is_infinite(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert difference(expected, actual) == inf


def test_empty_outputs_agree() -> None:
    assert difference({"y": np.zeros((0, 3), np.float32)}, {"y": np.zeros((0, 3), np.float32)}) == 0
    assert difference({}, {}) == 0


def test_the_share_of_equal_classes() -> None:
    expected = {"scores": floats([0, 1, 2], [2, 1, 0], [0, 3, 1], [1, 0, 1]), "boxes": floats([1])}
    actual = {"scores": floats([0, 1, 2], [0, 1, 2], [0, 2, 1], [0, 0, 1]), "boxes": floats([1])}
    found = agreement(expected, actual)
    assert found.same_class == 0.75
    assert found.difference == pytest.approx(2 / 3)


def test_without_class_scores_there_is_no_share() -> None:
    image = np.zeros((1, 3, 4, 4), np.float32)
    assert agreement({"y": image}, {"y": image}).same_class is None
    assert agreement({"y": floats([0, 1])}, {"y": floats(0, 1)}).same_class is None


@pytest.mark.parametrize(
    ("found", "same_class", "precision", "within"),
    [
        (1e-4, None, ServingPrecision.EXACT, True),
        (1.1e-4, 1.0, ServingPrecision.EXACT, False),
        (0.2, None, ServingPrecision.FAST, True),
        (0.21, 1.0, ServingPrecision.FAST, False),
        (0.1, 0.9, ServingPrecision.FAST, True),
        (0.1, 0.8, ServingPrecision.FAST, False),
        (inf, None, ServingPrecision.FAST, False),
        (inf, None, ServingPrecision.EXACT, False),
    ],
)
def test_what_a_precision_allows(
    found: float, same_class: float | None, precision: ServingPrecision, within: bool
) -> None:
    assert is_within(EngineAgreement(found, same_class), precision) is within
