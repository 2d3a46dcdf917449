"""Headings, captions and files of drawings."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from faceter.explanations.drawing.canvas import FORMULA_COLOUR, UNIT_COLOUR
from faceter.explanations.drawing.images import ImageSample, draw_unit_on_images
from faceter.explanations.drawing.signals import UNIT_SHADE, SignalSample, draw_unit_on_signals
from faceter.vision.fonts import font_file
from tests.explanations.drawing.samples import marks, mask, noise, sample, wave
from tests.workers.figures.images import opened, where

TEXTS = {
    "long": "(car OR road) AND NOT dusk " * 300,
    "one long word": "x" * 5000,
    "two lines": "two\nlines\tand\x00more",
    "another script": "量子 · тень · ظل · 🚗",
    "half a surrogate pair": "a\ud800b",
    "formula": "$x^",
    "none": "",
}


@pytest.mark.parametrize("words", TEXTS.values(), ids=TEXTS)
def test_any_text_stays_on_the_page(words: str) -> None:
    marked = ImageSample(noise(), words, mask(), mask())
    signal = SignalSample(np.zeros((1, 50), np.float32), words, np.zeros(50, np.bool_), np.zeros(50, np.bool_))
    for page in (
        opened(draw_unit_on_images(words, words, [marked, marked])),
        opened(draw_unit_on_signals(words, words, [signal], words)),
    ):
        assert (page[:, :14] == 255).all()
        assert (page[:, -14:] == 255).all()
        assert len(page) < 600


def test_long_titles_are_wrapped_and_captions_stay_below_their_image() -> None:
    short, longer, longest = (
        len(opened(draw_unit_on_images("car OR road " * times, "", [sample()]))) for times in (1, 6, 600)
    )
    assert longer == short + 23
    assert longest == short + 46
    wordy = ImageSample(noise(), "a very long caption " * 9, mask(), mask())
    page = opened(draw_unit_on_images("", "", [wordy, sample()]))
    gap = slice(16 + 2 * 244 + 4, 16 + 2 * 244 + 4 + 24)
    assert (page[16 + 20 + 184 :, gap] == 255).all()


def test_a_short_title_is_complete() -> None:
    page = opened(draw_unit_on_images("car", "", []))
    width = ImageFont.truetype(font_file(bold=True), 17).getlength("car")
    dark = np.argwhere((page[:35] < 128).any(axis=2))
    assert abs(np.ptp(dark[:, 1]) - width) < 4


@pytest.mark.parametrize(
    "page", [draw_unit_on_images("unit 3", "car", []), draw_unit_on_signals("unit 3", "car", [], "QRS")]
)
def test_a_page_without_samples_says_so(page: bytes) -> None:
    image = opened(page)
    assert (image[60:] < 200).any()
    for colour in (UNIT_COLOUR, UNIT_SHADE, FORMULA_COLOUR):
        assert not len(where(image, colour))


def test_equal_samples_give_equal_files() -> None:
    assert draw_unit_on_images("t", "s", [sample()] * 3) == draw_unit_on_images("t", "s", [sample()] * 3)
    assert draw_unit_on_images("t", "s", [sample()]) != draw_unit_on_images("t", "s", [sample(firing=mask())])
    one, other = (SignalSample(wave(), "c", marks(435, span), marks(435)) for span in ((3, 40), (3, 41)))
    assert draw_unit_on_signals("t", "s", [one], "f") == draw_unit_on_signals("t", "s", [one], "f")
    assert draw_unit_on_signals("t", "s", [one], "f") != draw_unit_on_signals("t", "s", [other], "f")


def test_drawing_imports_neither_matplotlib_nor_torch() -> None:
    code = (
        "import sys\n"
        "from faceter.explanations.drawing.images import draw_unit_on_images\n"
        "sys.stdout.buffer.write(draw_unit_on_images('unit 3', 'car', []))\n"
        "assert not {'matplotlib', 'torch', 'workers'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert Image.open(io.BytesIO(done.stdout)).width == 540
