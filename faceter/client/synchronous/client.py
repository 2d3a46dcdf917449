# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""The client: one service, its resources."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from faceter.client.calls import ApiCall
from faceter.client.configuration import DEFAULT_RETRIES, DEFAULT_TIMEOUT, Configuration
from faceter.client.files import ReceivedFile
from faceter.client.synchronous.analyses import Analyses, RemoteAnalysis
from faceter.client.synchronous.datasets import Datasets, RemoteDataset
from faceter.client.synchronous.evaluations import Evaluations, RemoteEvaluation
from faceter.client.synchronous.explanations import Explanations, RemoteExplanation
from faceter.client.synchronous.jobs import Jobs
from faceter.client.synchronous.models import Models, RemoteModel
from faceter.client.synchronous.quantizations import Quantizations
from faceter.client.synchronous.records import Pages, RemoteRecord
from faceter.client.synchronous.translators import RemoteTranslator, Translators
from faceter.client.synchronous.transport import Transport
from faceter.contracts.references import ResourceReference

R = TypeVar("R", bound=RemoteRecord)

_TYPES: Final[Mapping[str, type[RemoteRecord]]] = {
    type_.collection: type_
    for type_ in (
        RemoteModel,
        RemoteDataset,
        RemoteExplanation,
        RemoteEvaluation,
        RemoteAnalysis,
        RemoteTranslator,
    )
}


class Client:
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
        self.transport = Transport(Configuration.of(url, key, timeout, retries))
        self.pages = Pages(self)
        self.models = Models(self)
        self.quantizations = Quantizations(self)
        self.datasets = Datasets(self)
        self.explanations = Explanations(self)
        self.analyses = Analyses(self)
        self.evaluations = Evaluations(self)
        self.translators = Translators(self)
        self.jobs = Jobs(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Address of the service."""
        return self.transport.configuration.url

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def read(self, type_: type[R], path: str) -> R:
        """Return the record at a path."""
        return self.bound(self.transport.fetch(type_, ApiCall("GET", path)))

    def made(self, type_: type[R], call: ApiCall) -> R:
        """Send a call that makes a record, and return that."""
        return self.bound(self.transport.fetch(type_, call))

    def bound(self, record: R) -> R:
        """Return a record that acts through this client."""
        record._client = self
        return record

    def open(self, reference: ResourceReference) -> Any:
        """Return the record that a reference names."""
        return self.read(_TYPES[reference.resource], f"/v1/{reference.resource}/{reference.id}")

    def receive(self, path: str, name: str, query: Mapping[str, Any] | None = None) -> ReceivedFile:
        """Return the file at a path."""
        response = self.transport.send(ApiCall("GET", path, query=query or {}))
        media_type = response.headers.get("content-type", "application/octet-stream").partition(";")[0]
        return ReceivedFile(response.content, media_type, name)
