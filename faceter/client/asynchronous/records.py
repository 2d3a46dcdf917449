"""What all resources have in common: get, list, delete, download."""

from collections.abc import AsyncIterator, Mapping
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
    from faceter.client.asynchronous.client import AsyncClient

T = TypeVar("T", bound=Contract)


class AsyncRemoteRecord(StoredRecord):
    """A record of the service, as it was when it was read, with what can be done with it."""

    collection: ClassVar[ResourceName]
    """Its collection."""

    _client: Any = PrivateAttr(default=None)

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @property
    def client(self) -> "AsyncClient":
        """The client that read it."""
        return cast("AsyncClient", self._client)

    @property
    def path(self) -> str:
        """Path of its address."""
        return f"/v1/{self.collection}/{self.id}"

    async def refresh(self) -> Self:
        """Return the record as it is now."""
        return await self.client.read(type(self), self.path)

    async def delete(self) -> None:
        """Delete it from the service."""
        await self.client.transport.send(ApiCall("DELETE", self.path, repeatable=False))

    async def download(self, path: str | Path) -> Path:
        """Write its own file to a path, which must not be a folder, and return the path."""
        return await self.client.transport.download(ApiCall("GET", f"{self.path}/content"), Path(path))

    async def file(self, name: str) -> ReceivedFile:
        """Return one of its further files, a key of `files`; an image shows itself in a notebook."""
        return await self.client.receive(f"{self.path}/files/{quote(name, safe='')}", name)


R = TypeVar("R", bound=AsyncRemoteRecord)


class AsyncRecordCollection(Generic[R]):
    """A collection of records."""

    record_type: type[R]
    """Type of its records."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client
        self._path = f"/v1/{self.record_type.collection}"

    async def get(self, id: Id) -> R:
        """Return the record of an id, or of a summary.

        Raises:
            NotFound: If there is none.
        """
        return await self._client.read(self.record_type, self._one(id))

    async def delete(self, id: Id) -> None:
        """Delete a record."""
        await self._client.transport.send(ApiCall("DELETE", self._one(id), repeatable=False))

    async def download(self, id: Id, path: str | Path) -> Path:
        """Write the file of a record to a path, which must not be a folder, and return the path."""
        return await self._client.transport.download(ApiCall("GET", f"{self._one(id)}/content"), Path(path))

    def _one(self, id: Id) -> str:
        return f"{self._path}/{quote(id_of(id), safe='')}"


class AsyncPages:
    """Reads the pages of lists."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def items(self, type_: type[T], path: str, filters: Mapping[str, Any], page_size: int) -> AsyncIterator[T]:
        """Yield the items of a list; a page is read when its first item is asked for."""
        query = {**fields_of(filters), "limit": page_size}
        while True:
            page = parsed(Page[type_], await self._send(path, query))  # type: ignore[valid-type]
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    async def _send(self, path: str, query: Mapping[str, Any]) -> httpx.Response:
        return await self._client.transport.send(ApiCall("GET", path, query=query))
