"""The archive of a translator: a zip of plain files that a worker writes and the API reads one by one.

It is deterministic: members are stored uncompressed, with a constant date.
"""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, Self

from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import LossPoint, TranslatorCurves

STATE: Final = "state.pt"
"""The training state to resume from; read by workers only."""

CURVES: Final = "curves.json"
"""`TranslatorCurves`."""

CURVES_IMAGE: Final = "curves.png"
"""Plot of the losses."""

_SAMPLES: Final = "samples/"
_MAX_SAMPLES: Final = 60
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def generator_member(direction: Direction) -> str:
    """Return the name of the ONNX file of a direction."""
    return f"{direction.value}.onnx"


def sample_member(step: int) -> str:
    """Return the name of the contact sheet of a step."""
    return f"{_SAMPLES}{step:09d}.png"


def write_archive(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive.

    Args:
        file: Empty and seekable; its position afterwards is undefined.
        members: Names and contents, held in memory one at a time.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)


def curves_content(points: Iterable[LossPoint]) -> bytes:
    """Return the content of `CURVES`."""
    return TranslatorCurves(points=list(points)).model_dump_json().encode()


def thin_samples(sheets: dict[int, bytes]) -> dict[int, bytes]:
    """Return contact sheets by step; of more than 60 every other one is dropped, never the last."""
    if len(sheets) <= _MAX_SAMPLES:
        return sheets
    kept = sorted(sheets, reverse=True)[::2]
    return {step: sheets[step] for step in sorted(kept)}


class Archive:
    """Reader of an archive.

    Args:
        file: Its path, or the file itself, seekable.
    """

    def __init__(self, file: Path | BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """Names of all members."""
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        """Return a member's content.

        Raises:
            KeyError: If there is no such member.
        """
        return self._zip.read(name)

    @property
    def directions(self) -> list[Direction]:
        """Directions of the generators in it."""
        return [direction for direction in Direction if generator_member(direction) in self.names]

    @property
    def sample_steps(self) -> list[int]:
        """Steps that have contact sheets, in order."""
        return sorted(int(Path(name).stem) for name in self.names if name.startswith(_SAMPLES))

    def samples(self) -> dict[int, bytes]:
        """Return every contact sheet, by step."""
        return {step: self.read(sample_member(step)) for step in self.sample_steps}

    def curves(self) -> TranslatorCurves:
        """Return the losses; no points if there are none."""
        if CURVES not in self.names:
            return TranslatorCurves(points=[])
        return TranslatorCurves.model_validate(json.loads(self.read(CURVES)))
