"""The client: one service, its resources."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from faceter.client.asynchronous.analyses import AsyncAnalyses, AsyncRemoteAnalysis
from faceter.client.asynchronous.datasets import AsyncDatasets, AsyncRemoteDataset
from faceter.client.asynchronous.evaluations import AsyncEvaluations, AsyncRemoteEvaluation
from faceter.client.asynchronous.explanations import AsyncExplanations, AsyncRemoteExplanation
from faceter.client.asynchronous.jobs import AsyncJobs
from faceter.client.asynchronous.models import AsyncModels, AsyncRemoteModel
from faceter.client.asynchronous.quantizations import AsyncQuantizations
from faceter.client.asynchronous.records import AsyncPages, AsyncRemoteRecord
from faceter.client.asynchronous.translators import AsyncRemoteTranslator, AsyncTranslators
from faceter.client.asynchronous.transport import AsyncTransport
from faceter.client.calls import ApiCall
from faceter.client.configuration import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Configuration
from faceter.client.files import ReceivedFile
from faceter.contracts.references import ResourceReference

R = TypeVar("R", bound=AsyncRemoteRecord)

_TYPES: Final[Mapping[str, type[AsyncRemoteRecord]]] = {
    type_.collection: type_
    for type_ in (
        AsyncRemoteModel,
        AsyncRemoteDataset,
        AsyncRemoteExplanation,
        AsyncRemoteEvaluation,
        AsyncRemoteAnalysis,
        AsyncRemoteTranslator,
    )
}


class AsyncClient:
    """A client of one Faceter service.

    Its connections are kept until `close`, or to the end of the block if it is used as a context manager.

    Args:
        url: Address of the service; by default the variable FACETER_URL, else http://127.0.0.1:8000.
        key: Key, sent as `Authorization: Bearer`; by default the variable FACETER_API_KEY, else none.
        timeout: Seconds to wait for the next byte of an answer.
        retries: How often a call is sent again after a failed connection, or where the service is busy.

    Raises:
        ValueError: If the address is none of HTTP.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self.transport = AsyncTransport(Configuration.of(url, key, timeout, retries))
        self.pages = AsyncPages(self)
        self.models = AsyncModels(self)
        self.quantizations = AsyncQuantizations(self)
        self.datasets = AsyncDatasets(self)
        self.explanations = AsyncExplanations(self)
        self.analyses = AsyncAnalyses(self)
        self.evaluations = AsyncEvaluations(self)
        self.translators = AsyncTranslators(self)
        self.jobs = AsyncJobs(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Address of the service."""
        return self.transport.configuration.url

    async def close(self) -> None:
        """Close all connections."""
        await self.transport.close()

    async def read(self, type_: type[R], path: str) -> R:
        """Return the record at a path."""
        return self.bound(await self.transport.fetch(type_, ApiCall("GET", path)))

    async def made(self, type_: type[R], call: ApiCall) -> R:
        """Send a call that makes a record, and return that."""
        return self.bound(await self.transport.fetch(type_, call))

    def bound(self, record: R) -> R:
        """Return a record that acts through this client."""
        record._client = self
        return record

    async def open(self, reference: ResourceReference) -> Any:
        """Return the record that a reference names."""
        return await self.read(_TYPES[reference.resource], f"/v1/{reference.resource}/{reference.id}")

    async def receive(self, path: str, name: str, query: Mapping[str, Any] | None = None) -> ReceivedFile:
        """Return the file at a path."""
        response = await self.transport.send(ApiCall("GET", path, query=query or {}))
        media_type = response.headers.get("content-type", "application/octet-stream").partition(";")[0]
        return ReceivedFile(response.content, media_type, name)
