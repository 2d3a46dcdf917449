"""`/v2`: the Open Inference Protocol, which clients of other model servers speak."""

import asyncio
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Path, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.dependencies import AppCore, InferenceProtocol
from app.http.inference import RequestPriority, RequestTimeout, run_inference
from app.http.inference_protocol.bodies import INFER_BODY, INFER_RESPONSES, optional_body
from app.http.inference_protocol.errors import documented_failures
from app.http.inference_protocol.messages import InferBody, early_timeout, infer_response, parse_infer
from app.http.parameters import ANYWHERE, ModelId
from app.http.problems import field_problems, invalid_request
from app.http.responses import JSON, json_response
from app.services.core import Core
from app.services.inference_protocol.contracts import (
    VERSION,
    ModelMetadataResponse,
    ModelReadiness,
    ProtocolMessage,
    RepositoryCommand,
    RepositoryEntry,
    RepositoryQuery,
    ServerDescription,
    ServerLiveness,
    ServerReadiness,
)
from app.services.inference_protocol.deadlines import earliest
from app.services.inference_protocol.service import InferenceProtocolService
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.engines.base import Interrupt

router = APIRouter(tags=["open inference protocol"])

M = TypeVar("M", bound=ProtocolMessage)

Version = Annotated[str, Path(description="Version of the model; every model has the one version 1.", examples=["1"])]

_NOT_READY: Final = 400
_MODEL: Final = documented_failures(ProblemKind.NOT_FOUND, *ANYWHERE)
_LOADING: Final = documented_failures(
    ProblemKind.MALFORMED_BODY,
    ProblemKind.INVALID_REQUEST,
    ProblemKind.MODEL_NOT_RUNNABLE,
    ProblemKind.NOT_FOUND,
    ProblemKind.PAYLOAD_TOO_LARGE,
    ProblemKind.OVERLOADED,
    *ANYWHERE,
    ProblemKind.BLOB_MISSING,
)


@router.get("/v2", response_model=ServerDescription, summary="Describe the server")
async def get_server(protocol: InferenceProtocol) -> Response:
    """Get name, version and extensions of the server.

    Addresses under `/v2` follow the [Open Inference Protocol](https://github.com/kserve/open-inference-protocol),
    version 2. `{model_id}` is the id of a model, as `GET /v1/models` lists it. Errors are `{"error": …}`.
    """
    return json_response(protocol.server())


@router.get("/v2/health/live", response_model=ServerLiveness, summary="Check that the server is live")
async def get_liveness() -> Response:
    """Respond immediately, independent of the store and the workers."""
    return json_response(ServerLiveness(live=True))


@router.get(
    "/v2/health/ready",
    response_model=ServerReadiness,
    summary="Check that the server is ready to run models",
    responses={400: {"model": ServerReadiness, "description": "A store does not respond; see `/readyz`."}},
)
async def get_readiness(protocol: InferenceProtocol) -> Response:
    """Check the stores of records and of files. Inference needs no worker, so none is needed here."""
    ready = await run_in_threadpool(protocol.ready)
    return json_response(ServerReadiness(ready=ready), 200 if ready else _NOT_READY)


@router.get(
    "/v2/models/{model_id}",
    response_model=ModelMetadataResponse,
    summary="Describe inputs and outputs",
    responses=_MODEL,
)
async def get_description(model_id: ModelId, protocol: InferenceProtocol) -> Response:
    """Get names, datatypes and shapes of the tensors of a model; −1 is a size that may differ."""
    return json_response(await run_in_threadpool(protocol.description, model_id, VERSION))


@router.get(
    "/v2/models/{model_id}/versions/{version}",
    response_model=ModelMetadataResponse,
    summary="Describe inputs and outputs of a version",
    responses=_MODEL,
)
async def get_version_description(model_id: ModelId, version: Version, protocol: InferenceProtocol) -> Response:
    """Get names, datatypes and shapes of the tensors of a model, as without the version."""
    return json_response(await run_in_threadpool(protocol.description, model_id, version))


@router.get(
    "/v2/models/{model_id}/ready",
    response_model=ModelReadiness,
    summary="Check that a model is ready",
    responses=_MODEL,
)
async def get_model_readiness(model_id: ModelId, protocol: InferenceProtocol) -> Response:
    """Check that there is a model. One that is not in memory is ready too: its first request loads it."""
    return await _model_readiness(protocol, model_id, VERSION)


@router.get(
    "/v2/models/{model_id}/versions/{version}/ready",
    response_model=ModelReadiness,
    summary="Check that a version is ready",
    responses=_MODEL,
)
async def get_version_readiness(model_id: ModelId, version: Version, protocol: InferenceProtocol) -> Response:
    """Check that there is a model, as without the version."""
    return await _model_readiness(protocol, model_id, version)


async def _model_readiness(protocol: InferenceProtocolService, model_id: str, version: str) -> Response:
    model = await run_in_threadpool(protocol.model, model_id, version)
    return json_response(ModelReadiness(name=model.id, ready=True))


