# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""Explanations: units with their formulas, and analyses of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack

from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import ExplanationFields, ExplanationFilters, UnitFilters
from faceter.client.files import ReceivedFile
from faceter.client.html import explanation_html
from faceter.client.synchronous.jobs import RemoteJob
from faceter.client.synchronous.records import RecordCollection, RemoteRecord
from faceter.contracts.analyses import AnalysisSummary
from faceter.contracts.explanations import Explanation, ExplanationSummary
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName
from faceter.contracts.units import Unit, UnitSummary

if TYPE_CHECKING:
    from faceter.client.synchronous.analyses import RemoteAnalysis

KindOfAnalysis = Literal["abstractions", "interpretability", "copy_paste", "drift"]


class RemoteExplanation(Explanation, RemoteRecord):
    """An explanation of the service."""

    collection: ClassVar[ResourceName] = ResourceName.EXPLANATIONS

    def _repr_html_(self) -> str:
        return explanation_html(self)

    def units(self, *, page_size: int = 100, **filters: Unpack[UnitFilters]) -> Iterator[UnitSummary]:
        """Iterate over its units, by layer, or sorted: ``sort="-score"`` gives the highest IoU first."""
        return self.client.pages.items(UnitSummary, f"{self.path}/units", filters, page_size)

    def unit(self, number: int, *, layer: str | None = None) -> Unit:
        """Return a unit with all details.

        Args:
            number: Its index along the second axis of the layer's tensor.
            layer: The layer, if several were explained.
        """
        return self.client.transport.fetch(Unit, ApiCall("GET", f"{self.path}/units/{number}", query={"layer": layer}))

    def unit_image(self, number: int, *, layer: str | None = None, sample: int | None = None) -> ReceivedFile:
        """Return an image of the samples at which a unit is most active; it shows itself in a notebook.

        Args:
            number: Index of the unit.
            layer: The layer, if several were explained.
            sample: Position in `examples` of the unit: this one alone is drawn, without text.
        """
        path = f"{self.path}/units/{number}/image"
        return self.client.receive(path, f"{self.id}-{number}.png", {"layer": layer, "sample": sample})

    def analyse(self, kind: KindOfAnalysis, **fields: Any) -> "RemoteJob[RemoteAnalysis]":
        """Queue a job that analyses the formulas.

        Args:
            kind: Kind of the analysis.
            **fields: Fields of the request of that kind; see `faceter.contracts.analyses`. For ids, resources are taken
                too.
        """
        request = {"kind": kind, **fields_of(fields)}
        call = ApiCall("POST", f"{self.path}/analyses", json=request, creates=True)
        return RemoteJob(self.client, self.client.transport.fetch(Job, call))

    def analyses(self, *, page_size: int = 100) -> Iterator[AnalysisSummary]:
        """Iterate over its analyses, newest first."""
        return self.client.pages.items(AnalysisSummary, f"{self.path}/analyses", {}, page_size)


class Explanations(RecordCollection[RemoteExplanation]):
    """The explanations of the service."""

    record_type = RemoteExplanation

    def explain(
        self, model: Id, dataset: Id, *, layer: str | list[str], **fields: Unpack[ExplanationFields]
    ) -> RemoteJob[RemoteExplanation]:
        """Queue a job that explains units of a model; see `RemoteModel.explain`."""
        request = {"dataset_id": id_of(dataset), "layer": layer, **fields_of(fields)}
        call = ApiCall("POST", f"/v1/models/{id_of(model)}/explanations", json=request, creates=True)
        return RemoteJob(self._client, self._client.transport.fetch(Job, call))

    def list(self, *, page_size: int = 100, **filters: Unpack[ExplanationFilters]) -> Iterator[ExplanationSummary]:
        """Iterate over the explanations, newest first; pages are read as they are needed."""
        return self._client.pages.items(ExplanationSummary, self._path, filters, page_size)
