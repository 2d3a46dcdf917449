"""Analyses of explanations: asking for one, listing, deleting. Nothing here knows of HTTP."""

from contextlib import AbstractContextManager

from pydantic import Field

from app.services.analyses.checks import check_analysis, look_up
from app.services.jobs.queue import JobQueue
from app.services.locks import holding, lent
from app.services.record_files import file_links
from app.services.sources import Sources
from faceter.contracts.analyses import Analysis, AnalysisKind, AnalysisRequest, AnalysisSummary
from faceter.contracts.base import Contract, Page
from faceter.contracts.jobs import AnalysisJob, Job
from faceter.contracts.settings import Settings
from faceter.store.library import Library


class AnalysisKindFilter(Contract):
    """Which analyses of an explanation to list."""

    kind: AnalysisKind | None = Field(default=None, examples=["drift"])
    """Only analyses of this kind."""

    def wants(self, analysis: Analysis) -> bool:
        """Whether an analysis is one of those."""
        return self.kind is None or analysis.settings.kind == self.kind


class AnalysisFilter(AnalysisKindFilter):
    """Which analyses to list."""

    explanation_id: str | None = Field(default=None, examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Only analyses of this explanation, which may have been deleted since."""

    def wants(self, analysis: Analysis) -> bool:
        """Whether an analysis is one of those."""
        return super().wants(analysis) and self.explanation_id in (None, analysis.explanation_id)


class Analyses:
    """The analyses the service keeps, and the way to new ones. Every method blocks: it is to be called in a thread.

    Args:
        library: Where everything is kept.
        queue: Where jobs go.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._sources = Sources(library, settings)

    def request(self, explanation_id: str, request: AnalysisRequest) -> Job:
        """Check a request and queue the job.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation; `INVALID_REQUEST` for what does not exist any more, is
                contradictory or leaves nothing to analyse; `WRONG_DATASET_KIND`, `DATASET_MISMATCH`,
                `METHOD_NOT_APPLICABLE`, `OVERLOADED`.
        """
        with lent(self._library.explanations.get, explanation_id) as explanation:
            check_analysis(explanation, request, self._sources)
        specification = AnalysisJob(
            explanation_id=explanation_id,
            model_id=explanation.model_id,
            dataset_id=explanation.settings.dataset_id,
            request=request,
        )
        with holding(self._library.redis, specification.uses):
            look_up(self._library.explanations.get(explanation_id), request, self._sources)
            return self._queue.enqueue(specification)

    def again(self, job: AnalysisJob) -> Job:
        """Queue what an earlier job was to do, if that can still be done.

        Raises:
            FaceterError: What `request` raises.
        """
        return self.request(job.explanation_id, job.request)

    def get(self, id: str) -> Analysis:
        """Return an analysis.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self._library.analyses.get(id)

    def using(self, id: str) -> AbstractContextManager[Analysis]:
        """Lend an analysis for work on its files; see `app.services.locks.lent`.

        Raises:
            FaceterError: `NOT_FOUND`, also if a file is gone in the block because it was deleted meanwhile.
        """
        return lent(self.get, id)

    def page(self, limit: int, cursor: str | None, wanted: AnalysisFilter) -> Page[AnalysisSummary]:
        """Return one page of the analyses wanted, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self._library.analyses.page(limit, cursor, wanted.wants)
        return Page(items=[summary(analysis) for analysis in page.items], next_cursor=page.next_cursor)

    def of_explanation(
        self, explanation_id: str, limit: int, cursor: str | None, wanted: AnalysisKindFilter
    ) -> Page[AnalysisSummary]:
        """Return one page of the analyses wanted of an explanation, newest first.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation; `INVALID_REQUEST` for a bad cursor.
        """
        self._library.explanations.get(explanation_id)
        return self.page(limit, cursor, AnalysisFilter(explanation_id=explanation_id, kind=wanted.kind))

    def delete(self, id: str) -> None:
        """Delete an analysis, which no job needs; its explanation stays.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        self._library.delete(self._library.analyses, id)


def summary(analysis: Analysis) -> AnalysisSummary:
    """Return an analysis as lists show it."""
    return AnalysisSummary(
        id=analysis.id,
        explanation_id=analysis.explanation_id,
        created_at=analysis.created_at,
        kind=analysis.settings.kind,
        warnings=analysis.warnings,
        links={"self": f"/v1/analyses/{analysis.id}"},
    )


def with_links(analysis: Analysis) -> Analysis:
    """Return the analysis with the addresses that belong to it."""
    here = f"/v1/analyses/{analysis.id}"
    links = {
        "self": here,
        "content": f"{here}/content",
        "explanation": f"/v1/explanations/{analysis.explanation_id}",
    }
    return analysis.model_copy(update={"links": {**file_links(analysis, here), **links}})
