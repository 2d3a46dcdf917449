"""The archive of a translator: round trip and determinism."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import LossPoint, TranslatorCurves
from faceter.translation.archive import (
    CURVES,
    STATE,
    Archive,
    curves_content,
    generator_member,
    sample_member,
    thin_samples,
    write_archive,
)

POINTS = [LossPoint(step=step, seconds=0.5 * step, losses={"G": 1 / step}) for step in (1, 2)]

MEMBERS = [
    (generator_member(Direction.B2A), b"onnx"),
    (CURVES, curves_content(POINTS)),
    (sample_member(1200), b"later"),
    (sample_member(30), b"sooner"),
    (STATE, bytes(100)),
]


def written(tmp_path: Path, members: list[tuple[str, bytes]]) -> Path:
    path = tmp_path / "archive.zip"
    with path.open("wb") as file:
        write_archive(file, members)
    return path


def test_members_survive_the_round_trip(tmp_path: Path) -> None:
    with Archive(written(tmp_path, MEMBERS)) as archive:
        assert archive.names == [name for name, _ in MEMBERS]
        assert all(archive.read(name) == content for name, content in MEMBERS)
        assert archive.directions == [Direction.B2A]
        assert archive.sample_steps == [30, 1200]
        assert archive.samples() == {30: b"sooner", 1200: b"later"}
        assert archive.curves() == TranslatorCurves(points=POINTS)
        with pytest.raises(KeyError):
            archive.read(generator_member(Direction.A2B))


def test_an_empty_archive(tmp_path: Path) -> None:
    with Archive(written(tmp_path, [])) as archive:
        assert (archive.directions, archive.sample_steps, archive.samples()) == ([], [], {})
        assert archive.curves() == TranslatorCurves(points=[])


def test_equal_members_make_equal_bytes_that_anyone_can_read() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    for file in (first, second):
        write_archive(file, MEMBERS)
    assert first.getvalue() == second.getvalue()
    with zipfile.ZipFile(first) as opened:
        assert opened.testzip() is None
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in opened.infolist())


def test_members_are_consumed_one_at_a_time() -> None:
    alive: list[str] = []

    class Content(bytes):
        def __del__(self) -> None:
            alive.remove("one")

    def members() -> Iterator[tuple[str, bytes]]:
        for number in range(3):
            assert len(alive) <= 1
            alive.append("one")
            yield f"{number}", Content(9)

    write_archive(io.BytesIO(), members())


@pytest.mark.parametrize("count", [1, 60])
def test_up_to_sixty_sheets_are_kept(count: int) -> None:
    sheets = dict.fromkeys(range(count), b"")
    assert thin_samples(sheets) == sheets


@pytest.mark.parametrize("count", [61, 62])
def test_of_more_every_other_one_is_dropped_but_not_the_last(count: int) -> None:
    sheets = {10 * step: str(step).encode() for step in range(count)}
    kept = thin_samples(sheets)
    assert list(kept) == list(range(10 * (count - 1), -1, -20))[::-1]
    assert all(sheets[step] == sheet for step, sheet in kept.items())
    assert len(kept) == 31


def test_sheets_of_a_long_training_are_few_and_evenly_spread() -> None:
    sheets: dict[int, bytes] = {}
    for step in range(1, 1001):
        sheets = thin_samples({**sheets, step: b""})
        assert len(sheets) <= 60
    assert max(sheets) == 1000
    assert min(sheets) < 100
