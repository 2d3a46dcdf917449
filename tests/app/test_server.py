"""Sockets of the API."""

import asyncio
import socket

from app.server import listening_socket


def test_answers_on_accepted_connections_are_sent_without_delay() -> None:
    """The event loop sets TCP_NODELAY only on sockets whose protocol is named; without it an answer takes 40 ms."""

    async def accepted() -> int:
        options = asyncio.get_running_loop().create_future()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            options.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listening_socket(socket.AF_INET, "127.0.0.1", 0) as listener:
            async with await asyncio.start_server(handle, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                option = await options
                writer.close()
        return int(option)

    assert asyncio.run(accepted())
