"""Where units fire: counted in a stream, in blocks and after a stop as it would be in memory at once."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from faceter.explanations.formulas import Concept
from faceter.explanations.masks import unpacked
from workers.explanation import buckets, counting
from workers.explanation.counting import Counts, layer_thresholds, second_pass
from workers.explanation.first_pass import FirstPass, FirstPassJob
from workers.explanation.patterns import Floats
from workers.explanation.samples import Frame, Group, Integers, Labels, Read
from workers.explanation.sampling import Sampler
from workers.explanation.stream import Run
from workers.jobs.journal import StoredJournal
from workers.jobs.scratch import ScratchFiles

SAMPLES, UNITS, GRID, MAP = 23, 7, (9, 8), (4, 3)
REQUEST = ExplanationRequest(dataset_id="made-up", layer=["one", "two"], quantile=0.1)


class MadeUp:
    """Samples and a network that are arrays."""

    about = "images"
    grid = GRID
    groups = (Group(0, 3), Group(3, 2))
    concepts = tuple(Concept(f"c{number}", "made up") for number in range(6))
    classes: Integers | None = None
    notes: tuple[str, ...] = ()
    input_values = 1
    device = torch.device("cpu")

    def __init__(self, batch: int = 4, stop_at: int | None = None, frames: Sequence[Frame] = ()) -> None:
        rng = np.random.default_rng(0)
        pixels = GRID[0] * GRID[1]
        self.labels = [
            Labels(np.stack([rng.integers(0, 4, pixels), rng.integers(0, 3, pixels)]), (5,) if number % 2 else ())
            for number in range(SAMPLES)
        ]
        self.maps = [rng.normal(size=(SAMPLES, UNITS, *MAP)).astype(np.float32) for _ in range(2)]
        self.maps[0][:, 3] = 0
        self.frames = frames or [Frame()] * SAMPLES
        self._batch, self._stop_at = batch, stop_at

    def __len__(self) -> int:
        return SAMPLES

    def read(self, indices: Sequence[int]) -> Read:
        return Read({}, [self.labels[index] for index in indices], [self.frames[index] for index in indices])

    def batch(self, samples: object) -> int:
        return self._batch

    def run(self, samples: object, indices: Sequence[int]) -> list[Run]:
        if self._stop_at is not None and max(indices) >= self._stop_at:
            raise KeyboardInterrupt
        return [
            Run(self.labels[index], self.frames[index], [maps[index] for maps in self.maps], index % 3)
            for index in indices
        ]


OPEN = ExitStack()
"""Files of the test that is running."""


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    OPEN.close()


def first_of(source: MadeUp, files: ScratchFiles, journal: StoredJournal | None = None) -> FirstPass:
    return FirstPassJob(source, source, REQUEST, lambda _, count: np.arange(count), files, journal).run()  # type: ignore[arg-type]


def counted(source: MadeUp, folder: Path, journal: StoredJournal | None = None) -> tuple[FirstPass, Counts, Floats]:
    files = OPEN.enter_context(ScratchFiles(folder))
    first = first_of(source, files, journal)
    layer = first.layers[0]
    over = layer_thresholds(layer, REQUEST, about="images")
    counts = second_pass(first, layer, over, source, source.device, files)  # type: ignore[arg-type]
    return first, counts, np.concatenate([counts.buckets.counts(n) for n in range(len(counts.buckets.slices))])


def masks(source: MadeUp, over: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where units fire, all in memory, bool [samples, units, pixels]."""
    sampler = Sampler(GRID, MAP)
    return np.stack([(sampler(torch.from_numpy(maps)).numpy() > over[:, None]) for maps in source.maps[0]])


def test_counts_are_those_of_masks_in_memory(tmp_path: Path) -> None:
    source = MadeUp()
    first, counts, fires = counted(source, tmp_path)
    values = source.maps[0].transpose(1, 0, 2, 3).reshape(UNITS, -1)
    expected_over = np.quantile(values, 0.9, 1, method="inverted_cdf")
    assert counts.thresholds.tolist() == expected_over.tolist()
    where = masks(source, counts.thresholds)
    ids = first.ids.rows(0, SAMPLES)
    expected = np.array(
        [[(where[:, unit] & (ids == pattern)).sum() for pattern in range(len(first.table))] for unit in range(UNITS)]
    )
    assert fires.tolist() == expected.tolist()
    assert unpacked(counts.samples, (SAMPLES,)).T.tolist() == where.any(axis=2).tolist()
    assert first.predicted is not None
    assert first.predicted.tolist() == [number % 3 for number in range(SAMPLES)]


def test_candidates_are_the_concepts_of_samples_in_which_a_unit_fires(tmp_path: Path) -> None:
    source = MadeUp()
    _, counts, _ = counted(source, tmp_path)
    where = np.asarray(masks(source, counts.thresholds).any(axis=2))
    for unit in range(UNITS):
        expected = {
            concept
            for sample in np.flatnonzero(where[:, unit])
            for group, values in zip(source.groups, source.labels[sample].values, strict=True)
            for concept in {group.first + int(value) - 1 for value in values if value}
            | set(source.labels[sample].everywhere)
        }
        assert set(np.flatnonzero(counts.candidates[unit]).tolist()) == expected


