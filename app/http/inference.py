"""Running a request's inference in the pool: its deadline, its priority, and the end of its connection."""

import re
from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import Header, Request
from starlette.requests import ClientDisconnect

from app.services.core import Core
from app.services.predictions.pool import URGENCY, ClientLeftError, Demand
from faceter.engines.base import Interrupt

T = TypeVar("T")

BATCH_URGENCY: Final = 5
"""Urgency of requests with several samples, which are less likely to have someone waiting for each."""
_URGENCY: Final = re.compile(r"(?:^|[,;\s])u=([0-7])(?![\d.])")


RequestTimeout = Annotated[
    float | None,
    Header(
        alias="X-Request-Timeout",
        gt=0,
        le=86400,
        description="Seconds after which the answer is of no use: the request then ends with 504, also while it waits.",
        examples=[2.5],
    ),
]
RequestPriority = Annotated[
    str | None,
    Header(
        alias="Priority",
        max_length=200,
        description="Priority as in RFC 9218: `u=0` is the most urgent, `u=7` the least. By default `u=3`, and `u=5` "
        "for requests with several images.",
        examples=["u=1"],
    ),
]


async def run_inference(
    request: Request,
    core: Core,
    function: Callable[[Interrupt], T],
    *,
    key: str,
    bytes: int,
    samples: int = 1,
    seconds: float | None = None,
    timeout: float | None = None,
    priority: str | None = None,
) -> T:
    """Run ``function`` in the pool for a request whose body was read.

    Args:
        request: If its client leaves, the work is dropped.
        core: Its pool.
        function: See `InferencePool.run`.
        key: The model, whose requests share a queue.
        bytes: Size of the body.
        samples: Number of images.
        seconds: Time limit from the start of the run; that of the pool by default.
        timeout: Seconds after which the answer is of no use.
        priority: Value of the header of RFC 9218; what it does not define is ignored.

    Raises:
        FaceterError: See `InferencePool.run`.
        ClientDisconnect: If the client left.
    """
    found = _URGENCY.search(priority or "")
    urgency = int(found[1]) if found else (URGENCY if samples == 1 else BATCH_URGENCY)
    demand = Demand(key, urgency, bytes, timeout, lambda: _left(request))
    try:
        return await core.pool.run(function, seconds, demand)
    except ClientLeftError as error:
        raise ClientDisconnect from error


async def _left(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
