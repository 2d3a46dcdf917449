"""API keys: who sends a request, what it may do, and for which tenant it acts; the audit log of changes."""

import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, get_contextvars

from app.http.problems import error_response
from app.services.access.access import Access, bearer_token
from faceter.contracts import api_keys
from faceter.contracts.api_keys import ApiKey, AuditEntry
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.tenants import DEFAULT_TENANT, acting_for

COOKIE: Final = "faceter_key"
"""Name of the cookie in which a browser keeps the key."""

MOST_BODY_BYTES: Final = "faceter.max_body_bytes"
"""Key of the ASGI scope: the maximum body that the API key allows."""

_OPEN: Final = re.compile(
    r"/|/healthz|/readyz|/console/.*|/docs(/.*)?|/openapi\.json|/problems(/.*)?|/v2/health/.*|/v1/session|/favicon\.ico"
)
_PREDICTING: Final = re.compile(
    r"/v1/models/[^/]+/predict|/v1/translators/[^/]+/translate|/v2/models/[^/]+(?:/versions/[^/]+)?/infer"
)
_PROTOCOL: Final = re.compile(r"/v2(/.*)?")
_AUDIT_LOG: Final = "/v1/audit"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_SAME_SITES: Final = ("same-origin", "none")


class KeyCheck:
    """ASGI middleware that checks the API key of a request and sets its tenant.

    The key is sent as `Authorization: Bearer`, or by browsers in a cookie that `POST /v1/session` sets. Changes that a
    page of another site requests are refused, and those of others are written to the audit log.

    Args:
        app: The application.
        access: Checks keys.
        origins: Origins of other sites whose pages may use the API.
    """

    def __init__(self, app: ASGIApp, access: Access, origins: list[str]) -> None:
        self._app = app
        self._access = access
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request for its tenant, or refuse it."""
        if scope["type"] != "http" or (needed := needed_scope(scope["method"], scope["path"])) is None:
            await self._app(scope, receive, send)
            return
        changes = scope["method"] not in _SAFE and needed is not api_keys.Scope.PREDICT
        audited = _Audited(self._access, scope, send, pending=changes)
        try:
            await self._forward(scope, receive, audited, needed)
        finally:
            await audited.record()

    async def _forward(self, scope: Scope, receive: Receive, audited: "_Audited", needed: api_keys.Scope) -> None:
        try:
            audited.key = key = await self._identified(scope)
            await self._check(scope, needed, key)
        except FaceterError as error:
            headers = {"WWW-Authenticate": "Bearer"} if error.kind is ProblemKind.UNAUTHENTICATED else {}
            await error_response(error, scope["path"], headers)(scope, receive, audited.send)
            return
        tenant = DEFAULT_TENANT if key is None else key.tenant
        if key is not None and key.max_body_bytes is not None:
            scope[MOST_BODY_BYTES] = key.max_body_bytes
        with acting_for(tenant), bound_contextvars(tenant=tenant):
            await self._app(scope, receive, audited.send)

    async def _identified(self, scope: Scope) -> ApiKey | None:
        """Return the key of a request; None where none is needed.

        Raises:
            FaceterError: `UNAUTHENTICATED`, `STORE_UNAVAILABLE`.
        """
        if not self._access.required:
            return None
        return await self._access.identify(_token(Headers(scope=scope)))

    async def _check(self, scope: Scope, needed: api_keys.Scope, key: ApiKey | None) -> None:
        """Check that a request is allowed.

        Raises:
            FaceterError: `FORBIDDEN`, `RATE_LIMITED`, `QUOTA_EXCEEDED`, `STORE_UNAVAILABLE`.
        """
        headers = Headers(scope=scope)
        if scope["method"] not in _SAFE:
            self._check_site(headers)
        if key is not None:
            await self._access.permit(key, needed)
        if scope["method"] == "POST" and needed is api_keys.Scope.WRITE:
            length = headers.get("content-length", "")
            tenant = DEFAULT_TENANT if key is None else key.tenant
            await run_in_threadpool(self._access.check_room, tenant, int(length) if length.isdecimal() else 0)

    def _check_site(self, headers: Headers) -> None:
        """Refuse a change that the page of another site requests, with what the browser knows of the user.

        Raises:
            FaceterError: `FORBIDDEN`.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._origins:
            return
        other = site not in _SAME_SITES if site is not None else origin is not None and not _same(origin, headers)
        if other:
            raise FaceterError(
                ProblemKind.FORBIDDEN,
                "The page of another site sent this request. The operator can allow the site's origin with "
                "FACETER_CORS_ORIGINS.",
            )


@dataclass
class _Audited:
    """The response to a request, as the audit log records it before the client has it."""

    access: Access
    scope: Scope
    forward: Send
    pending: bool
    """Whether the request is to be recorded and has not been yet."""
    key: ApiKey | None = None
    status: int = 500
    location: str | None = None

    async def send(self, message: Message) -> None:
        """Forward a message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.location = Headers(raw=message.get("headers", [])).get("location")
            await self.record()
        await self.forward(message)

    async def record(self) -> None:
        """Write the entry, unless that was done or is not to be."""
        if not self.pending:
            return
        self.pending = False
        client = self.scope.get("client")
        await run_in_threadpool(
            self.access.record,
            AuditEntry(
                at=utc_now(),
                tenant=DEFAULT_TENANT if self.key is None else self.key.tenant,
                key_id=None if self.key is None else self.key.id,
                key_name=None if self.key is None else self.key.name,
                action=f"{self.scope['method']} {self.scope['path'][:500]}",
                status=self.status,
                location=self.location,
                request_id=str(get_contextvars().get("request_id", "")),
                client=client[0] if client else "",
            ),
        )


def needed_scope(method: str, path: str) -> api_keys.Scope | None:
    """Return the scope that a request needs; None for addresses that are open to all."""
    if _OPEN.fullmatch(path) or method == "OPTIONS":
        return None
    if _PREDICTING.fullmatch(path) or (_PROTOCOL.fullmatch(path) and method in _SAFE):
        return api_keys.Scope.PREDICT
    if path == _AUDIT_LOG:
        return api_keys.Scope.ADMIN
    return api_keys.Scope.READ if method in _SAFE else api_keys.Scope.WRITE


def _token(headers: Headers) -> str | None:
    """Return the key that a request carries."""
    if token := bearer_token(headers.get("authorization", "")):
        return token
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if cookie is None else cookie.value


def _same(origin: str, headers: Headers) -> bool:
    return urlsplit(origin).netloc == headers.get("host")