def test_a_unit_that_never_fires_has_nothing(tmp_path: Path) -> None:
    _, counts, fires = counted(MadeUp(), tmp_path)
    assert counts.thresholds[3] == 0
    assert not fires[3].any()
    assert not counts.candidates[3].any()


def test_masks_are_kept_of_the_samples_in_which_a_unit_is_strongest(tmp_path: Path) -> None:
    source = MadeUp()
    first, counts, _ = counted(source, tmp_path)
    layer, where = first.layers[0], masks(source, counts.thresholds)
    peaks = source.maps[0].max(axis=(2, 3))
    kept = unpacked(counts.masks, GRID)
    for unit in range(UNITS):
        order = np.argsort(-peaks[:, unit], kind="stable")[: layer.strongest.shape[1]]
        assert layer.strongest[unit].tolist() == order.tolist()
        assert layer.peaks[unit].tolist() == peaks[order, unit].tolist()
        assert kept[unit].reshape(len(order), -1).tolist() == where[order, unit].tolist()


@pytest.mark.parametrize(
    ("batch", "read", "pixels", "slice_bytes"), [(1, 1, 1, 1), (23, 10**6, 10**6, 10**9), (5, 900, 150, 999)]
)
def test_blocks_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, read: int, pixels: int, slice_bytes: int
) -> None:
    (tmp_path / "plain").mkdir()
    _, plain, fires = counted(MadeUp(), tmp_path / "plain")
    monkeypatch.setattr(counting, "_READ_BYTES", read)
    monkeypatch.setattr(counting, "_PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(buckets, "_SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(buckets, "_WAITING", 10)
    (tmp_path / "blocks").mkdir()
    _, found, again = counted(MadeUp(batch), tmp_path / "blocks")
    assert again.tolist() == fires.tolist()
    for name in ("thresholds", "candidates", "samples", "masks"):
        assert np.array_equal(getattr(found, name), getattr(plain, name)), name


class Checkpoint:
    """A file that a journal keeps."""

    content: bytes | None = None

    def __init__(self, saves: int = 10**6) -> None:
        self._left = saves

    def save(self, content: bytes) -> None:
        if self._left:
            self.content = content
            self._left -= 1

    def journal(self) -> StoredJournal:
        return StoredJournal(lambda: self.content, self.save, 0.0, "made-up")


@pytest.mark.parametrize("saves", [10**6, 3])
def test_a_stopped_pass_goes_on_where_it_was_last_kept(tmp_path: Path, saves: int) -> None:
    (tmp_path / "plain").mkdir()
    _, plain, fires = counted(MadeUp(), tmp_path / "plain")
    kept = Checkpoint(saves)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(KeyboardInterrupt):
        first_of(MadeUp(batch=2, stop_at=14), OPEN.enter_context(ScratchFiles(tmp_path / "stopped")), kept.journal())
    asked: list[int] = []
    source = MadeUp(batch=2)
    run = source.run
    source.run = lambda samples, indices: (asked.extend(indices), run(samples, indices))[1]  # type: ignore[func-returns-value, method-assign]
    _, found, again = counted(source, tmp_path / "stopped", kept.journal())
    assert min(asked) > 0
    assert again.tolist() == fires.tolist()
    for name in ("thresholds", "candidates", "samples", "masks"):
        assert np.array_equal(getattr(found, name), getattr(plain, name)), name


def test_a_pass_begins_anew_where_its_files_are_gone(tmp_path: Path) -> None:
    kept = Checkpoint()
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt):
        first_of(MadeUp(batch=2, stop_at=14), OPEN.enter_context(ScratchFiles(tmp_path / "there")), kept.journal())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "plain").mkdir()
    _, _, fires = counted(MadeUp(), tmp_path / "plain")
    assert counted(MadeUp(), tmp_path / "elsewhere", kept.journal())[2].tolist() == fires.tolist()


def test_pixels_outside_the_input_are_not_compared(tmp_path: Path) -> None:
    cropped = Frame(scale=(1.0, 2.0), offset=(0.0, -0.5))
    source = MadeUp(frames=[cropped] * SAMPLES)
    first, counts, fires = counted(source, tmp_path)
    ids = first.ids.rows(0, SAMPLES).reshape(SAMPLES, *GRID)
    assert (ids[:, :, [0, 1, 6, 7]] == -1).all()
    assert first.table.patterns().pixels == SAMPLES * GRID[0] * 4
    sampler = Sampler(GRID, MAP, cropped)
    where = np.stack(
        [(sampler(torch.from_numpy(maps)).numpy() > counts.thresholds[:, None]) for maps in source.maps[0]]
    )
    seen = where.reshape(SAMPLES, UNITS, *GRID)[..., 2:6]
    assert fires.sum(axis=1).tolist() == seen.sum(axis=(0, 2, 3)).tolist()
