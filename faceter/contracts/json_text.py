"""Reading JSON that a user wrote, and saying in the user's words why it is none."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class NotJsonError(Exception):
    """The text is not JSON; the message is the reason, without a full stop."""


def read_json(text: bytes | str, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    r"""Return the value of a JSON text.

    Args:
        text: Bytes are UTF-8, a byte order mark allowed.
        parse_constant: Called with `NaN`, `Infinity` and `-Infinity`, which are not JSON; taken as floats without it.

    Raises:
        NotJsonError: If it is not JSON, too deep or with too long a number for this machine, or holds half a
            character (`\ud800`), which no answer could repeat.
    """
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
        raise NotJsonError(f"a text in it holds half a character, {error.object[error.start]!a}") from error
    except RecursionError as error:
        raise NotJsonError("its lists and objects are nested too deeply") from error
    except ValueError as error:
        raise NotJsonError("a number in it has too many digits") from error
    return document
