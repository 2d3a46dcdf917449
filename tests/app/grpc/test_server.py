import asyncio
import socket

import pytest

from app.grpc.server import GrpcPortError, serving_grpc
from app.services.core import Core
from faceter.contracts.settings import Settings


def test_a_port_in_use_is_named(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        async def serve() -> None:
            async with serving_grpc(Core.of(settings.model_copy(update={"grpc_port": port}))):
                pass

        with pytest.raises(GrpcPortError, match=rf"Port {port} of 127.0.0.1 .* --grpc-port"):
            asyncio.run(serve())
