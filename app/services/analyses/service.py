"""Analyses of explanations: submit, get, list, delete."""

from app.services.analyses.validation import validate_analysis
from app.services.core import Core
from app.services.job_inputs import JobInputs
from app.services.jobs.submission import JobSubmitter
from app.services.locks import reading
from app.services.records import RecordService
from faceter.contracts.analyses import Analysis, AnalysisFilter, AnalysisKindFilter, AnalysisRequest, AnalysisSummary
from faceter.contracts.base import Page
from faceter.contracts.jobs import AnalysisJob, Job
from faceter.resources import ANALYSES


class AnalysisService(RecordService[Analysis], JobSubmitter[AnalysisJob]):
    """Manages analyses and submits analysis jobs."""

    resource = ANALYSES

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._inputs = JobInputs(core.library, core.settings)

    def request(self, explanation_id: str, request: AnalysisRequest) -> Job:
        """Submit the analysis of an explanation.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation; what `validate` raises; `OVERLOADED`.
        """
        explanation = self.library.explanations.get(explanation_id)
        return self.submit(
            AnalysisJob(
                explanation_id=explanation_id,
                model_id=explanation.model_id,
                dataset_id=explanation.settings.dataset_id,
                request=request,
            )
        )

    def validate(self, specification: AnalysisJob) -> AnalysisJob:
        """Check that an explanation can be analysed.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation; `INVALID_REQUEST` for missing resources, contradictory
                options or nothing to analyse; `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `METHOD_NOT_APPLICABLE`.
        """
        with reading(self.library.explanations.get, specification.explanation_id) as explanation:
            validate_analysis(explanation, specification.request, self._inputs)
        return specification

    def of_explanation(
        self, explanation_id: str, limit: int, cursor: str | None, filter: AnalysisKindFilter
    ) -> Page[AnalysisSummary]:
        """Return one page of the analyses of an explanation, newest first.

        Raises:
            FaceterError: `NOT_FOUND` for the explanation; `INVALID_REQUEST` for a bad cursor.
        """
        self.library.explanations.get(explanation_id)
        return self.page(limit, cursor, AnalysisFilter(explanation_id=explanation_id, kind=filter.kind))
