"""Opaque cursors: a position in a list as URL-safe base64 of JSON."""

import base64
import binascii
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from faceter.contracts.errors import FaceterError, ProblemKind

P = TypeVar("P")


def encode_cursor(adapter: TypeAdapter[P], position: P) -> str:
    """Return a position in a list as an opaque cursor."""
    return base64.urlsafe_b64encode(adapter.dump_json(position)).decode().rstrip("=")


def decode_cursor(adapter: TypeAdapter[P], cursor: str) -> P:
    """Return the position that a cursor encodes.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor`, if it does not belong to such a list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return adapter.validate_json(text, strict=False)
    except (binascii.Error, ValueError, ValidationError) as error:
        raise foreign_cursor() from error


def foreign_cursor() -> FaceterError:
    """Return the error for a cursor that belongs to another list."""
    return FaceterError(
        ProblemKind.INVALID_REQUEST,
        "This cursor belongs to another list. Pass `next_cursor` of the previous page, with the same filters and "
        "order.",
        field="cursor",
    )
