"""What an ONNX file says of itself: its ``metadata_props``, which exporters and users fill freely."""

from dataclasses import dataclass
from typing import Final

import onnx

MOST_PROPERTIES: Final = 100
"""Entries that are read."""
MOST_NAME_CHARACTERS: Final = 200
MOST_SHOWN_CHARACTERS: Final = 2_000
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class ShownProperties:
    """Properties of a file, short enough to be shown."""

    values: dict[str, str]
    """Values by name."""
    cut: dict[str, int]
    """Lengths of values in the file, in characters, of which only the beginning is shown."""
    left_out: int
    """Number of properties that are not shown."""


def drop_unreadable_properties(model: onnx.ModelProto) -> list[str]:
    """Remove, in place, properties that are not UTF-8 text, and all but the last of each name, as ONNX Runtime reads.

    Returns:
        Warnings that say what was removed; empty if nothing.
    """
    kept: dict[str, str] = {}
    unreadable = 0
    for item in model.metadata_props:
        if isinstance(item.key, str) and isinstance(item.value, str):
            kept[item.key] = item.value
        else:
            unreadable += 1
    repeated = len(model.metadata_props) - unreadable - len(kept)
    if not unreadable and not repeated:
        return []
    del model.metadata_props[:]
    for key, value in kept.items():
        model.metadata_props.add(key=key, value=value)
    reasons = [f"{unreadable} are not UTF-8 text"] if unreadable else []
    reasons += [f"{repeated} have a name that comes again later"] if repeated else []
    return [f"Of the properties that the file gives of itself (metadata_props) some are ignored: {', '.join(reasons)}."]


def properties_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the properties of a checked model, of whatever length."""
    return {item.key: item.value for item in model.metadata_props}


def shown_properties(model: onnx.ModelProto) -> ShownProperties:
    """Return the properties of a checked model, with the beginning of values that are long."""
    values: dict[str, str] = {}
    cut: dict[str, int] = {}
    left_out = 0
    for name, value in properties_of(model).items():
        if len(values) == MOST_PROPERTIES or len(name) > MOST_NAME_CHARACTERS:
            left_out += 1
            continue
        values[name] = value[:MOST_SHOWN_CHARACTERS]
        if len(value) > MOST_SHOWN_CHARACTERS:
            cut[name] = len(value)
    return ShownProperties(values, cut, left_out)
