# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""Quantizations: the quantized models of the service."""

from collections.abc import Iterator
from typing import Unpack

from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import ModelFilters, QuantizationFields
from faceter.client.synchronous.jobs import RemoteJob
from faceter.client.synchronous.models import RemoteModel
from faceter.client.synchronous.records import RecordCollection
from faceter.contracts.jobs import Job
from faceter.contracts.models import ModelSummary


class Quantizations(RecordCollection[RemoteModel]):
    """The quantized models of the service."""

    record_type = RemoteModel

    def create(self, model: Id, **fields: Unpack[QuantizationFields]) -> RemoteJob[RemoteModel]:
        """Queue a job that quantizes a model; see `RemoteModel.quantize`."""
        path = f"/v1/models/{id_of(model)}/quantizations"
        call = ApiCall("POST", path, json=fields_of(fields), creates=True)
        return RemoteJob(self._client, self._client.transport.fetch(Job, call))

    def list(self, *, page_size: int = 100, **filters: Unpack[ModelFilters]) -> Iterator[ModelSummary]:
        """Iterate over the quantized models, newest first; pages are read as they are needed."""
        return self._client.pages.items(ModelSummary, self._path, {"quantized": True, **filters}, page_size)
