"""Element types as the protocol names them, and their little-endian bytes."""

import struct
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from faceter.engines.base import Array

Bytes = bytes | bytearray | memoryview
"""Anything that holds bytes."""

DATATYPES: Final = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "str": "BYTES",
}
"""The protocol's names of element types; values that are no tensors have none."""

NUMPY_DTYPES: Final = {
    **{name: np.dtype(dtype) for dtype, name in DATATYPES.items() if name not in ("BF16", "BYTES")},
    "BF16": np.dtype(np.uint16),
}
"""What an element occupies in bytes; BF16 is the upper half of a float32. BYTES have a length each."""

_LENGTH: Final = struct.Struct("<I")
_HALF: Final = 16
_QUIET_NAN: Final = 0x7FC0


class TextFormError(Exception):
    """Bytes are not elements of BYTES; the message is the reason, without a full stop."""


def bfloat16_to_float32(halves: Array) -> Array:
    """Return bfloat16 numbers, given as uint16, as float32, which holds each of them exactly."""
    return (halves.astype(np.uint32) << _HALF).view(np.float32)


def float32_to_bfloat16(numbers: Array) -> Array:
    """Return the nearest bfloat16 of each float32, ties to even, as uint16."""
    bits = np.asarray(numbers, np.float32, order="C").view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> _HALF) & 1)) >> _HALF).astype(np.uint16)
    return np.where(np.isnan(numbers), np.uint16(_QUIET_NAN), rounded)


def split_texts(content: Bytes) -> list[str]:
    """Return the elements of BYTES: each has its length in four bytes before it, and is UTF-8.

    Raises:
        TextFormError: If a length leads beyond the end, or an element is not UTF-8.
    """
    view, position, texts = memoryview(content), 0, []
    while position < len(view):
        start = position + _LENGTH.size
        if start > len(view):
            raise TextFormError("ends within the length of an element")
        (length,) = _LENGTH.unpack_from(view, position)
        position = start + length
        if position > len(view):
            raise TextFormError(f"has an element of {length} bytes, of which {len(view) - start} are there")
        texts.append(decode_text(view[start:position]))
    return texts


def decode_text(content: Bytes) -> str:
    """Return one element of BYTES.

    Raises:
        TextFormError: If it is not UTF-8, as strings in ONNX are.
    """
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise TextFormError("has an element that is not UTF-8 text") from error


def join_texts(texts: Iterable[Any]) -> bytes:
    """Return texts as elements of BYTES."""
    parts: list[bytes] = []
    for text in texts:
        encoded = encode_text(text)
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def encode_text(text: Any) -> bytes:
    """Return a text as one element of BYTES, without its length."""
    return text if isinstance(text, bytes) else str(text).encode()
