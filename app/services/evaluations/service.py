"""Evaluations: asking for one, listing, comparing, looking at samples, deleting. Nothing here knows of HTTP."""

from contextlib import AbstractContextManager
from typing import Annotated, Final

from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter

from app.services.evaluations.checks import check_evaluation, look_up
from app.services.evaluations.comparison import compared, differences
from app.services.jobs.queue import JobQueue
from app.services.locks import holding, lent
from app.services.paging import decode_cursor, encode_cursor, sorted_page, walked
from app.services.record_files import contains, file_links
from app.services.sources import Sources, named, with_name
from faceter.contracts.base import Contract, Page
from faceter.contracts.evaluations import (
    Evaluation,
    EvaluationComparison,
    EvaluationRequest,
    EvaluationSummary,
    Metric,
    SamplePage,
    Shown,
)
from faceter.contracts.jobs import EvaluationJob, Job
from faceter.contracts.settings import Settings
from faceter.datasets.shown import ShownSamples
from faceter.store.library import Library
from faceter.store.newest_first import not_our_cursor

_PLACE: Final[TypeAdapter[tuple[Shown, NonNegativeInt]]] = TypeAdapter(tuple[Shown, NonNegativeInt])


def _check_order(sort: str) -> str:
    if sort.removeprefix("-") not in list(Metric):
        raise ValueError(f"must be the name of a metric, or - and the name: {', '.join(Metric)}")
    return sort


class EvaluationFilter(Contract):
    """Which evaluations to list, and in what order."""

    reference_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only evaluations against this dataset of real samples."""
    generated_id: str | None = Field(default=None, examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Only evaluations of this dataset of generated samples."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["gan"])
    """Only evaluations whose name contains this, in upper or lower case."""
    sort: Annotated[str, AfterValidator(_check_order)] | None = Field(default=None, examples=["fid", "-density"])
    """By which metric to sort: its name puts the smallest value first (`fid`), `-` before it the largest (`-density`).
    Evaluations without the metric come last. Newest first if not given."""

    def wants(self, evaluation: Evaluation) -> bool:
        """Whether an evaluation is one of those."""
        return (
            contains(self.name, evaluation.name)
            and (self.reference_id is None or evaluation.settings.reference_id == self.reference_id)
            and (self.generated_id is None or evaluation.settings.generated_id == self.generated_id)
        )


class Evaluations:
    """The evaluations the service keeps, and the way to new ones. Every method blocks: it is to be called in a thread.

    Args:
        library: Where everything is kept.
        queue: Where jobs go.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._settings = settings
        self._sources = Sources(library, settings)

    def request(self, request: EvaluationRequest) -> Job:
        """Check a request and queue the job.

        Raises:
            FaceterError: `INVALID_REQUEST` for what does not exist, is contradictory or beyond the operator's limits;
                `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`, `OVERLOADED`.
        """
        request = with_name(request)
        check_evaluation(request, self._sources, self._settings)
        specification = EvaluationJob(request=request)
        with holding(self._library.redis, specification.uses):
            look_up(request, self._sources)
            return self._queue.enqueue(specification)

    def again(self, job: EvaluationJob) -> Job:
        """Queue what an earlier job was to do, if that can still be done.

        Raises:
            FaceterError: What `request` raises.
        """
        return self.request(job.request)

    def get(self, id: str) -> Evaluation:
        """Return an evaluation.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self._library.evaluations.get(id)

    def using(self, id: str) -> AbstractContextManager[Evaluation]:
        """Lend an evaluation for work on its files; see `app.services.locks.lent`.

        Raises:
            FaceterError: `NOT_FOUND`, also if a file is gone in the block because the evaluation was deleted meanwhile.
        """
        return lent(self.get, id)

    def page(self, limit: int, cursor: str | None, wanted: EvaluationFilter) -> Page[EvaluationSummary]:
        """Return one page of the evaluations wanted, newest first or sorted by a metric.

        Each says in what it differs from the first of the page, of what must be equal for values to be compared.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        if wanted.sort:
            page = self._sorted(wanted.sort, limit, cursor, wanted)
        else:
            page = self._library.evaluations.page(limit, cursor, wanted.wants)
        return Page(
            items=[summary(evaluation, differs_from=page.items[0]) for evaluation in page.items],
            next_cursor=page.next_cursor,
        )

    def compare(self, id: str, other_id: str) -> EvaluationComparison:
        """Return two evaluations side by side.

        Raises:
            FaceterError: `NOT_FOUND` for the one; `INVALID_REQUEST` on field `with` for the other.
        """
        return compared(self.get(id), named(self._library.evaluations, other_id, "with"))

    def samples(self, id: str, which: Shown, limit: int, cursor: str | None) -> SamplePage:
        """Return one page of the samples worth looking at, the first to look at first.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for a bad cursor.
        """
        with self.using(id) as evaluation:
            samples = ShownSamples.read(self._library.blobs.path(evaluation.sha256))
        named, start = decode_cursor(_PLACE, cursor) if cursor else (which, 0)
        if named is not which:
            raise not_our_cursor()
        rows = samples.order(which)
        end = start + limit
        return SamplePage(
            items=[samples.sample(which, int(row)) for row in rows[start:end]],
            next_cursor=encode_cursor(_PLACE, (which, end)) if end < len(rows) else None,
            which=which,
            total=len(rows),
        )

    def delete(self, id: str) -> None:
        """Delete an evaluation, which no job needs; the datasets stay.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        self._library.delete(self._library.evaluations, id)

    def _sorted(self, sort: str, limit: int, cursor: str | None, wanted: EvaluationFilter) -> Page[Evaluation]:
        metric, sign = Metric(sort.removeprefix("-")), -1.0 if sort.startswith("-") else 1.0

        def value(evaluation: Evaluation) -> float | None:
            found = evaluation.metrics.get(metric)
            return None if found is None else sign * found.value

        found = walked(self._library.evaluations, wanted.wants)
        return sorted_page(found, sort, limit, cursor, value=value, id=lambda evaluation: evaluation.id)


def summary(evaluation: Evaluation, *, differs_from: Evaluation) -> EvaluationSummary:
    """Return an evaluation as lists show it.

    Args:
        evaluation: The evaluation.
        differs_from: The one it is compared with.
    """
    return EvaluationSummary(
        id=evaluation.id,
        name=evaluation.name,
        created_at=evaluation.created_at,
        reference_id=evaluation.settings.reference_id,
        generated_id=evaluation.settings.generated_id,
        reference_samples=evaluation.reference_samples,
        generated_samples=evaluation.generated_samples,
        k=evaluation.k,
        dimensions=evaluation.features.dimensions,
        tensor=evaluation.features.tensor,
        values={metric: found.value for metric, found in evaluation.metrics.items()},
        differs=list(differences(differs_from, evaluation)),
        links={"self": f"/v1/evaluations/{evaluation.id}"},
    )


def with_links(evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the addresses that belong to it."""
    here = f"/v1/evaluations/{evaluation.id}"
    links = {
        "self": here,
        "content": f"{here}/content",
        "samples": f"{here}/samples",
        "reference": f"/v1/datasets/{evaluation.settings.reference_id}",
        "generated": f"/v1/datasets/{evaluation.settings.generated_id}",
    }
    if evaluation.features.model_id is not None:
        links["model"] = f"/v1/models/{evaluation.features.model_id}"
    return evaluation.model_copy(update={"links": {**file_links(evaluation, here), **links}})
