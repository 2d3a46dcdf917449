"""Evaluations: grade generated samples, inspect samples, compare."""

from collections.abc import AsyncIterator
from typing import ClassVar, Unpack

from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.records import AsyncRecordCollection, AsyncRemoteRecord
from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.fields import EvaluationFields, EvaluationFilters
from faceter.client.html import evaluation_html
from faceter.contracts.evaluation_comparison import EvaluationComparison
from faceter.contracts.evaluations import Evaluation, EvaluationSample, EvaluationSummary, Shown
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName


class AsyncRemoteEvaluation(Evaluation, AsyncRemoteRecord):
    """An evaluation of the service."""

    collection: ClassVar[ResourceName] = ResourceName.EVALUATIONS

    def _repr_html_(self) -> str:
        return evaluation_html(self)

    def samples(self, which: Shown | str = Shown.OUTSIDE, *, page_size: int = 100) -> AsyncIterator[EvaluationSample]:
        """Iterate over a selection of samples, each with its nearest neighbour in the other set."""
        return self.client.pages.items(EvaluationSample, f"{self.path}/samples", {"which": which}, page_size)

    async def compare(self, other: Id) -> EvaluationComparison:
        """Return the comparison with another evaluation, metric by metric."""
        call = ApiCall("GET", f"{self.path}/comparison", query={"other_id": id_of(other)})
        return await self.client.transport.fetch(EvaluationComparison, call)


class AsyncEvaluations(AsyncRecordCollection[AsyncRemoteEvaluation]):
    """The evaluations of the service."""

    record_type = AsyncRemoteEvaluation

    async def grade(
        self, reference: Id, generated: Id, **fields: Unpack[EvaluationFields]
    ) -> AsyncRemoteJob[AsyncRemoteEvaluation]:
        """Queue a job that grades generated samples against real ones; its result is an evaluation.

        Args:
            reference: The dataset of real samples.
            generated: The dataset of generated samples.
            **fields: See `faceter.contracts.evaluations.EvaluationRequest`; for ids, resources are taken too. Images
                and signals need `features`, such as ``model.features("avgpool")``.
        """
        request = {"reference_id": id_of(reference), "generated_id": id_of(generated), **fields_of(fields)}
        call = ApiCall("POST", self._path, json=request, creates=True)
        return AsyncRemoteJob(self._client, await self._client.transport.fetch(Job, call))

    def list(self, *, page_size: int = 100, **filters: Unpack[EvaluationFilters]) -> AsyncIterator[EvaluationSummary]:
        """Iterate over the evaluations, newest first or by `sort`; pages are read as they are needed."""
        return self._client.pages.items(EvaluationSummary, self._path, filters, page_size)