@router.post(
    "/v2/models/{model_id}/infer", summary="Run a model on tensors", responses=INFER_RESPONSES, openapi_extra=INFER_BODY
)
async def infer(
    model_id: ModelId,
    request: Request,
    core: AppCore,
    protocol: InferenceProtocol,
    timeout: RequestTimeout = None,
    priority: RequestPriority = None,
) -> Response:
    r"""Run a model on the tensors of its graph: nothing is preprocessed or decoded.

    Requests may be compressed (`Content-Encoding: gzip` or `deflate`), and responses are by `Accept-Encoding`. Inputs
    and outputs in binary form are faster, and the only form of BF16. A request ends with 504 at its deadline: that of
    `X-Request-Timeout`, or of the parameter `timeout` in microseconds, whichever is earlier.

        curl -H 'Content-Type: application/json' \
             -d '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}]}' \
             http://localhost:8000/v2/models/mdl_…/infer
    """
    return await _infer(model_id, VERSION, request, core, protocol, timeout=timeout, priority=priority)


@router.post(
    "/v2/models/{model_id}/versions/{version}/infer",
    summary="Run a version of a model on tensors",
    responses=INFER_RESPONSES,
    openapi_extra=INFER_BODY,
)
async def infer_version(
    model_id: ModelId,
    version: Version,
    request: Request,
    core: AppCore,
    protocol: InferenceProtocol,
    timeout: RequestTimeout = None,
    priority: RequestPriority = None,
) -> Response:
    """Run a model on the tensors of its graph, as without the version."""
    return await _infer(model_id, version, request, core, protocol, timeout=timeout, priority=priority)


async def _infer(
    model_id: str,
    version: str,
    request: Request,
    core: Core,
    protocol: InferenceProtocolService,
    *,
    timeout: float | None,
    priority: str | None,
) -> Response:
    body = await InferBody.read(request)
    loop, early = asyncio.get_running_loop(), early_timeout(body)

    def run(interrupt: Interrupt) -> Response:
        message = parse_infer(body, core.settings.max_predict_bytes)
        if early is None and message.timeout is not None:
            loop.call_soon_threadsafe(core.pool.limit, interrupt, message.timeout)
        outputs = protocol.infer(model_id, version, message.inputs, message.outputs, interrupt)
        return infer_response(model_id, message, outputs, body.accept_encoding)

    size = sum(len(chunk) for chunk in body.chunks)
    deadline = earliest([timeout, early])
    return await run_inference(request, core, run, key=model_id, bytes=size, timeout=deadline, priority=priority)


@router.post(
    "/v2/repository/index",
    response_model=list[RepositoryEntry],
    summary="List models",
    responses=documented_failures(
        ProblemKind.MALFORMED_BODY, ProblemKind.INVALID_REQUEST, ProblemKind.PAYLOAD_TOO_LARGE, *ANYWHERE
    ),
    openapi_extra=optional_body("RepositoryQuery", {"ready": True}),
)
async def get_repository_index(request: Request, protocol: InferenceProtocol) -> Response:
    """List all models, newest first. `GET /v1/models` has their names, in pages."""
    await _read(request, RepositoryQuery)
    entries = await run_in_threadpool(protocol.index)
    return Response(f"[{','.join(entry.model_dump_json() for entry in entries)}]", media_type=JSON)


@router.post(
    "/v2/repository/models/{model_id}/load",
    summary="Load a model into memory",
    responses=_LOADING,
    openapi_extra=optional_body("RepositoryCommand", {}),
)
async def repository_load(
    model_id: ModelId, request: Request, core: AppCore, protocol: InferenceProtocol
) -> dict[str, Any]:
    """Load a model, so that its next request does not wait for that. It may be dropped when others need the memory."""
    command = await _read(request, RepositoryCommand)
    await core.pool.run(lambda interrupt: protocol.load(model_id, command.parameters))
    return {}


@router.post(
    "/v2/repository/models/{model_id}/unload",
    summary="Drop a model from memory",
    responses=_LOADING,
    openapi_extra=optional_body("RepositoryCommand", {"parameters": {"unload_dependents": False}}),
)
async def repository_unload(model_id: ModelId, request: Request, protocol: InferenceProtocol) -> dict[str, Any]:
    """Free the memory of a model. It stays stored, and its next request loads it again."""
    command = await _read(request, RepositoryCommand)
    await run_in_threadpool(protocol.unload, model_id, command.parameters)
    return {}


async def _read(request: Request, message: type[M]) -> M:
    """Return the JSON body of a request; an empty one is an empty object."""
    body = await request.body()
    try:
        return message.model_validate(read_json(body) if body.strip() else {})
    except NotJsonError as error:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body is not JSON: {error}.") from error
    except ValidationError as error:
        raise invalid_request(field_problems(error.errors(include_url=False), "body")) from error
