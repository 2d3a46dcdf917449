"""Which class an image is of by the folder that it lies in."""

from collections.abc import Sequence
from typing import Final

from faceter.datasets.errors import quoted_names

SPLITS: Final = frozenset({"dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation"})
"""Names of folders that hold parts of one set, in lower case."""

_IMAGE_FOLDERS: Final = frozenset({"image", "images", "img", "imgs", "jpegimages"})


def class_folders(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """Return the class folder of each image, None for those that lie in none, and what to warn of.

    Folders that hold everything are no class; the first folder below them is. Folders such as ``train`` and ``val``
    side by side are parts of one set, and a single folder ``images`` is no class.
    """
    folders = _below_common([name.split("/")[:-1] for name in names])
    warnings: list[str] = []
    tops = _tops(folders)
    if len(tops) > 1 and {top.lower() for top in tops} <= SPLITS:
        warnings.append(f"read as parts of one set: {quoted_names([f'{top}/' for top in tops])}")
        folders = _below_common([path[1:] for path in folders])
    if len(tops := _tops(folders)) == 1 and tops[0].lower() in SPLITS | _IMAGE_FOLDERS:
        folders = [path[1:] for path in folders]
    return [path[0] if path else None for path in folders], warnings


def _below_common(folders: list[list[str]]) -> list[list[str]]:
    """Return the folders below those that hold everything, the last of which is left."""
    while all(len(path) > 1 for path in folders) and len({path[0] for path in folders}) == 1:
        folders = [path[1:] for path in folders]
    return folders


def _tops(folders: Sequence[Sequence[str]]) -> list[str]:
    return sorted({path[0] if path else "" for path in folders})
