"""The calls of `inference.GRPCInferenceService`."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import structlog
from anyio import to_thread
from structlog.contextvars import bind_contextvars, reset_contextvars

from app.grpc import open_inference_pb2 as pb
from app.grpc.messages import infer_response, input_tensors, model_metadata, requested_outputs, timeout
from app.services.access.access import bearer_token
from app.services.core import Core
from app.services.inference_protocol.deadlines import earliest
from app.services.inference_protocol.service import InferenceProtocolService
from app.services.predictions.pool import DEADLINE_TOLERANCE_SECONDS, Demand
from faceter.contracts.api_keys import Scope
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt
from faceter.store.tenants import DEFAULT_TENANT, acting_for
from faceter.tracing.spans import Span, SpanKind, enter, leave
from faceter.tracing.trace_context import PARENT_HEADER, STATE_HEADER, TraceContext

SERVICE: Final = "inference.GRPCInferenceService"
"""Full name of the service."""

_CODES: Final = {
    ProblemKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ProblemKind.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.PAYLOAD_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ProblemKind.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ProblemKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ProblemKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ProblemKind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_INVALID: Final = (400, 422)
_OPEN_CALLS: Final = ("ServerLive", "ServerReady")
_CHANGING_CALLS: Final = ("RepositoryModelLoad", "RepositoryModelUnload")
_CANCELLED_STATUS: Final = 499
_LATE_STATUS: Final = 504
_ENDINGS: Final = {
    200: grpc.StatusCode.OK,
    _CANCELLED_STATUS: grpc.StatusCode.CANCELLED,
    _LATE_STATUS: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""How calls end that were not aborted."""
_SERVER_ERRORS: Final = (
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
)
"""Errors of a span that are not its client's."""

_log = structlog.get_logger("app.grpc.calls")


