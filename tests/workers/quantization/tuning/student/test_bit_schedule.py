"""The bit-width schedule."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.quantization.tuning.student.bit_schedule import BitStage, bit_schedule

bits = st.integers(2, 8)


def pairs(made: list[BitStage]) -> list[tuple[int, int]]:
    return [(stage.weight_bits, stage.activation_bits) for stage in made]


@given(weight_bits=bits, activation_bits=bits, last_share=st.floats(0.05, 1.0), mixed=st.booleans())
def test_stages_end_at_the_target_bits_and_cover_the_tuning(
    weight_bits: int, activation_bits: int, last_share: float, mixed: bool
) -> None:
    made = bit_schedule(weight_bits, activation_bits, last_share=last_share, mixed=mixed)
    assert pairs(made)[-1] == (weight_bits, activation_bits)
    assert pairs(made)[0] == (max(4, weight_bits), max(4, activation_bits))
    assert (made[0].start, made[-1].end) == (0.0, 1.0)
    for before, after in pairwise(made):
        assert before.end == after.start
        assert before.start <= before.end
        assert after.weight_bits <= before.weight_bits
        assert after.activation_bits <= before.activation_bits
        assert before.weight_bits - after.weight_bits + before.activation_bits - after.activation_bits in (1, 2)
    if len(made) > 1:
        assert made[-1].end - made[-1].start == pytest.approx(last_share)
        early = {round(stage.end - stage.start, 9) for stage in made[:-1]}
        assert len(early) == 1
    assert all(stage.mixed is mixed for stage in made)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((8, 8), [(8, 8)]),
        ((4, 6), [(4, 6)]),
        ((3, 3), [(4, 4), (3, 3)]),
        ((2, 2), [(4, 4), (3, 3), (2, 3), (2, 2)]),
        ((2, 4), [(4, 4), (3, 4), (2, 4)]),
        ((8, 2), [(8, 4), (8, 3), (8, 2)]),
    ],
)
def test_bits_of_the_stages(asked: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert pairs(bit_schedule(*asked, last_share=0.5)) == expected


def test_name_and_progress_of_a_stage() -> None:
    stage = BitStage(3, 8, 0.25, 0.75)
    assert stage.name == "tuning W3A8"
    assert BitStage(3, 8, 0.25, 0.75, mixed=True).name == "tuning W3+A8"
    assert [stage.progress(fraction) for fraction in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
