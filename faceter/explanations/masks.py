"""Where units fire and where their formulas hold, in the samples at which each unit is strongest."""

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
"""Name of the further file of an explanation that holds all this."""

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class LayerMasks:
    """One layer's, unit after unit in the order asked for."""

    fires: Bits
    """[U, N]: whether a unit fires anywhere in a sample."""
    strongest: NDArray[np.int64]
    """[U, T]: positions in the dataset of the samples at which a unit is strongest, the strongest first; −1 where
    there are fewer."""
    unit_masks: Bits
    """[U, T, *grid]: where the unit fires in them; grid is (height, width) of the masks, (length,) or ()."""
    formula_masks: Bits
    """[U, T, *grid]: where its formula holds in them; all false for a unit without a formula."""


@dataclass(frozen=True)
class Masks:
    """All layers', and the classes of the samples."""

    layers: list[LayerMasks]
    """In the order of the request."""
    labels: NDArray[np.int64] | None
    """[N]: class of each sample in the order of the model's labels; None where there are none."""
    predicted: NDArray[np.int64] | None
    """[N]: class that the model predicts; None if it is no classifier."""


@dataclass(frozen=True)
class UnitMasks:
    """One unit's."""

    strongest: NDArray[np.int64]
    """[T]: positions in the dataset of the samples at which it is strongest; −1 where there are fewer."""
    unit: Bits
    """[T, *grid]: where it fires in them."""
    formula: Bits
    """[T, *grid]: where its formula holds in them."""


def masks_file(masks: Masks) -> bytes:
    """Return masks as the file that `read_masks` reads."""
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


def read_masks(path: Path, layers: Sequence[int] | None = None) -> Masks:
    """Read the masks of some layers, all if not given.

    Args:
        path: A file of `masks_file`.
        layers: Positions of layers in the request.
    """
    with np.load(path, allow_pickle=False) as arrays:
        wanted = range(sum(name.startswith("strongest_") for name in arrays.files)) if layers is None else layers
        return Masks(
            layers=[
                LayerMasks(
                    fires=_bits(arrays, f"fires_{number}"),
                    strongest=arrays[f"strongest_{number}"],
                    unit_masks=_bits(arrays, f"unit_masks_{number}"),
                    formula_masks=_bits(arrays, f"formula_masks_{number}"),
                )
                for number in wanted
            ],
            labels=arrays["labels"] if "labels" in arrays.files else None,
            predicted=arrays["predicted"] if "predicted" in arrays.files else None,
        )


def read_unit_masks(path: Path, layer: int, row: int) -> UnitMasks:
    """Read the masks of one unit, with no more in memory than these.

    Args:
        path: A file of `masks_file`.
        layer: Position of its layer in the request.
        row: Its position among the units of the layer that were asked for.
    """
    with np.load(path, allow_pickle=False) as arrays:
        strongest = arrays[f"strongest_{layer}"][row]
        shapes = {name: arrays[f"{name}_{layer}_shape"].tolist() for name in ("unit_masks", "formula_masks")}
    with ZipFile(path) as archive:
        unit, formula = (_row(archive, f"{name}_{layer}", shape, row) for name, shape in shapes.items())
    return UnitMasks(strongest, unit, formula)


def _row(archive: ZipFile, name: str, shape: Sequence[int], row: int) -> Bits:
    """Return one row of packed bits of a shape."""
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


def unpacked(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> Bits:
    """Return bits whose last axis was packed by itself, bool [..., *shape].

    Args:
        packed: uint8 [..., ⌈n/8⌉], n the product of ``shape``.
        shape: What the last axis stands for.
    """
    bits = np.unpackbits(packed, axis=-1, count=int(np.prod(shape)))
    return bits.astype(np.bool_).reshape(*packed.shape[:-1], *shape)
