"""The frontier against every assignment there is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.packing import packed_bytes
from tests.references.mixed_precision import all_assignments, undominated_pairs
from workers.quantization.mixed.pareto import ParetoFrontier, packed_frontier, pareto_frontier

Costs = dict[str, dict[int, int]]
Divergences = dict[str, dict[int, float]]

BITS = (2, 3, 4, 8)
NAMES = ("a", "b", "c", "d")


@st.composite
def networks(draw: st.DrawFn, most_bytes: int = 40) -> tuple[Costs, Divergences]:
    """Return bytes and Ω (of 1/64ths, so that sums are exact) of up to four weights at four numbers of bits."""
    names = NAMES[: draw(st.integers(1, 4))]
    costs = {name: {k: draw(st.integers(0, most_bytes)) for k in BITS} for name in names}
    divergences = {name: {k: draw(st.integers(0, 128)) / 64 for k in BITS} for name in names}
    return costs, divergences


def pairs_of(frontier: ParetoFrontier) -> list[tuple[int, float]]:
    return [(point.weight_bytes, point.sensitivity) for point in frontier]


@given(networks())
def test_it_is_that_of_all_assignments(network: tuple[Costs, Divergences]) -> None:
    costs, divergences = network
    frontier = pareto_frontier(costs, divergences)
    assert frontier.slack == 0
    assert pairs_of(frontier) == undominated_pairs(all_assignments(costs, divergences))


@given(networks(), st.integers(2, 64))
def test_every_point_has_the_bits_that_make_its_sums(network: tuple[Costs, Divergences], max_points: int) -> None:
    costs, divergences = network
    for point in pareto_frontier(costs, divergences, max_points=max_points):
        assert list(point.bits) == list(costs)
        assert point.weight_bytes == sum(costs[name][k] for name, k in point.bits.items())
        assert point.sensitivity == sum(divergences[name][k] for name, k in point.bits.items())


@settings(max_examples=200)
@given(networks(most_bytes=4000), st.integers(2, 24))
def test_few_kept_choices_cost_no_more_bytes_than_it_says(network: tuple[Costs, Divergences], max_points: int) -> None:
    costs, divergences = network
    frontier = pareto_frontier(costs, divergences, max_points=max_points)
    spread = sum(max(each.values()) - min(each.values()) for each in costs.values())
    assert frontier.slack <= len(costs) * (-(-spread // max_points) - 1 if spread > max_points else 0)
    pairs = pairs_of(frontier)
    everything = all_assignments(costs, divergences)
    for size, omega in undominated_pairs(everything):
        assert any(b <= size + frontier.slack and o <= omega for b, o in pairs)
    assert pairs[0] == min(everything), "the smallest is always there"
    assert pairs[-1][1] == min(omega for _, omega in everything), "and so is the least sensitive"
    assert pairs == undominated_pairs(pairs)


def test_many_weights_are_bounded_and_hardly_lose() -> None:
    rng = np.random.default_rng(0)
    costs = {str(i): {k: int(size) * k for k in range(2, 9)} for i, size in enumerate(rng.integers(500, 90000, 60))}
    divergences = {
        name: {k: float(w * 4.0**-k) for k in range(2, 9)} for name, w in zip(costs, rng.random(60), strict=True)
    }
    rough = pareto_frontier(costs, divergences, max_points=256)
    fine = pareto_frontier(costs, divergences, max_points=8192)
    assert 100 < len(rough) <= 258
    assert rough.slack > fine.slack > 0
    at = np.searchsorted(rough.weight_bytes, fine.weight_bytes + rough.slack, side="right") - 1
    assert np.all(rough.sensitivity[at] <= fine.sensitivity + 1e-12)


def test_packed_bytes_are_those_of_the_file() -> None:
    shapes = {"first": (8, 3, 3, 3), "second": (5, 7), "vector": (4,)}
    divergences = {name: {2: 1.0, 5: 0.25, 8: 0.0} for name in shapes}
    frontier = packed_frontier(shapes, divergences, predict=lambda total: 1 - total / 4)
    for point in frontier:
        assert point.weight_bytes == packed_bytes(shapes, point.bits)
        assert point.predicted == 1 - point.sensitivity / 4
        assert point.bits["vector"] == 8, "a vector is not packed, so that fewer bits save nothing"
    assert all(np.diff(frontier.weight_bytes) > 0)
    assert all(np.diff(frontier.sensitivity) < 0)
    assert frontier[-1].bits == {"first": 8, "second": 8, "vector": 8}
    assert frontier[1:] == list(frontier)[1:]


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="bits to choose from"):
        pareto_frontier({}, {})
    with pytest.raises(ValueError, match="bits to choose from"):
        pareto_frontier({"a": {}}, {"a": {}})
