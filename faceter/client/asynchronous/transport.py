"""Sending of calls, with retries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import TypeAdapter

from faceter.client.asynchronous.runtime import sleep
from faceter.client.calls import ApiCall, failure, parsed, pause_before_retry
from faceter.client.configuration import LIMITS, Configuration
from faceter.client.errors import FaceterApiError
from faceter.client.files import replacing

T = TypeVar("T")


class AsyncTransport:
    """Connections to one service; may be used by several tasks or threads at once."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._http = httpx.AsyncClient(
            base_url=configuration.url,
            headers=configuration.headers,
            timeout=configuration.timeout,
            limits=LIMITS,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def send(self, call: ApiCall) -> httpx.Response:
        """Return the answer to a call, read as a whole.

        Raises:
            FaceterApiError: If it is no success, also after the retries.
        """
        headers = call.all_headers()
        failures = 0
        while True:
            failures += 1
            try:
                with call.opened() as arguments:
                    response = await self._http.request(call.method, call.path, headers=headers, **arguments)
                if response.is_success:
                    return response
                raise failure(response)
            except (httpx.RequestError, FaceterApiError) as error:
                pause = pause_before_retry(self.configuration, call, failures, error)
            await sleep(pause)

    async def fetch(self, type_: type[T] | TypeAdapter[T], call: ApiCall) -> T:
        """Return the answer to a call as a contract.

        Raises:
            FaceterApiError: If it is none.
        """
        return parsed(type_, await self.send(call))

    @asynccontextmanager
    async def stream(self, call: ApiCall, timeout: httpx.Timeout | None = None) -> AsyncIterator[httpx.Response]:
        """Send a call once and yield its answer, whose content is to be read in the block.

        Raises:
            FaceterApiError: If it is no success.
            httpx.RequestError: If the connection fails, also in the block.
        """
        with call.opened() as arguments:
            request = self._http.build_request(
                call.method,
                call.path,
                headers=call.all_headers(),
                timeout=timeout or self.configuration.timeout,
                **arguments,
            )
            response = await self._http.send(request, stream=True)
        try:
            if not response.is_success:
                await response.aread()
                raise failure(response)
            yield response
        finally:
            await response.aclose()

    async def download(self, call: ApiCall, path: Path) -> Path:
        """Write the answer to a call to a file, which appears when it is complete, and return its path."""
        failures = 0
        while True:
            failures += 1
            try:
                async with self.stream(call) as response:
                    await self._save(response, path)
                return path
            except (httpx.RequestError, FaceterApiError) as error:
                pause = pause_before_retry(self.configuration, call, failures, error)
            await sleep(pause)

    async def _save(self, response: httpx.Response, path: Path) -> None:
        with replacing(path) as file:
            async for chunk in response.aiter_bytes():
                file.write(chunk)
