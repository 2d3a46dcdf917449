"""Parsing of JSON from users, with messages that say why a text is not valid JSON."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class NotJsonError(Exception):
    """The text is not valid JSON; the message is the reason, without a full stop."""


def read_json(text: bytes | str, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    r"""Return the value of a JSON text.

    Args:
        text: JSON as text or as UTF-8 bytes, with or without a byte order mark.
        parse_constant: Called with `NaN`, `Infinity` and `-Infinity`, which are not valid JSON. By default they
            are parsed as floats.

    Raises:
        NotJsonError: If the text is not valid JSON, is nested too deeply, has a number with too many digits, or
            contains an unpaired surrogate (`\ud800`), which cannot be encoded as UTF-8.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _read_slowly(text, parse_constant)


def _read_slowly(text: bytes | str, parse_constant: Callable[[str], Any] | None) -> Any:
    """Return the value of a text that the fast parser does not take, or say what is wrong with it."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        document = json.loads(text, parse_constant=parse_constant)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos}") from error
    except UnicodeDecodeError as error:
        raise NotJsonError(f"byte {error.start} is not UTF-8 text") from error
    except UnicodeEncodeError as error:
        raise NotJsonError(f"a string has an unpaired surrogate, {error.object[error.start]!a}") from error
    except RecursionError as error:
        raise NotJsonError("its lists and objects are nested too deeply") from error
    except ValueError as error:
        raise NotJsonError("a number in it has too many digits") from error
    return document
