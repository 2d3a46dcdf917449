"""The masks file of an explanation: round trips, whole and unit by unit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from faceter.explanations.masks import (
    ExplanationMasks,
    LayerMasks,
    encode_masks,
    read_masks,
    read_unit_masks,
    unpack_bits,
)
from tests.app.explanation_records import random_masks

GRIDS = [(), (1,), (13,), (64,), (1, 1), (7, 5), (8, 8), (3, 11)]


def assert_equal(found: LayerMasks, expected: LayerMasks) -> None:
    for name in ("fires", "strongest", "unit_masks", "formula_masks"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other), name


@given(st.sampled_from(GRIDS), st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, grid: tuple[int, ...], units: int, shown: int, more: int, seed: int) -> None:
    layers = [
        random_masks(units, shown + more, shown, grid, seed),
        random_masks(units + 1, shown + more, shown, grid, seed + 1),
    ]
    file = tmp_path / "masks.npz"
    file.write_bytes(encode_masks(ExplanationMasks(layers, None, None)))
    found = read_masks(file)
    assert (found.labels, found.predicted) == (None, None)
    for one, other in zip(found.layers, layers, strict=True):
        assert_equal(one, other)
    for number, layer in enumerate(layers):
        for row in range(len(layer.strongest)):
            unit = read_unit_masks(file, number, row)
            assert np.array_equal(unit.strongest, layer.strongest[row])
            assert np.array_equal(unit.unit, layer.unit_masks[row])
            assert np.array_equal(unit.formula, layer.formula_masks[row])
            assert unit.unit.dtype == np.bool_


def test_selected_layers_and_classes(tmp_path: Path) -> None:
    layers = [random_masks(2, 4, 2, (3, 3), seed) for seed in range(3)]
    labels, predicted = np.array([0, 1, 1, 0]), np.array([0, 1, 2, 2])
    file = tmp_path / "masks.npz"
    file.write_bytes(encode_masks(ExplanationMasks(layers, labels, predicted)))
    found = read_masks(file, [2, 0])
    for one, other in zip(found.layers, (layers[2], layers[0]), strict=True):
        assert_equal(one, other)
    assert found.labels is not None
    assert found.predicted is not None
    assert np.array_equal(found.labels, labels)
    assert np.array_equal(found.predicted, predicted)


def test_equal_masks_give_equal_bytes() -> None:
    first, second = (encode_masks(ExplanationMasks([random_masks(2, 4, 2, (3, 3))], None, None)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("shape", [(), (1,), (8,), (9,), (3, 5)])
def test_bits_packed_by_rows(shape: tuple[int, ...]) -> None:
    bits = np.random.default_rng(0).random((4, 3, *shape)) < 0.5
    packed = np.packbits(bits.reshape(4, 3, -1), axis=-1)
    assert np.array_equal(unpack_bits(packed, shape), bits)
