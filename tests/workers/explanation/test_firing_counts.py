"""Firing counts from files, in blocks and after a restart equal those in memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from faceter.explanations.formulas import Concept
from faceter.explanations.masks import unpack_bits
from workers.explanation import activation_thresholds as thresholds_module
from workers.explanation import firing_counts, pattern_count_files
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.activation_thresholds import activation_thresholds
from workers.explanation.activations import SampleActivations
from workers.explanation.firing_counts import FiringCounts, count_firings
from workers.explanation.probe.dataset import ConceptRange, InputPlacement, Integers, ProbeBatch, SampleConcepts
from workers.explanation.recorded_activations import RecordedActivations
from workers.explanation.search.patterns import Floats
from workers.explanation.upsampling import Upsampler
from workers.jobs.journal import StoredJournal
from workers.jobs.scratch import ScratchFiles

SAMPLES, UNITS, GRID, MAP = 23, 7, (9, 8), (4, 3)
REQUEST = ExplanationRequest(dataset_id="synthetic", layer=["one", "two"], quantile=0.1)


class SyntheticProbe:
    """A probe dataset and an activation extractor made of arrays."""

    about = "images"
    grid = GRID
    label_maps = (ConceptRange(0, 3), ConceptRange(3, 2))
    concepts = tuple(Concept(f"c{number}", "synthetic") for number in range(6))
    classes: Integers | None = None
    warnings: tuple[str, ...] = ()
    input_size = 1
    device = torch.device("cpu")

    def __init__(self, batch: int = 4, stop_at: int | None = None, placements: Sequence[InputPlacement] = ()) -> None:
        rng = np.random.default_rng(0)
        pixels = GRID[0] * GRID[1]
        self.sample_concepts = [
            SampleConcepts(
                np.stack([rng.integers(0, 4, pixels), rng.integers(0, 3, pixels)]), (5,) if number % 2 else ()
            )
            for number in range(SAMPLES)
        ]
        self.maps = [rng.normal(size=(SAMPLES, UNITS, *MAP)).astype(np.float32) for _ in range(2)]
        self.maps[0][:, 3] = 0
        self.placements = placements or [InputPlacement()] * SAMPLES
        self._batch, self._stop_at = batch, stop_at

    def __len__(self) -> int:
        return SAMPLES

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        return ProbeBatch(
            {}, [self.sample_concepts[index] for index in indices], [self.placements[index] for index in indices]
        )

    def batch_size(self, probe: object) -> int:
        return self._batch

    def run(self, probe: object, indices: Sequence[int]) -> list[SampleActivations]:
        if self._stop_at is not None and max(indices) >= self._stop_at:
            raise KeyboardInterrupt
        return [
            SampleActivations(
                self.sample_concepts[index], self.placements[index], [maps[index] for maps in self.maps], index % 3
            )
            for index in indices
        ]


OPEN = ExitStack()
"""Files of the test that is running."""


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    OPEN.close()


def recorded_from(
    source: SyntheticProbe, files: ScratchFiles, journal: StoredJournal | None = None
) -> RecordedActivations:
    return ActivationRecorder(source, source, REQUEST, lambda _, count: np.arange(count), files, journal).record()  # type: ignore[arg-type]


def counted(
    source: SyntheticProbe, folder: Path, journal: StoredJournal | None = None
) -> tuple[RecordedActivations, FiringCounts, Floats]:
    files = OPEN.enter_context(ScratchFiles(folder))
    recorded = recorded_from(source, files, journal)
    layer = recorded.layers[0]
    thresholds = activation_thresholds(layer, REQUEST, about="images")
    counts = count_firings(recorded, layer, thresholds, source, source.device, files)  # type: ignore[arg-type]
    slices = range(len(counts.pattern_counts.slices))
    return recorded, counts, np.concatenate([counts.pattern_counts.counts(number) for number in slices])


def masks(source: SyntheticProbe, thresholds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return firing masks computed in memory, bool [samples, units, pixels]."""
    upsampler = Upsampler(GRID, MAP)
    return np.stack([(upsampler(torch.from_numpy(maps)).numpy() > thresholds[:, None]) for maps in source.maps[0]])


def test_counts_equal_those_of_masks_in_memory(tmp_path: Path) -> None:
    source = SyntheticProbe()
    recorded, counts, fires = counted(source, tmp_path)
    values = source.maps[0].transpose(1, 0, 2, 3).reshape(UNITS, -1)
    expected_thresholds = np.quantile(values, 0.9, 1, method="inverted_cdf")
    assert counts.thresholds.tolist() == expected_thresholds.tolist()
    firing_masks = masks(source, counts.thresholds)
    ids = recorded.pattern_ids.rows(0, SAMPLES)
    expected = np.array(
        [
            [(firing_masks[:, unit] & (ids == pattern)).sum() for pattern in range(len(recorded.table))]
            for unit in range(UNITS)
        ]
    )
    assert fires.tolist() == expected.tolist()
    assert unpack_bits(counts.samples, (SAMPLES,)).T.tolist() == firing_masks.any(axis=2).tolist()
    assert recorded.predicted is not None
    assert recorded.predicted.tolist() == [number % 3 for number in range(SAMPLES)]


def test_candidates_are_the_concepts_of_samples_in_which_a_unit_fires(tmp_path: Path) -> None:
    source = SyntheticProbe()
    _, counts, _ = counted(source, tmp_path)
    fired = np.asarray(masks(source, counts.thresholds).any(axis=2))
    for unit in range(UNITS):
        expected = {
            concept
            for sample in np.flatnonzero(fired[:, unit])
            for labelled, labels in zip(source.label_maps, source.sample_concepts[sample].label_maps, strict=True)
            for concept in {labelled.first + int(label) - 1 for label in labels if label}
            | set(source.sample_concepts[sample].sample_level)
        }
        assert set(np.flatnonzero(counts.candidates[unit]).tolist()) == expected


