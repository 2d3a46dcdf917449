import pytest

from faceter.contracts.base import check_name


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
