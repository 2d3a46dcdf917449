# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""What all resources have in common: get, list, delete, download."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import PrivateAttr

from faceter.client.calls import ApiCall, Id, fields_of, id_of, parsed
from faceter.client.files import ReceivedFile
from faceter.contracts.base import Contract, Page, StoredRecord
from faceter.contracts.references import ResourceName

if TYPE_CHECKING:
    from faceter.client.synchronous.client import Client

T = TypeVar("T", bound=Contract)


class RemoteRecord(StoredRecord):
    """A record of the service, as it was when it was read, with what can be done with it."""

    collection: ClassVar[ResourceName]
    """Its collection."""

    _client: Any = PrivateAttr(default=None)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def client(self) -> "Client":
        """The client that read it."""
        return cast("Client", self._client)

    @property
    def path(self) -> str:
        """Path of its address."""
        return f"/v1/{self.collection}/{self.id}"

    def refresh(self) -> Self:
        """Return the record as it is now."""
        return self.client.read(type(self), self.path)

    def delete(self) -> None:
        """Delete it from the service."""
        self.client.transport.send(ApiCall("DELETE", self.path, repeatable=False))

    def download(self, path: str | Path) -> Path:
        """Write its own file to a path, which must not be a folder, and return the path."""
        return self.client.transport.download(ApiCall("GET", f"{self.path}/content"), Path(path))

    def file(self, name: str) -> ReceivedFile:
        """Return one of its further files, a key of `files`; an image shows itself in a notebook."""
        return self.client.receive(f"{self.path}/files/{quote(name, safe='')}", name)


R = TypeVar("R", bound=RemoteRecord)


class RecordCollection(Generic[R]):
    """A collection of records."""

    record_type: type[R]
    """Type of its records."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._path = f"/v1/{self.record_type.collection}"

    def get(self, id: Id) -> R:
        """Return the record of an id, or of a summary.

        Raises:
            NotFound: If there is none.
        """
        return self._client.read(self.record_type, self._one(id))

    def delete(self, id: Id) -> None:
        """Delete a record."""
        self._client.transport.send(ApiCall("DELETE", self._one(id), repeatable=False))

    def download(self, id: Id, path: str | Path) -> Path:
        """Write the file of a record to a path, which must not be a folder, and return the path."""
        return self._client.transport.download(ApiCall("GET", f"{self._one(id)}/content"), Path(path))

    def _one(self, id: Id) -> str:
        return f"{self._path}/{quote(id_of(id), safe='')}"


class Pages:
    """Reads the pages of lists."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def items(self, type_: type[T], path: str, filters: Mapping[str, Any], page_size: int) -> Iterator[T]:
        """Yield the items of a list; a page is read when its first item is asked for."""
        query = {**fields_of(filters), "limit": page_size}
        while True:
            page = parsed(Page[type_], self._send(path, query))  # type: ignore[valid-type]
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def _send(self, path: str, query: Mapping[str, Any]) -> httpx.Response:
        return self._client.transport.send(ApiCall("GET", path, query=query))
