"""`/healthz`, `/readyz`, `/metrics`: for those who keep the service running."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from app.http.parameters import answer
from app.http.problems import documented
from app.services.container import Parts
from app.services.monitoring.readiness import Readiness
from faceter.contracts.base import Contract
from faceter.contracts.errors import ProblemKind

router = APIRouter(tags=["operations"])

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(Contract):
    """Sign of life."""

    status: Literal["ok"] = Field(default="ok", examples=["ok"])
    """Always `ok`: the process answers."""


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """Send whoever comes to the front door to the documentation."""
    return RedirectResponse("/docs")


@router.get("/healthz", response_model=Health, summary="Is the process alive?")
async def healthz() -> Response:
    """Answer at once, whatever the state of everything else. Restart the process if this does not answer."""
    return answer(Health())


@router.get(
    "/readyz",
    response_model=Readiness,
    summary="Is the service ready for work?",
    responses={
        503: {"model": Readiness, "description": "At least one part is not ready; the answer says which and why."},
        **documented(ProblemKind.INTERNAL_ERROR),
    },
)
async def readyz(parts: Parts) -> Response:
    """Say of each part whether it is ready: Redis, the blob store, and at least one worker.

    Requests that need no worker are answered even while there is none.
    """
    state = await run_in_threadpool(Readiness.of, parts.library, parts.queue)
    return answer(state, 200 if state.ready else 503, {} if state.ready else {"Retry-After": "5"})


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Requests, queue depth and age, job durations, workers, session cache.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "faceter_queue_depth 0.0\nfaceter_workers 1.0\n",
                }
            },
        },
        **documented(ProblemKind.INTERNAL_ERROR),
    },
)
def metrics(parts: Parts) -> Response:
    """Tell Prometheus how this process and the queue stand."""
    return Response(parts.metrics.text(), headers={"Content-Type": _METRICS_TYPE})
