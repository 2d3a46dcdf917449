"""HEAD requests, handled as GET without a body."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware that handles HEAD as GET and sends only the headers.

    The scope then has `head` set, so that routes can skip generating the body. A streaming response, such as a job's
    events, is ended after its headers.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, HEAD as GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        get_scope = {**scope, "method": "GET", "head": True}
        ended = anyio.Event()

        async def receive_disconnect() -> Message:
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send_headers(message: Message) -> None:
            if ended.is_set():
                return
            await send(
                message if message["type"] == "http.response.start" else {**message, "body": b"", "more_body": False}
            )
            if message["type"] == "http.response.body":
                ended.set()

        try:
            await self._app(get_scope, receive_disconnect, send_headers)
        finally:
            scope["route"] = get_scope.get("route")
