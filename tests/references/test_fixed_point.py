from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.references.fixed_point import fixed_point, requantize, rounding_shift

multipliers = st.floats(1e-9, 1e6)


@given(multipliers)
def test_mantissa_and_shift_give_the_multiplier(multiplier: float) -> None:
    mantissa, shift = fixed_point(np.array(multiplier))
    assert 2**30 <= int(mantissa) < 2**31
    value = Fraction(int(mantissa)) * Fraction(2) ** -shift
    assert abs(value - Fraction(multiplier)) <= Fraction(multiplier) / 2**30


@given(st.integers(-(2**60), 2**60), st.integers(1, 62))
def test_the_shift_rounds_to_nearest_with_ties_to_even(value: int, shift: int) -> None:
    assert int(rounding_shift(np.array(value), shift)) == round(Fraction(value, 2**shift))


@given(st.integers(-(2**30), 2**30), st.integers(-8, 0))
def test_a_negative_shift_multiplies(value: int, shift: int) -> None:
    assert int(rounding_shift(np.array(value), shift)) == value * 2**-shift


@given(
    st.lists(st.tuples(st.integers(-(2**24), 2**24), st.floats(1e-7, 1e2)), min_size=1, max_size=3),
    st.floats(1e-4, 1e3),
    st.integers(0, 255),
)
def test_requantized_sums_are_within_one_step_of_exact_arithmetic(
    terms: list[tuple[int, float]], scale: float, zero_point: int
) -> None:
    arrays = [(np.array([value], np.int32), np.array(own)) for value, own in terms]
    [code] = requantize(arrays, scale, zero_point, 0, 255)
    exact = sum(Fraction(value) * Fraction(own) for value, own in terms) / Fraction(scale)
    expected = min(max(round(exact) + zero_point, 0), 255)
    distance = abs(exact - (round(exact) + Fraction(1, 2))), abs(exact - (round(exact) - Fraction(1, 2)))
    error = sum(abs(Fraction(value)) for value, _ in terms) * max(Fraction(own) for _, own in terms) / Fraction(scale)
    if min(distance) > error / 2**29:
        assert code == expected
    else:
        assert abs(int(code) - expected) <= 1


def test_one_multiplier_per_channel() -> None:
    values = np.array([[1000, 1000], [-300, 500]], np.int32)
    codes = requantize([(values, np.array([0.01, 0.001]))], 0.1, 10, 0, 255)
    np.testing.assert_array_equal(codes, [[110, 20], [0, 15]])
