"""Explanations: units with their formulas, and analyses of them."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack

from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.records import AsyncRecordCollection, AsyncRemoteRecord
from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import ExplanationFields, ExplanationFilters, UnitFilters
from faceter.client.files import ReceivedFile
from faceter.client.html import explanation_html
from faceter.contracts.analyses import AnalysisSummary
from faceter.contracts.explanations import Explanation, ExplanationSummary
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName
from faceter.contracts.units import Unit, UnitSummary

if TYPE_CHECKING:
    from faceter.client.asynchronous.analyses import AsyncRemoteAnalysis

KindOfAnalysis = Literal["abstractions", "interpretability", "copy_paste", "drift"]


class AsyncRemoteExplanation(Explanation, AsyncRemoteRecord):
    """An explanation of the service."""

    collection: ClassVar[ResourceName] = ResourceName.EXPLANATIONS

    def _repr_html_(self) -> str:
        return explanation_html(self)

    def units(self, *, page_size: int = 100, **filters: Unpack[UnitFilters]) -> AsyncIterator[UnitSummary]:
        """Iterate over its units, by layer, or sorted: ``sort="-score"`` gives the highest IoU first."""
        return self.client.pages.items(UnitSummary, f"{self.path}/units", filters, page_size)

    async def unit(self, number: int, *, layer: str | None = None) -> Unit:
        """Return a unit with all details.

        Args:
            number: Its index along the second axis of the layer's tensor.
            layer: The layer, if several were explained.
        """
        return await self.client.transport.fetch(
            Unit, ApiCall("GET", f"{self.path}/units/{number}", query={"layer": layer})
        )

    async def unit_image(self, number: int, *, layer: str | None = None, sample: int | None = None) -> ReceivedFile:
        """Return an image of the samples at which a unit is most active; it shows itself in a notebook.

        Args:
            number: Index of the unit.
            layer: The layer, if several were explained.
            sample: Position in `examples` of the unit: this one alone is drawn, without text.
        """
        path = f"{self.path}/units/{number}/image"
        return await self.client.receive(path, f"{self.id}-{number}.png", {"layer": layer, "sample": sample})

    async def analyse(self, kind: KindOfAnalysis, **fields: Any) -> "AsyncRemoteJob[AsyncRemoteAnalysis]":
        """Queue a job that analyses the formulas.

        Args:
            kind: Kind of the analysis.
            **fields: Fields of the request of that kind; see `faceter.contracts.analyses`. For ids, resources are taken
                too.
        """
        request = {"kind": kind, **fields_of(fields)}
        call = ApiCall("POST", f"{self.path}/analyses", json=request, creates=True)
        return AsyncRemoteJob(self.client, await self.client.transport.fetch(Job, call))

    def analyses(self, *, page_size: int = 100) -> AsyncIterator[AnalysisSummary]:
        """Iterate over its analyses, newest first."""
        return self.client.pages.items(AnalysisSummary, f"{self.path}/analyses", {}, page_size)


class AsyncExplanations(AsyncRecordCollection[AsyncRemoteExplanation]):
    """The explanations of the service."""

    record_type = AsyncRemoteExplanation

    async def explain(
        self, model: Id, dataset: Id, *, layer: str | list[str], **fields: Unpack[ExplanationFields]
    ) -> AsyncRemoteJob[AsyncRemoteExplanation]:
        """Queue a job that explains units of a model; see `AsyncRemoteModel.explain`."""
        request = {"dataset_id": id_of(dataset), "layer": layer, **fields_of(fields)}
        call = ApiCall("POST", f"/v1/models/{id_of(model)}/explanations", json=request, creates=True)
        return AsyncRemoteJob(self._client, await self._client.transport.fetch(Job, call))

    def list(self, *, page_size: int = 100, **filters: Unpack[ExplanationFilters]) -> AsyncIterator[ExplanationSummary]:
        """Iterate over the explanations, newest first; pages are read as they are needed."""
        return self._client.pages.items(ExplanationSummary, self._path, filters, page_size)
