"""Inference during training: the same translations as served, without effect on training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from faceter.contracts.translation_methods import Direction
from tests.workers.translation.jobs import translated
from tests.workers.translation.sources import small_cyclegan, small_pix2pix
from workers.translation import generator_inference
from workers.translation.archive_writer import generator_content
from workers.translation.generator_inference import GeneratorInference


def images(count: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)


def test_translations_equal_those_of_the_served_generator(tmp_path: Path) -> None:
    for trainer, size in ((small_cyclegan(tmp_path), 32), (small_pix2pix(tmp_path), 64)):
        trainer.step(0.0)
        translate = GeneratorInference(trainer)
        assert translate.directions == [Direction(name) for name in trainer.generators()]
        given = images(3, size)
        for direction in translate.directions:
            served = translated(generator_content(trainer.generators()[direction.value]), given)
            made = translate(direction, given)
            assert made.dtype == np.uint8
            assert np.abs(made.astype(int) - served).max() <= 1
            np.testing.assert_array_equal(translate(direction, given), made)


@pytest.mark.parametrize("most", [1, 2 * 32 * 32, 10**9])
def test_the_batch_size_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    translate = GeneratorInference(small_cyclegan(tmp_path))
    given = images(5, 32)
    expected = translate(Direction.A2B, given)
    monkeypatch.setattr(generator_inference, "_MAX_PIXELS_PER_BATCH", most)
    assert np.abs(translate(Direction.A2B, given).astype(int) - expected).max() <= 1


def test_training_is_not_affected(tmp_path: Path) -> None:
    looked_at, alone = small_pix2pix(tmp_path), small_pix2pix(tmp_path)
    for trainer in (looked_at, alone):
        trainer.step(0.0)
    GeneratorInference(looked_at)(Direction.A2B, images(2, 64))
    first, second = (trainer.step(0.1) for trainer in (looked_at, alone))
    assert all(torch.equal(first[name], second[name]) for name in first)
