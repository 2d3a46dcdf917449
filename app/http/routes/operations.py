"""`/healthz`, `/readyz`, `/v1/system`, `/metrics`: health, readiness and monitoring."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.dependencies import AppCore
from app.http.parameters import ANYWHERE
from app.http.problems import documented
from app.http.responses import json_response
from app.services.monitoring.readiness import Readiness
from app.services.monitoring.system import system_state
from faceter.contracts.base import Contract
from faceter.contracts.errors import ProblemKind
from faceter.contracts.system import SystemState

router = APIRouter(tags=["operations"])

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(Contract):
    """Health of the API process."""

    status: Literal["ok"] = Field(default="ok", examples=["ok"])
    """Always `ok`: the process responds."""


@router.get("/healthz", response_model=Health, summary="Check that the process is alive")
async def healthz() -> Response:
    """Respond immediately, independent of the store and the workers. Restart the process if this fails."""
    return json_response(Health())


@router.get(
    "/readyz",
    response_model=Readiness,
    summary="Check that the service is ready",
    responses={
        503: {
            "model": Readiness,
            "description": "A component is not ready; the response says which and why.",
        },
        **documented(ProblemKind.INTERNAL_ERROR),
    },
)
async def readyz(core: AppCore) -> Response:
    """Check the readiness of each component: Redis, the blob store, and at least one worker.

    Requests that need no worker also succeed without one.
    """
    state = await run_in_threadpool(Readiness.of, core.library, core.queue)
    return json_response(state, 200 if state.ready else 503, {} if state.ready else {"Retry-After": "5"})


@router.get(
    "/v1/system",
    response_model=SystemState,
    summary="Get the state of the service",
    responses=documented(*ANYWHERE),
)
def get_system(core: AppCore) -> Response:
    """Get versions, live workers with their devices, the queue, and what is stored."""
    return json_response(system_state(core.library, core.queue, core.settings))


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
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
def metrics(core: AppCore) -> Response:
    """Get Prometheus metrics of this process and of the queue."""
    return Response(core.monitoring.text(), headers={"Content-Type": _METRICS_TYPE})
