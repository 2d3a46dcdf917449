"""Quantizations: the quantized models of the service."""

from collections.abc import AsyncIterator
from typing import Unpack

from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.models import AsyncRemoteModel
from faceter.client.asynchronous.records import AsyncRecordCollection
from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import ModelFilters, QuantizationFields
from faceter.contracts.jobs import Job
from faceter.contracts.models import ModelSummary


class AsyncQuantizations(AsyncRecordCollection[AsyncRemoteModel]):
    """The quantized models of the service."""

    record_type = AsyncRemoteModel

    async def create(self, model: Id, **fields: Unpack[QuantizationFields]) -> AsyncRemoteJob[AsyncRemoteModel]:
        """Queue a job that quantizes a model; see `AsyncRemoteModel.quantize`."""
        path = f"/v1/models/{id_of(model)}/quantizations"
        call = ApiCall("POST", path, json=fields_of(fields), creates=True)
        return AsyncRemoteJob(self._client, await self._client.transport.fetch(Job, call))

    def list(self, *, page_size: int = 100, **filters: Unpack[ModelFilters]) -> AsyncIterator[ModelSummary]:
        """Iterate over the quantized models, newest first; pages are read as they are needed."""
        return self._client.pages.items(ModelSummary, self._path, {"quantized": True, **filters}, page_size)