class InferenceCalls:
    """Answers the calls, each with a request id and its span in its trailing metadata and in the log.

    Args:
        core: Services, threads and limits, which HTTP uses too.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._protocol = core.service(InferenceProtocolService)

    def handler(self) -> Any:
        """Return the handler of all calls, for a server of `grpc.aio`."""
        calls: dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], Any]] = {
            "ServerLive": (self._server_live, pb.ServerLiveRequest),
            "ServerReady": (self._server_ready, pb.ServerReadyRequest),
            "ModelReady": (self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": (self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": (self._model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": (self._model_infer, pb.ModelInferRequest),
            "RepositoryIndex": (self._repository_index, pb.RepositoryIndexRequest),
            "RepositoryModelLoad": (self._load, pb.RepositoryModelLoadRequest),
            "RepositoryModelUnload": (self._unload, pb.RepositoryModelUnloadRequest),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._answering(f"/{SERVICE}/{name}", call),
                    request_deserializer=request.FromString,
                    response_serializer=lambda response: response.SerializeToString(),
                )
                for name, (call, request) in calls.items()
            },
        )

    def _answering(self, path: str, call: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return the handler of a call: errors become statuses, and the call is logged, counted and traced."""

        async def answer(request: Any, context: Any) -> Any:
            started, status, request_id = time.perf_counter(), _CANCELLED_STATUS, uuid.uuid4().hex
            span = self._core.tracer.begin(path.removeprefix("/"), _caller(context), SpanKind.SERVER)
            ids = (("x-request-id", request_id), (PARENT_HEADER, span.context.parent_header))
            context.set_trailing_metadata(ids)
            token = enter(span)
            bound = bind_contextvars(
                request_id=request_id, trace_id=span.context.trace_id, span_id=span.context.span_id
            )
            try:
                with acting_for(await self._tenant(path, context)):
                    response = await call(request, context)
                status = 200
                return response
            except asyncio.CancelledError:
                remaining = context.time_remaining()
                late = remaining is not None and remaining < DEADLINE_TOLERANCE_SECONDS
                status = _LATE_STATUS if late else _CANCELLED_STATUS
                raise
            except FaceterError as error:
                status = error.kind.status
                await _abort(context, error, ids)
            except Exception:
                status = 500
                _log.exception("request failed", path=path)
                await context.abort(
                    grpc.StatusCode.INTERNAL,
                    "This is an error of the server, not of your request. It was logged with the x-request-id of "
                    "the trailing metadata; report that id to the operator.",
                )
            finally:
                seconds = time.perf_counter() - started
                self._core.monitoring.observe_request("POST", path, status, seconds)
                _log.info("request", method="gRPC", path=path, status=status, milliseconds=round(seconds * 1000, 2))
                leave(token)
                reset_contextvars(**bound)
                if span.recording:
                    _end_span(span, path, context, request_id, status)

        return answer

    async def _tenant(self, path: str, context: Any) -> str:
        """Return the tenant that a call acts for.

        Raises:
            FaceterError: `UNAUTHENTICATED`, `FORBIDDEN`, `RATE_LIMITED`, `STORE_UNAVAILABLE`.
        """
        access, name = self._core.access, path.rpartition("/")[2]
        if not access.required or name in _OPEN_CALLS:
            return DEFAULT_TENANT
        sent = dict(context.invocation_metadata() or ())
        key = await access.identify(bearer_token(str(sent.get("authorization", ""))))
        await access.permit(key, Scope.WRITE if name in _CHANGING_CALLS else Scope.PREDICT)
        return key.tenant

    async def _server_live(self, request: pb.ServerLiveRequest, context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest, context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=await to_thread.run_sync(self._protocol.ready))

    async def _model_ready(self, request: pb.ModelReadyRequest, context: Any) -> pb.ModelReadyResponse:
        """Return false for an unknown model, as clients expect of this call."""
        try:
            await to_thread.run_sync(self._protocol.model, request.name, request.version)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _server_metadata(self, request: pb.ServerMetadataRequest, context: Any) -> pb.ServerMetadataResponse:
        server = self._protocol.server()
        return pb.ServerMetadataResponse(name=server.name, version=server.version, extensions=server.extensions)

    async def _model_metadata(self, request: pb.ModelMetadataRequest, context: Any) -> pb.ModelMetadataResponse:
        return model_metadata(await to_thread.run_sync(self._protocol.description, request.name, request.version))

    async def _model_infer(self, request: pb.ModelInferRequest, context: Any) -> pb.ModelInferResponse:
        def run(interrupt: Interrupt) -> pb.ModelInferResponse:
            inputs, wanted = input_tensors(request), requested_outputs(request)
            outputs = self._protocol.infer(request.model_name, request.model_version, inputs, wanted, interrupt)
            return infer_response(request, outputs)

        deadline = earliest([context.time_remaining(), timeout(request)])
        demand = Demand(request.model_name, bytes=request.ByteSize(), deadline=deadline)
        return await self._core.pool.run(run, demand=demand)

    async def _repository_index(self, request: pb.RepositoryIndexRequest, context: Any) -> pb.RepositoryIndexResponse:
        entries = await to_thread.run_sync(self._protocol.index)
        return pb.RepositoryIndexResponse(
            models=(pb.RepositoryIndexResponse.ModelIndex(**entry.model_dump()) for entry in entries)
        )

    async def _load(self, request: pb.RepositoryModelLoadRequest, context: Any) -> pb.RepositoryModelLoadResponse:
        parameters = _named(request.parameters)
        await self._core.pool.run(lambda interrupt: self._protocol.load(request.model_name, parameters))
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, context: Any) -> pb.RepositoryModelUnloadResponse:
        await to_thread.run_sync(self._protocol.unload, request.model_name, _named(request.parameters))
        return pb.RepositoryModelUnloadResponse()


def _named(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> dict[str, Any]:
    """Return the names of parameters; the service refuses all that would have an effect, whatever their values."""
    return dict.fromkeys(parameters)


def _caller(context: Any) -> TraceContext | None:
    """Return the span that caused a call, by the metadata of the same names as the headers of HTTP."""
    parents, states = [], []
    for key, value in context.invocation_metadata() or ():
        if key == PARENT_HEADER:
            parents.append(value)
        elif key == STATE_HEADER:
            states.append(value)
    return TraceContext.of_headers(parents, states)


def _end_span(span: Span, path: str, context: Any, request_id: str, status: int) -> None:
    """Export the span of a call, by the semantic conventions of OpenTelemetry for gRPC."""
    code = context.code() or _ENDINGS.get(status, grpc.StatusCode.UNKNOWN)
    method = path.removeprefix("/")
    attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": code.name,
        "faceter.request.id": request_id,
    }
    span.end(method, attributes=attributes, error=code.name if code in _SERVER_ERRORS else None)


async def _abort(context: Any, error: FaceterError, ids: tuple[tuple[str, str], ...]) -> None:
    code = _CODES.get(error.kind)
    if code is None:
        code = grpc.StatusCode.INVALID_ARGUMENT if error.kind.status in _INVALID else grpc.StatusCode.INTERNAL
    retry = () if error.retry_after is None else (("retry-after", str(error.retry_after)),)
    await context.abort(code, error.detail, (*ids, *retry))
