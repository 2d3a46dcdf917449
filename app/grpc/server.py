"""The gRPC server, on the event loop of the HTTP server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import grpc
import structlog

from app.grpc.calls import InferenceCalls
from app.services.core import Core

_GRACE_SECONDS: Final = 5.0

_log = structlog.get_logger("app.grpc.server")


class GrpcPortError(Exception):
    """The port cannot be listened on."""


@asynccontextmanager
async def serving_grpc(core: Core) -> AsyncIterator[int]:
    """Serve the Open Inference Protocol over gRPC during the block; yields the port.

    Args:
        core: Its settings have `grpc_port`, where 0 selects a free one; `max_predict_bytes` limits a message.

    Raises:
        GrpcPortError: If the port is in use.
    """
    settings = core.settings
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.max_predict_bytes),
            ("grpc.max_send_message_length", -1),
            # Shared by the processes of one API only: a second server would take half of the requests.
            ("grpc.so_reuseport", int(settings.api_processes > 1)),
        )
    )
    server.add_generic_rpc_handlers((InferenceCalls(core).handler(),))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port: int = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise GrpcPortError(
            f"Port {settings.grpc_port} of {settings.host} cannot be used for gRPC; is it in use? "
            "Set another one with --grpc-port or FACETER_GRPC_PORT."
        ) from error
    await server.start()
    _log.info("serving gRPC", address=f"{host}:{port}")
    try:
        yield port
    finally:
        await server.stop(_GRACE_SECONDS)
