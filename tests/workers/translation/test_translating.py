"""Translating by generators as they stand in training: as they are served, and training goes on as before."""

from pathlib import Path

import numpy as np
import pytest
import torch

from faceter.contracts.translators import Direction
from tests.workers.translation.jobs import translated
from tests.workers.translation.sources import small_cyclegan, small_pix2pix
from workers.translation import translating
from workers.translation.keeping import generator_content
from workers.translation.translating import TrainerTranslates


def images(count: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)


def test_they_are_translated_as_they_will_be_served(tmp_path: Path) -> None:
    for trainer, size in ((small_cyclegan(tmp_path), 32), (small_pix2pix(tmp_path), 64)):
        trainer.step(0.0)
        translate = TrainerTranslates(trainer)
        assert translate.directions == [Direction(name) for name in trainer.generators()]
        given = images(3, size)
        for direction in translate.directions:
            served = translated(generator_content(trainer.generators()[direction.value]), given)
            made = translate(direction, given)
            assert made.dtype == np.uint8
            assert np.abs(made.astype(int) - served).max() <= 1
            np.testing.assert_array_equal(translate(direction, given), made)


@pytest.mark.parametrize("most", [1, 2 * 32 * 32, 10**9])
def test_however_many_go_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    translate = TrainerTranslates(small_cyclegan(tmp_path))
    given = images(5, 32)
    expected = translate(Direction.A2B, given)
    monkeypatch.setattr(translating, "_PIXELS_AT_ONCE", most)
    assert np.abs(translate(Direction.A2B, given).astype(int) - expected).max() <= 1


def test_training_does_not_notice(tmp_path: Path) -> None:
    looked_at, alone = small_pix2pix(tmp_path), small_pix2pix(tmp_path)
    for trainer in (looked_at, alone):
        trainer.step(0.0)
    TrainerTranslates(looked_at)(Direction.A2B, images(2, 64))
    first, second = (trainer.step(0.1) for trainer in (looked_at, alone))
    assert all(torch.equal(first[name], second[name]) for name in first)
