"""Predictions without FastAPI's routing, which takes a third of the time of a request beside the model."""

import re
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.problems import faceter_response, http_response
from app.http.routes.predict import answer_prediction, router
from app.services.core import Core
from app.services.predictions.service import PredictOptions
from faceter.contracts.errors import FaceterError

_PATH: Final = re.compile(r"/v1/models/([^/]+)/predict")
_TIMEOUT: Final[TypeAdapter[float]] = TypeAdapter(float)
_DEFAULTS: Final = PredictOptions()


class DirectPredict:
    """ASGI middleware that answers valid requests to predict, and forwards all others.

    What it answers, FastAPI's route would answer with the same function. Requests with invalid parameters are
    forwarded, so that there is one place for their errors.

    Args:
        app: The application.
        core: Store, pool and models.
    """

    def __init__(self, app: ASGIApp, core: Core) -> None:
        self._app = app
        self._core = core

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to predict, or forward the request."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        parameters = _parameters(request)
        if parameters is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = router.routes[0]
        options, timeout, priority = parameters
        try:
            response = await answer_prediction(
                request, self._core, found[1], options, timeout=timeout, priority=priority
            )
        except FaceterError as error:
            response = faceter_response(request, error)
        except HTTPException as error:
            response = http_response(request, error)
        await response(scope, receive, send)


def _parameters(request: Request) -> tuple[PredictOptions, float | None, str | None] | None:
    """Return options, deadline and priority of a request; None if they are not valid."""
    timeout: Any = request.headers.get("x-request-timeout")
    priority = request.headers.get("priority")
    try:
        options = _options(request.query_params) if request.scope["query_string"] else _DEFAULTS
        timeout = None if timeout is None else _TIMEOUT.validate_strings(timeout)
    except ValidationError:
        return None
    in_range = timeout is None or 0 < timeout <= 86400
    return (options, timeout, priority) if in_range and len(priority or "") <= 200 else None


def _options(query: QueryParams) -> PredictOptions:
    if len(query.multi_items()) != len(query):
        raise ValidationError.from_exception_data("PredictOptions", [])
    return PredictOptions.model_validate_strings(dict(query))
