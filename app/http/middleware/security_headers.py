"""Headers that keep browsers from misusing responses."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGES: Final = "/docs"
"""Beginning of the paths of pages with scripts that set no policy themselves."""
_PAGE_POLICY: Final = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class SecurityHeaders:
    """ASGI middleware that adds headers to every response that does not set them itself.

    Args:
        app: The application.
        shared: Whether pages of other origins may read responses.
    """

    def __init__(self, app: ASGIApp, shared: bool) -> None:
        self._app = app
        self._headers = [item for item in _HEADERS if not (shared and item[0] == b"cross-origin-resource-policy")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request and add the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        page = scope["path"].startswith(_PAGES)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                given = {name.lower() for name, _ in headers}
                for name, value in self._headers:
                    if name not in given:
                        headers.append((name, _PAGE_POLICY if page and name == b"content-security-policy" else value))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)
