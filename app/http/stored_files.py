"""A stored file as an HTTP response: ETag, conditional requests, ranges, HEAD."""

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
        status_code: 200, or 206 for a part.
        headers: Sent as they are.
        media_type: Of the file.
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
        """Send it; nothing of the file to HEAD (see `app.http.middleware.request_log.HeadAsGet`)."""
        head = scope.get("head", False)
        async with await anyio.open_file(self._path, "rb") as file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            left = 0 if head else self._length
            await file.seek(self._start)
            while left:
                chunk = await file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise RuntimeError(f"the file {self._path} is shorter than it was")
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def content_response(request: Request, path: Path, *, sha256: str, filename: str, media_type: str) -> Response:
    """Return the response to a GET or HEAD for a stored file.

    One byte range is served, or 416 answered if it begins after the file's end; of several, or of one that cannot be
    understood, the whole file is sent instead, as HTTP allows.

    Args:
        request: Its `If-None-Match`, `Range` and `If-Range` are heeded.
        path: The file.
        sha256: Of its bytes; the ETag.
        filename: What a browser should save it as.
        media_type: Of the file.
    """
    etag = f'"{sha256}"'
    size = path.stat().st_size
    common = {**_cached(etag), "Accept-Ranges": "bytes"}
    if _matches(request.headers, etag):
        return Response(status_code=304, headers=common)
    headers = {**common, "Content-Disposition": _disposition(filename)}
    start, length = 0, size
    wanted = _wanted_range(request.headers, etag, size)
    if wanted is not None:
        start, end = wanted
        if start >= size:
            error = FaceterError(
                ProblemKind.RANGE_NOT_SATISFIABLE, f"The file has {size} bytes, and none of those asked for."
            )
            return error_response(error, request.url.path, {"Content-Range": f"bytes */{size}"})
        length = min(end, size - 1) - start + 1
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return FileContent(
        path,
        start=start,
        length=length,
        status_code=200 if wanted is None else 206,
        headers=headers,
        media_type=media_type,
    )


def made_response(request: Request, make: Callable[[], bytes], *, tag: str, filename: str, media_type: str) -> Response:
    """Return the response to a GET for what is made on demand; nothing is made if the client has it.

    Args:
        request: Its `If-None-Match` is heeded.
        make: Makes it.
        tag: Names all it is made of; the ETag.
        filename: What a browser should save it as.
        media_type: Of what is made.
    """
    common = _cached(f'"{tag}"')
    if _matches(request.headers, common["ETag"]):
        return Response(status_code=304, headers=common)
    headers = {**common, "Content-Disposition": _disposition(filename)}
    return Response(make(), headers=headers, media_type=media_type)


def _cached(etag: str) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": "private, no-cache"}


def _matches(headers: Headers, etag: str) -> bool:
    given = headers.get("if-none-match")
    if given is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in given.split(",")]
    return "*" in tags or etag in tags


def _wanted_range(headers: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte asked for, or None for the whole file."""
    asked = _ONE_RANGE.fullmatch(headers.get("range", "").strip())
    if asked is None or headers.get("if-range", etag) != etag:
        return None
    first, last = asked[1], asked[2]
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
