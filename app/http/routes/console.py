"""`/`: the console, static files of the package; all it does, it does by the public API."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from starlette.responses import RedirectResponse, Response

from app.http.negotiation import prefers
from app.http.responses import JSON
from faceter.contracts.errors import FaceterError, ProblemKind

router = APIRouter(include_in_schema=False)

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


@router.get("/")
def root(request: Request, accept: Annotated[str, Header()] = "") -> Response:
    """Return the console to browsers; redirect others to the documentation."""
    if not prefers(accept, "text/html", JSON):
        return RedirectResponse("/docs", headers={"Vary": "Accept"})
    response = _file_response(request, "index.html")
    response.headers["Vary"] = "Accept"
    return response


@router.get("/console/{path:path}")
def console_file(request: Request, path: str) -> Response:
    """Return a file of the console."""
    if path not in _served():
        raise FaceterError(ProblemKind.NOT_FOUND, f"The console has no file {path[:100]!r}. The console is at /.")
    return _file_response(request, path)


def _file_response(request: Request, path: str) -> Response:
    content, etag = _served()[path]
    headers = {**_HEADERS, "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[path.rpartition(".")[2]])


@cache
def _served() -> dict[str, tuple[bytes, str]]:
    """Return content and ETag of every file of the console that browsers load, by its path."""
    return {
        path: (content, f'"{sha256(content).hexdigest()}"')
        for path, file in _walk(files("app") / "console", "")
        if path.rpartition(".")[2] in _TYPES
        for content in [file.read_bytes()]
    }


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        found += _walk(entry, f"{path}/") if entry.is_dir() else [(path, entry)]
    return found
