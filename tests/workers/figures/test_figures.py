"""Titles: whole words on lines that fit, in any words a user may choose."""

import pytest

from tests.workers.figures.images import Pixels, opened
from workers.figures.figure_style import new_figure, png, set_title, style


def titled(title: str) -> tuple[str, Pixels]:
    with style():
        figure = new_figure(4.0, 3.0)
        figure.subplots()
        set_title(figure, title)
        return figure.get_suptitle(), opened(png(figure))


def test_a_short_title_stays_as_it_is() -> None:
    assert titled("gan, epoch 40")[0] == "gan, epoch 40"


@pytest.mark.parametrize("title", ["some $words of_ 50 % " * 3, "word " * 200, "x" * 400, "量子化" * 60])
def test_a_long_title_is_wrapped_to_three_lines_within_the_figure(title: str) -> None:
    found, image = titled(title)
    lines = found.split("\n")
    assert 1 < len(lines) <= 3
    joined = " ".join(lines) if " " in title else "".join(lines)
    assert title.strip() == joined or (joined.endswith("…") and title.startswith(joined[:-1]))
    assert (image[:, -6:] == 255).all()
    assert (image[:40] < 128).any()
