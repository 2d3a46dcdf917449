"""Compression of bodies by Content-Encoding and Accept-Encoding: gzip, and deflate, which means zlib's format."""

import gzip
import zlib
from collections.abc import Sequence
from typing import Final

from app.http.negotiation import accepted
from faceter.contracts.errors import FaceterError, ProblemKind

_ENCODINGS: Final = ("gzip", "deflate")
_IDENTITY: Final = ("", "identity")
_WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}
_FAST: Final = 1
_SMALLEST: Final = 1024


def decompressed(chunks: Sequence[bytes], encoding: str, max_bytes: int) -> Sequence[bytes]:
    """Return a body without its compression.

    Args:
        chunks: Parts of the body.
        encoding: Content-Encoding.
        max_bytes: Maximum size without the compression.

    Raises:
        FaceterError: `UNSUPPORTED_MEDIA_TYPE`, `MALFORMED_BODY`, `PAYLOAD_TOO_LARGE`.
    """
    name = encoding.strip().lower()
    if name in _IDENTITY:
        return chunks
    if name not in _ENCODINGS:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            f"The Content-Encoding {encoding[:100]!r} is not supported; use {' or '.join(_ENCODINGS)}.",
        )
    decompressor, parts, size = zlib.decompressobj(_WINDOW_BITS[name]), [], 0
    try:
        for chunk in chunks:
            part = decompressor.decompress(chunk, max_bytes + 1 - size)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise FaceterError(
                    ProblemKind.PAYLOAD_TOO_LARGE,
                    f"The body unpacks to more than the limit of {max_bytes:,} bytes for this address.",
                )
    except zlib.error as error:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body is not in the format of {name}.") from error
    if not decompressor.eof:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body is cut off: its {name} format has no end.")
    if decompressor.unused_data:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body goes on after the end of its {name} format.")
    return parts


def compressed(body: bytes, accept: str) -> tuple[bytes, str]:
    """Return a response's body and its Content-Encoding, empty if it is not compressed.

    It is compressed if the client prefers that and it becomes smaller.

    Args:
        body: The body.
        accept: Accept-Encoding; empty accepts no compression.
    """
    if not accept.strip() or len(body) < _SMALLEST:
        return body, ""
    qualities = {name: accepted(accept, name)[0] for name in _ENCODINGS}
    name = max(qualities, key=lambda name: qualities[name])
    if qualities[name] <= 0:
        return body, ""
    smaller = gzip.compress(body, _FAST, mtime=0) if name == "gzip" else zlib.compress(body, _FAST)
    return (smaller, name) if len(smaller) < len(body) else (body, "")
