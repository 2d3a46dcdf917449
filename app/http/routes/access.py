"""`/v1/session`: the API key of a browser. `/v1/audit`: the audit log."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.dependencies import AppCore
from app.http.middleware.authentication import COOKIE
from app.http.parameters import ANYWHERE, UPLOADING
from app.http.problems import documented
from app.http.responses import json_response
from faceter.contracts.api_keys import AuditEntry
from faceter.contracts.base import Contract
from faceter.contracts.errors import ProblemKind
from faceter.store import audit_log
from faceter.store.tenants import current_tenant

router = APIRouter(tags=["operations"])


class SessionRequest(Contract):
    """An API key to keep in a browser."""

    key: str = Field(min_length=1, max_length=200, examples=["fct_4x8k2m9q0v7r3t6w1y5z_…"])
    """The API key."""


class AuditEntries(Contract):
    """Entries of the audit log."""

    items: list[AuditEntry]
    """The newest first."""


@router.post(
    "/v1/session",
    status_code=204,
    response_description="The key is valid, and kept in a cookie until the browser is closed.",
    summary="Sign in with a browser",
    responses=documented(ProblemKind.UNAUTHENTICATED, *UPLOADING, ProblemKind.PAYLOAD_TOO_LARGE, *ANYWHERE),
)
async def create_session(request: Request, body: SessionRequest, core: AppCore) -> Response:
    """Keep an API key in a cookie that scripts cannot read and other sites cannot send, as the console does.

    Programs send the key as `Authorization: Bearer` instead. Where the service needs no keys, nothing is kept.
    """
    response = Response(status_code=204)
    if core.access.required:
        await run_in_threadpool(core.access.key, body.key)
        response.set_cookie(COOKIE, body.key, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


@router.delete(
    "/v1/session",
    status_code=204,
    response_description="The cookie is deleted.",
    summary="Sign out with a browser",
    responses=documented(ProblemKind.INTERNAL_ERROR),
)
async def delete_session() -> Response:
    """Delete the cookie of `POST /v1/session`."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.get(
    "/v1/audit",
    response_model=AuditEntries,
    summary="Read the audit log",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def get_audit_log(
    core: AppCore,
    limit: Annotated[int, Query(ge=1, le=1000, description="Maximum number of entries.")] = 100,
) -> Response:
    """Get the newest requests that changed something of the tenant, or were to. With keys it needs the scope `admin`.

    The log keeps the last 100,000 entries of all tenants.
    """
    entries = audit_log.newest(core.library.redis, limit, current_tenant())
    return json_response(AuditEntries(items=entries))
