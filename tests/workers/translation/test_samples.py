"""Contact sheets: each row is an image, its translation and, if possible, the reconstruction."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.translation_methods import Direction
from tests.workers.figures.images import opened, where
from workers.figures.pages import page
from workers.translation.samples import Pixels, sample_sheet

A2B, B2A = Direction.A2B, Direction.B2A
RED, GREEN, BLUE, PINK = (200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 10, 200)


def plain(colour: tuple[int, int, int], count: int = 2, size: int = 16) -> Pixels:
    return np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (count, 3, size, size))


def hex_of(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)


def painter(direction: Direction, given: Pixels) -> Pixels:
    """Make everything green of A, and blue of B."""
    return plain(GREEN if direction is A2B else BLUE, len(given))


def spans(sheet: bytes, colour: tuple[int, int, int]) -> int:
    """Return in how many cells of 112 × 112 pixels a colour is."""
    return len(where(opened(sheet), hex_of(colour))) // 112**2


def test_both_directions_with_reconstructions(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def noted(tiles: Sequence[Sequence[Image.Image]], captions: Sequence[str], title: str) -> bytes:
        drawn.extend(captions)
        return page(tiles, captions, title)

    monkeypatch.setattr("workers.translation.samples.page", noted)
    sheet = sample_sheet({"A": plain(RED, 3), "B": plain(PINK, 2)}, [A2B, B2A], painter, "a title")
    assert [spans(sheet, colour) for colour in (RED, PINK)] == [3, 2]
    assert [spans(sheet, colour) for colour in (GREEN, BLUE)] == [3 + 2, 3 + 2]
    assert drawn == ["A, as B, back as A"] * 3 + ["B, as A, back as B"] * 2


def test_the_reconstruction_is_made_of_the_translation() -> None:
    def darker(direction: Direction, given: Pixels) -> Pixels:
        return given // 2 if direction is A2B else given - 1

    image = opened(sample_sheet({"A": plain(RED, 1), "B": plain(PINK, 1)}, [A2B, B2A], darker, "a title"))
    shown = (RED, (100, 5, 5), (99, 4, 4))
    places = [int(where(image[60][None], hex_of(colour))[:, 1].min()) for colour in shown]
    assert places == sorted(places)


def test_one_direction_shows_the_target_if_there_is_one() -> None:
    shown = {"A": plain(RED), "B": plain(PINK)}
    with_target = sample_sheet(shown, [B2A], painter, "a title", {B2A: plain(RED)})
    assert [spans(with_target, colour) for colour in (PINK, BLUE, RED, GREEN)] == [2, 2, 2, 0]
    alone = sample_sheet(shown, [B2A], painter, "a title")
    assert [spans(alone, colour) for colour in (PINK, BLUE, RED)] == [2, 2, 0]


def test_equal_images_make_equal_sheets() -> None:
    shown = {"A": plain(RED), "B": plain(PINK)}
    assert sample_sheet(shown, [A2B], painter, "one") == sample_sheet(shown, [A2B], painter, "one")
    assert sample_sheet(shown, [A2B], painter, "one") != sample_sheet(shown, [A2B], painter, "another")
