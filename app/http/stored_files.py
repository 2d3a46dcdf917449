"""HTTP responses with stored files: ETag, conditional requests, ranges, HEAD."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.http.problems import error_response
from faceter.contracts.errors import FaceterError, ProblemKind

_CHUNK_BYTES: Final = 256 * 1024
_ONE_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


class FileContent(Response):
    """Part or all of a file, sent in chunks.

    Args:
        path: The file.
        start: First byte.
        length: Number of bytes.
        status_code: 200, or 206 for a range.
        headers: Further headers.
        media_type: Media type of the file.
    """

    def __init__(
        self, path: Path, *, start: int, length: int, status_code: int, headers: dict[str, str], media_type: str
    ) -> None:
        self._path = path
        self._start = start
        self._length = length
        self.status_code = status_code
        self.background = None
        self.media_type = media_type
        self.body = b""
        self.init_headers({**headers, "Content-Length": str(length)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, without content for HEAD (see `app.http.middleware.head.HeadAsGet`)."""
        head = scope.get("head", False)
        async with await anyio.open_file(self._path, "rb") as file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            remaining = 0 if head else self._length
            await file.seek(self._start)
            while remaining:
                chunk = await file.read(min(remaining, _CHUNK_BYTES))
                if not chunk:
                    raise RuntimeError(f"the file {self._path} was truncated")
                remaining -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def content_response(request: Request, path: Path, *, sha256: str, filename: str, media_type: str) -> Response:
    """Return the response to GET or HEAD for a stored file.

    A single byte range is supported; 416 is returned if it begins after the end of the file. For several or invalid
    ranges the whole file is sent, as HTTP allows.

    Args:
        request: With the headers `If-None-Match`, `Range` and `If-Range`.
        path: The file.
        sha256: SHA-256 of the file; the ETag.
        filename: Suggested file name.
        media_type: Media type of the file.
    """
    etag = f'"{sha256}"'
    size = path.stat().st_size
    common = {**_cache_headers(etag), "Accept-Ranges": "bytes"}
    if _matches(request.headers, etag):
        return Response(status_code=304, headers=common)
    headers = {**common, "Content-Disposition": _disposition(filename)}
    start, length = 0, size
    byte_range = _requested_range(request.headers, etag, size)
    if byte_range is not None:
        start, end = byte_range
        if start >= size:
            error = FaceterError(
                ProblemKind.RANGE_NOT_SATISFIABLE,
                f"The file has {size} bytes, none of which is in the requested range.",
            )
            return error_response(error, request.url.path, {"Content-Range": f"bytes */{size}"})
        length = min(end, size - 1) - start + 1
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return FileContent(
        path,
        start=start,
        length=length,
        status_code=200 if byte_range is None else 206,
        headers=headers,
        media_type=media_type,
    )


def generated_response(
    request: Request, generate: Callable[[], bytes], *, tag: str, filename: str, media_type: str
) -> Response:
    """Return the response to GET for content generated on demand, unless the client has the current version.

    Args:
        request: With the header `If-None-Match`.
        generate: Returns the content.
        tag: Digest of everything the content depends on; the ETag.
        filename: Suggested file name.
        media_type: Media type of the content.
    """
    common = _cache_headers(f'"{tag}"')
    if _matches(request.headers, common["ETag"]):
        return Response(status_code=304, headers=common)
    headers = {**common, "Content-Disposition": _disposition(filename)}
    return Response(generate(), headers=headers, media_type=media_type)


def _cache_headers(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def _matches(headers: Headers, etag: str) -> bool:
    if_none_match = headers.get("if-none-match")
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def _requested_range(headers: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of the requested range, or None for the whole file."""
    match = _ONE_RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or headers.get("if-range", etag) != etag:
        return None
    first, last = match[1], match[2]
    if not first and not last:
        return None
    if not first:
        return (max(size - int(last), 0), size - 1) if int(last) else (size, size)
    end = int(last) if last else max(size, int(first))
    return (int(first), end) if end >= int(first) else None


def _disposition(filename: str) -> str:
    safe = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in " ._-") else "_" for letter in filename
    )
    extended = f"; filename*=UTF-8''{quote(filename, safe='')}" if safe != filename else ""
    return f'attachment; filename="{safe}"{extended}'
