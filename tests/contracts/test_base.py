import re

import pytest

from faceter.contracts.base import check_name, derived_id, new_id


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "a",
        "x" * 200,
        "猫",
        "\N{CAT FACE}\N{ZERO WIDTH JOINER}\N{BLACK LARGE SQUARE}",
        "क्\u200dष",
        "a b/c:d",
    ],
)
def test_names_of_every_script_are_kept(name: str) -> None:
    assert check_name(f" {name}\n") == name


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "a\0b", "a\nb", "a\tb", "\u202egpj.exe", "\ud800"])
def test_names_nobody_can_read_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        check_name(name)


def test_an_id_that_follows_from_something_is_the_same_each_time_and_looks_like_any_other() -> None:
    made = derived_id("dts", "one", "two")
    assert made == derived_id("dts", "one", "two")
    assert re.fullmatch(r"dts_[0-9a-z]{20}", made)
    assert len(made) == len(new_id("dts"))
    assert len({made, derived_id("dts", "two", "one"), derived_id("dts", "onetwo"), derived_id("dts", "one")}) == 4
