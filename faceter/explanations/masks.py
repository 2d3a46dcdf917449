"""The masks file of an explanation: firing masks and formula masks of each unit in its strongest samples."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MASKS = "masks.npz"
"""Name of the file."""

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class LayerMasks:
    """Masks of U units of a layer in T samples each, of N."""

    fires: Bits
    """[U, N]: whether the unit fires anywhere in the sample."""
    strongest: NDArray[np.int64]
    """[U, T]: indices of the samples with the highest activations, highest first; padded with −1."""
    unit_masks: Bits
    """[U, T, *grid]: firing masks; grid is (height, width), (length,) or ()."""
    formula_masks: Bits
    """[U, T, *grid]: masks of the formulas; all false without a formula."""


@dataclass(frozen=True)
class ExplanationMasks:
    """Masks of all layers, and the classes of the samples."""

    layers: list[LayerMasks]
    """In the order of the request."""
    labels: NDArray[np.int64] | None
    """[N]: class of each sample in the order of the model's labels; None without labels."""
    predicted: NDArray[np.int64] | None
    """[N]: predicted class; None if the model is no classifier."""


@dataclass(frozen=True)
class UnitMasks:
    """Masks of one unit."""

    strongest: NDArray[np.int64]
    """[T]: indices of the samples with the highest activations; padded with −1."""
    unit: Bits
    """[T, *grid]: firing masks."""
    formula: Bits
    """[T, *grid]: masks of the formula."""


def encode_masks(masks: ExplanationMasks) -> bytes:
    """Encode masks for `read_masks`."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, layer in enumerate(masks.layers):
        for name in ("fires", "unit_masks", "formula_masks"):
            bits: Bits = getattr(layer, name)
            arrays[f"{name}_{number}"] = np.packbits(bits)
            arrays[f"{name}_{number}_shape"] = np.array(bits.shape, np.int64)
        arrays[f"strongest_{number}"] = layer.strongest
    for name in ("labels", "predicted"):
        classes = getattr(masks, name)
        if classes is not None:
            arrays[name] = classes
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_masks(path: Path, layers: Sequence[int] | None = None) -> ExplanationMasks:
    """Read the masks of layers, given by their positions in the request; all if not given."""
    with np.load(path, allow_pickle=False) as arrays:
        selected = range(sum(name.startswith("strongest_") for name in arrays.files)) if layers is None else layers
        return ExplanationMasks(
            layers=[
                LayerMasks(
                    fires=_bits(arrays, f"fires_{number}"),
                    strongest=arrays[f"strongest_{number}"],
                    unit_masks=_bits(arrays, f"unit_masks_{number}"),
                    formula_masks=_bits(arrays, f"formula_masks_{number}"),
                )
                for number in selected
            ],
            labels=arrays["labels"] if "labels" in arrays.files else None,
            predicted=arrays["predicted"] if "predicted" in arrays.files else None,
        )


def read_unit_masks(path: Path, layer: int, row: int) -> UnitMasks:
    """Read the masks of one unit, and nothing else into memory.

    Args:
        path: The file.
        layer: Position of the layer in the request.
        row: Position of the unit among those of the request.
    """
    with np.load(path, allow_pickle=False) as arrays:
        strongest = arrays[f"strongest_{layer}"][row]
        shapes = {name: arrays[f"{name}_{layer}_shape"].tolist() for name in ("unit_masks", "formula_masks")}
    with ZipFile(path) as archive:
        unit, formula = (_row(archive, f"{name}_{layer}", shape, row) for name, shape in shapes.items())
    return UnitMasks(strongest, unit, formula)


def _row(archive: ZipFile, name: str, shape: Sequence[int], row: int) -> Bits:
    """Return one row of packed bits [rows, …]."""
    count = int(np.prod(shape[1:]))
    first, last = row * count, (row + 1) * count
    with archive.open(f"{name}.npy") as member:
        npy.read_magic(member)
        npy.read_array_header_1_0(member)
        member.seek(first // 8, io.SEEK_CUR)
        packed = np.frombuffer(member.read(-(-last // 8) - first // 8), np.uint8)
    return np.unpackbits(packed)[first % 8 :][:count].astype(np.bool_).reshape(shape[1:])


def _bits(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Bits:
    shape = tuple(int(size) for size in arrays[f"{name}_shape"])
    packed = np.asarray(arrays[name], np.uint8)
    return np.unpackbits(packed, count=int(np.prod(shape))).astype(np.bool_).reshape(shape)


def unpack_bits(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> Bits:
    """Unpack bits along the last axis.

    Args:
        packed: uint8 [..., ⌈n/8⌉], n the product of ``shape``.
        shape: Shape that the last axis stands for.

    Returns:
        bool [..., *shape].
    """
    bits = np.unpackbits(packed, axis=-1, count=int(np.prod(shape)))
    return bits.astype(np.bool_).reshape(*packed.shape[:-1], *shape)
