"""The toy studies of the papers come out: what each metric is robust to, and what it is blind to."""

import numpy as np
import pytest

from benchmarks.metric_studies import (
    MODES,
    Curve,
    deviation_from_line,
    evaluate_study,
    modes_dropped,
    replaced,
    shifted,
)
from workers.evaluation.density_coverage import expected_coverage

COUNT = 700
SHIFTS = [-0.6, -0.3, 0.0, 0.3, 0.6]


@pytest.fixture(scope="module")
def shift() -> dict[str, Curve]:
    return {
        str(outlier): evaluate_study(SHIFTS, shifted(COUNT, outlier=outlier)) for outlier in (None, "real", "generated")
    }


def test_equal_distributions_are_at_their_expectation(shift: dict[str, Curve]) -> None:
    values = shift["None"].values
    middle = SHIFTS.index(0.0)
    assert values["density"][middle] == pytest.approx(1, abs=0.1)
    assert values["coverage"][middle] == pytest.approx(expected_coverage(COUNT, COUNT, 5), abs=0.03)


def test_every_metric_falls_as_the_distributions_part(shift: dict[str, Curve]) -> None:
    for name in ("density", "coverage", "precision", "recall"):
        values = shift["None"].values[name]
        assert max(values[0], values[-1]) < 0.35 * values[2], name


def test_a_real_outlier_deceives_precision_and_not_density(shift: dict[str, Curve]) -> None:
    """At μ = 0.6 the generated samples lie towards it, in its wide ball."""
    with_outlier, without = shift["real"].values, shift["None"].values
    assert with_outlier["precision"][-1] - without["precision"][-1] > 0.5
    assert abs(with_outlier["density"][-1] - without["density"][-1]) < 0.25


def test_a_generated_outlier_deceives_recall_and_not_coverage(shift: dict[str, Curve]) -> None:
    """At μ = −0.6 the ball of the one at +3 reaches over all real samples."""
    with_outlier, without = shift["generated"].values, shift["None"].values
    assert with_outlier["recall"][0] - without["recall"][0] > 0.5
    assert abs(with_outlier["coverage"][0] - without["coverage"][0]) < 0.02


def test_coverage_falls_in_proportion_to_the_modes_dropped() -> None:
    dropped = np.arange(MODES)
    curve = evaluate_study((dropped / (MODES - 1)).tolist(), modes_dropped(COUNT, in_turn=True))
    shares = np.array(curve.values["coverage"]) / curve.values["coverage"][0]
    np.testing.assert_allclose(shares, 1 - dropped / MODES, atol=0.06)


def test_coverage_falls_as_modes_lose_their_samples_together_and_recall_does_not() -> None:
    curve = evaluate_study([0.0, 0.3, 0.6, 0.9], modes_dropped(COUNT))
    left = 1 - (1 - 1 / MODES) * np.array(curve.at)
    coverage, recall = (np.array(curve.values[name]) / curve.values[name][0] for name in ("coverage", "recall"))
    assert coverage[-1] < 0.55
    assert (np.diff(coverage) < 0).all()
    assert (recall[1:] > left[1:] + 0.05).all()
    assert recall[2] > coverage[2] + 0.1


def test_the_clipped_metrics_fall_in_a_straight_line_where_the_others_do_not() -> None:
    curve = evaluate_study(np.linspace(0, 1, 6).tolist(), replaced(COUNT))
    for clipped, plain in (("clipped_density", "density"), ("clipped_coverage", "coverage")):
        assert deviation_from_line(curve, clipped) < 0.1, clipped
        assert deviation_from_line(curve, plain) > 0.2, plain