def test_a_unit_that_never_fires_has_no_counts(tmp_path: Path) -> None:
    _, counts, fires = counted(SyntheticProbe(), tmp_path)
    assert counts.thresholds[3] == 0
    assert not fires[3].any()
    assert not counts.candidates[3].any()


def test_masks_are_those_of_the_samples_with_the_highest_activations(tmp_path: Path) -> None:
    source = SyntheticProbe()
    recorded, counts, _ = counted(source, tmp_path)
    layer, firing_masks = recorded.layers[0], masks(source, counts.thresholds)
    peaks = source.maps[0].max(axis=(2, 3))
    unpacked = unpack_bits(counts.masks, GRID)
    for unit in range(UNITS):
        order = np.argsort(-peaks[:, unit], kind="stable")[: layer.strongest.shape[1]]
        assert layer.strongest[unit].tolist() == order.tolist()
        assert layer.peaks[unit].tolist() == peaks[order, unit].tolist()
        assert unpacked[unit].reshape(len(order), -1).tolist() == firing_masks[order, unit].tolist()


@pytest.mark.parametrize(
    ("batch", "read", "pixels", "slice_bytes"), [(1, 1, 1, 1), (23, 10**6, 10**6, 10**9), (5, 900, 150, 999)]
)
def test_counts_do_not_depend_on_block_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, read: int, pixels: int, slice_bytes: int
) -> None:
    (tmp_path / "plain").mkdir()
    _, plain, fires = counted(SyntheticProbe(), tmp_path / "plain")
    monkeypatch.setattr(thresholds_module, "_READ_BYTES", read)
    monkeypatch.setattr(firing_counts, "_BLOCK_PIXELS", pixels)
    monkeypatch.setattr(pattern_count_files, "_SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(pattern_count_files, "_BUFFERED_ENTRIES", 10)
    (tmp_path / "blocks").mkdir()
    _, blocked, again = counted(SyntheticProbe(batch), tmp_path / "blocks")
    assert again.tolist() == fires.tolist()
    for name in ("thresholds", "candidates", "samples", "masks"):
        assert np.array_equal(getattr(blocked, name), getattr(plain, name)), name


class Checkpoint:
    """A checkpoint in memory that stops changing after some saves."""

    content: bytes | None = None

    def __init__(self, saves: int = 10**6) -> None:
        self._left = saves

    def save(self, content: bytes) -> None:
        if self._left:
            self.content = content
            self._left -= 1

    def journal(self) -> StoredJournal:
        return StoredJournal(lambda: self.content, self.save, 0.0, "synthetic")


@pytest.mark.parametrize("saves", [10**6, 3])
def test_recording_resumes_from_a_checkpoint(tmp_path: Path, saves: int) -> None:
    (tmp_path / "plain").mkdir()
    _, plain, fires = counted(SyntheticProbe(), tmp_path / "plain")
    checkpoint = Checkpoint(saves)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(KeyboardInterrupt):
        recorded_from(
            SyntheticProbe(batch=2, stop_at=14),
            OPEN.enter_context(ScratchFiles(tmp_path / "stopped")),
            checkpoint.journal(),
        )
    requested: list[int] = []
    source = SyntheticProbe(batch=2)
    run = source.run
    source.run = lambda probe, indices: (requested.extend(indices), run(probe, indices))[1]  # type: ignore[func-returns-value, method-assign]
    _, blocked, again = counted(source, tmp_path / "stopped", checkpoint.journal())
    assert min(requested) > 0
    assert again.tolist() == fires.tolist()
    for name in ("thresholds", "candidates", "samples", "masks"):
        assert np.array_equal(getattr(blocked, name), getattr(plain, name)), name


def test_recording_starts_again_without_its_files(tmp_path: Path) -> None:
    checkpoint = Checkpoint()
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        recorded_from(
            SyntheticProbe(batch=2, stop_at=14),
            OPEN.enter_context(ScratchFiles(tmp_path / "there")),
            checkpoint.journal(),
        )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "plain").mkdir()
    _, _, fires = counted(SyntheticProbe(), tmp_path / "plain")
    assert counted(SyntheticProbe(), tmp_path / "elsewhere", checkpoint.journal())[2].tolist() == fires.tolist()


def test_pixels_outside_the_input_are_not_counted(tmp_path: Path) -> None:
    cropped = InputPlacement(scale=(1.0, 2.0), offset=(0.0, -0.5))
    source = SyntheticProbe(placements=[cropped] * SAMPLES)
    recorded, counts, fires = counted(source, tmp_path)
    ids = recorded.pattern_ids.rows(0, SAMPLES).reshape(SAMPLES, *GRID)
    assert (ids[:, :, [0, 1, 6, 7]] == -1).all()
    assert recorded.table.patterns().pixels == SAMPLES * GRID[0] * 4
    upsampler = Upsampler(GRID, MAP, cropped)
    firing_masks = np.stack(
        [(upsampler(torch.from_numpy(maps)).numpy() > counts.thresholds[:, None]) for maps in source.maps[0]]
    )
    visible = firing_masks.reshape(SAMPLES, UNITS, *GRID)[..., 2:6]
    assert fires.sum(axis=1).tolist() == visible.sum(axis=(0, 2, 3)).tolist()
