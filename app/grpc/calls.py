"""The calls of `inference.GRPCInferenceService`."""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import structlog
from anyio import to_thread

from app.grpc import open_inference_pb2 as pb
from app.grpc.messages import infer_response, input_tensors, model_metadata, requested_outputs
from app.services.core import Core
from app.services.inference_protocol.service import InferenceProtocolService
from app.services.predictions.pool import Demand
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt

SERVICE: Final = "inference.GRPCInferenceService"
"""Full name of the service."""

_CODES: Final = {
    ProblemKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ProblemKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.PAYLOAD_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ProblemKind.STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
_INVALID: Final = (400, 422)
_CANCELLED_STATUS: Final = 499

_log = structlog.get_logger("app.grpc.calls")


class InferenceCalls:
    """Answers the calls, each with a request id in its trailing metadata and in the log.

    Args:
        core: Services, threads and limits, which HTTP uses too.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._protocol = core.service(InferenceProtocolService)

    def handler(self) -> Any:
        """Return the handler of all calls, for a server of `grpc.aio`."""
        calls: dict[str, tuple[Callable[[Any], Awaitable[Any]], Any]] = {
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

    def _answering(self, path: str, call: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        """Return the handler of a call: errors become statuses, and the call is logged and counted."""

        async def answer(request: Any, context: Any) -> Any:
            started, status, request_id = time.perf_counter(), _CANCELLED_STATUS, uuid.uuid4().hex
            context.set_trailing_metadata((("x-request-id", request_id),))
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                try:
                    response = await call(request)
                    status = 200
                    return response
                except FaceterError as error:
                    status = error.kind.status
                    await _abort(context, error, request_id)
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

        return answer

    async def _server_live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=await to_thread.run_sync(self._protocol.ready))

    async def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        """Return false for an unknown model, as clients expect of this call."""
        try:
            await to_thread.run_sync(self._protocol.model, request.name, request.version)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _server_metadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        server = self._protocol.server()
        return pb.ServerMetadataResponse(name=server.name, version=server.version, extensions=server.extensions)

    async def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        return model_metadata(await to_thread.run_sync(self._protocol.description, request.name, request.version))

    async def _model_infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        def run(interrupt: Interrupt) -> pb.ModelInferResponse:
            inputs, wanted = input_tensors(request), requested_outputs(request)
            outputs = self._protocol.infer(request.model_name, request.model_version, inputs, wanted, interrupt)
            return infer_response(request, outputs)

        return await self._core.pool.run(run, demand=Demand(request.model_name, bytes=request.ByteSize()))

    async def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        entries = await to_thread.run_sync(self._protocol.index)
        return pb.RepositoryIndexResponse(
            models=(pb.RepositoryIndexResponse.ModelIndex(**entry.model_dump()) for entry in entries)
        )

    async def _load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        parameters = _named(request.parameters)
        await self._core.pool.run(lambda interrupt: self._protocol.load(request.model_name, parameters))
        return pb.RepositoryModelLoadResponse()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        await to_thread.run_sync(self._protocol.unload, request.model_name, _named(request.parameters))
        return pb.RepositoryModelUnloadResponse()


def _named(parameters: Mapping[str, pb.ModelRepositoryParameter]) -> dict[str, Any]:
    """Return the names of parameters; the service refuses all that would have an effect, whatever their values."""
    return dict.fromkeys(parameters)


async def _abort(context: Any, error: FaceterError, request_id: str) -> None:
    code = _CODES.get(error.kind)
    if code is None:
        code = grpc.StatusCode.INVALID_ARGUMENT if error.kind.status in _INVALID else grpc.StatusCode.INTERNAL
    trailing = [("x-request-id", request_id)]
    if error.retry_after is not None:
        trailing.append(("retry-after", str(error.retry_after)))
    await context.abort(code, error.detail, tuple(trailing))
