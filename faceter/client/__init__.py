"""The Python client of the service: `Client`, and `AsyncClient` for asyncio. Needs httpx and pydantic only."""

from faceter.client import errors
from faceter.client.asynchronous.client import AsyncClient
from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.models import AsyncRemoteModel
from faceter.client.errors import FaceterApiError
from faceter.client.files import ReceivedFile
from faceter.client.synchronous.client import Client
from faceter.client.synchronous.jobs import RemoteJob
from faceter.client.synchronous.models import RemoteModel

__all__ = [
    "AsyncClient",
    "AsyncRemoteJob",
    "AsyncRemoteModel",
    "Client",
    "FaceterApiError",
    "ReceivedFile",
    "RemoteJob",
    "RemoteModel",
    "errors",
]
