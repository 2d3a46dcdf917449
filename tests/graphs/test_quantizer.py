import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faceter.graphs.quantizer import Quantizer, asymmetric
from tests.graphs.builders import Array
from tests.graphs.quantizers import symmetric

ends = st.floats(-1e4, 1e4, width=32)
bits_range = st.integers(2, 8)
values = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-2e4, 2e4, width=32))


@st.composite
def quantizers(draw: st.DrawFn) -> Quantizer:
    bits = draw(bits_range)
    if draw(st.booleans()):
        return symmetric(draw(st.floats(1e-3, 1e4)), bits)
    low, high = sorted((draw(ends), draw(ends)))
    return asymmetric(low, high, bits, signed=draw(st.booleans()))


@given(quantizers())
def test_zero_is_exact(quantizer: Quantizer) -> None:
    zero = np.zeros(3, np.float32)
    np.testing.assert_array_equal(quantizer.fake(zero), zero)
    np.testing.assert_array_equal(quantizer.quantize(zero), np.full(3, quantizer.zero_point))


@given(quantizers(), values)
def test_monotone(quantizer: Quantizer, x: Array) -> None:
    ordered = np.sort(x)
    assert np.all(np.diff(quantizer.quantize(ordered).astype(int)) >= 0)
    assert np.all(np.diff(quantizer.fake(ordered)) >= 0)


@given(quantizers(), values)
def test_the_error_inside_the_clip_is_at_most_half_a_step(quantizer: Quantizer, x: Array) -> None:
    inside = np.clip(x, np.float32(quantizer.low), np.float32(quantizer.high))
    error = np.abs(quantizer.fake(inside).astype(np.float64) - inside)
    slack = 4 * np.finfo(np.float32).eps * np.maximum(np.abs(inside), quantizer.scale)
    assert np.all(error <= quantizer.scale / 2 + slack)


@given(quantizers(), values)
def test_values_out_of_range_are_clamped_to_its_ends(quantizer: Quantizer, x: Array) -> None:
    fake = quantizer.fake(x)
    assert np.all(fake >= np.float32(quantizer.low))
    assert np.all(fake <= np.float32(quantizer.high))


def test_values_beyond_float_range_are_clamped() -> None:
    quantizer = Quantizer(np.array(5e-38, np.float32), np.array(0, np.int32), bits=2, axis=None, signed=False)
    np.testing.assert_array_equal(quantizer.quantize(np.array([18.0, -18.0], np.float32)), [3, 0])


@given(quantizers(), values)
def test_idempotent(quantizer: Quantizer, x: Array) -> None:
    once = quantizer.fake(x)
    np.testing.assert_array_equal(quantizer.fake(once), once)
    codes = quantizer.quantize(x)
    np.testing.assert_array_equal(quantizer.quantize(quantizer.dequantize(codes)), codes)


@given(quantizers(), values)
def test_codes_stay_within_their_bits(quantizer: Quantizer, x: Array) -> None:
    codes = quantizer.quantize(x).astype(int)
    low = -(2 ** (quantizer.bits - 1)) if quantizer.signed else 0
    assert codes.min() >= low
    assert codes.max() <= low + 2**quantizer.bits - 1
    assert quantizer.quantize(x).dtype == (np.int8 if quantizer.signed else np.uint8)


@given(ends, ends, bits_range)
def test_the_range_is_covered_up_to_rounding_of_the_zero_point(a: float, b: float, bits: int) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    quantizer = asymmetric(low, high, bits)
    half = float(quantizer.scale) / 2 * (1 + 1e-4)
    if high - low > 1e-30:
        assert quantizer.low == pytest.approx(low, abs=half)
        assert quantizer.high == pytest.approx(high, abs=half)


def test_scale_and_zero_point_by_hand() -> None:
    quantizer = asymmetric(-1.0, 3.0, 8)
    assert quantizer.scale == np.float32(4 / 255)
    assert quantizer.zero_point == 64
    signed = asymmetric(-1.0, 3.0, 8, signed=True)
    assert signed.zero_point == -64
    assert symmetric(1.27, 8).scale == np.float32(0.01)
    np.testing.assert_array_equal(symmetric(1.27, 8).quantize(np.array([-5, -1.27, 0, 1.27])), [-128, -127, 0, 127])


def test_ties_go_to_even() -> None:
    quantizer = Quantizer(np.array(1.0), np.array(0), 8)
    np.testing.assert_array_equal(quantizer.quantize(np.array([0.5, 1.5, 2.5, 3.5], np.float32)), [0, 2, 2, 4])


def test_one_scale_per_channel() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    quantizer = symmetric(np.abs(x).max(axis=(0, 2)), 6, axis=1)
    for channel in range(4):
        alone = symmetric(np.abs(x[:, channel]).max(), 6)
        np.testing.assert_array_equal(quantizer.fake(x)[:, channel], alone.fake(x[:, channel]))


def test_bits_per_channel() -> None:
    x = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    bits = np.array([2, 4, 8])
    quantizer = symmetric(np.abs(x).max(axis=1), bits, axis=0)
    codes = quantizer.quantize(x)
    for channel, width in enumerate(bits):
        assert np.abs(codes[channel].astype(int)).max() == 2 ** (width - 1) - 1
    assert quantizer.bits == 8


@pytest.mark.parametrize("limit", [0.0, 1e-45, np.array([0.0, 1.0])])
def test_a_zero_range_has_a_nonzero_scale(limit: float | Array) -> None:
    axis = 0 if isinstance(limit, np.ndarray) else None
    quantizer = symmetric(limit, 4, axis=axis)
    assert np.all(quantizer.scale > 0)
    x = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(quantizer.fake(x), x)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"scale": np.float32(-1)}, "positive"),
        ({"scale": np.float32(np.nan)}, "positive"),
        ({"zero_point": np.int32(300)}, "zero_point"),
        ({"bits": 9}, "bits"),
        ({"axis": 0}, "axis"),
        ({"scale": np.ones(3, np.float32), "axis": 0}, "zero_point"),
        ({"channel_bits": np.array([2, 3])}, "channel_bits"),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Quantizer(**({"scale": np.float32(1), "zero_point": np.int32(0), "bits": 8} | settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(("axis", "expected"), [(None, -128), (0, -127)])
def test_minus_128_is_unused_with_a_scale_per_channel(axis: int | None, expected: int) -> None:
    limit = 1.0 if axis is None else np.ones(2)
    codes = symmetric(limit, 8, axis=axis).quantize(np.full((2, 3), -9.0, np.float32))
    assert codes.min() == expected
    assert symmetric(limit, 4, axis=axis).quantize(np.full((2, 3), -9.0, np.float32)).min() == -8
