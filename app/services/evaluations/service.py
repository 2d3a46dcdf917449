"""Evaluations: submit, get, list, compare, list samples, delete."""

from typing import Final

from pydantic import NonNegativeInt, TypeAdapter

from app.services.core import Core
from app.services.evaluations.comparison import compare_evaluations, differences
from app.services.evaluations.validation import evaluation_inputs, validate_evaluation
from app.services.input_shapes import validate_feature_shapes
from app.services.job_inputs import JobInputs
from app.services.jobs.submission import JobSubmitter
from app.services.paging import iterate_records, sorted_page
from app.services.records import RecordService, referenced_record
from faceter.contracts.base import Page
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.evaluation_comparison import EvaluationComparison
from faceter.contracts.evaluations import Evaluation, EvaluationFilter, EvaluationSummary, SamplePage, Shown
from faceter.contracts.jobs import EvaluationJob
from faceter.contracts.metrics import Metric
from faceter.datasets.ranked_samples import RankedSamples
from faceter.resources import EVALUATIONS
from faceter.store.cursors import decode_cursor, encode_cursor, foreign_cursor

_PLACE: Final[TypeAdapter[tuple[Shown, NonNegativeInt]]] = TypeAdapter(tuple[Shown, NonNegativeInt])


class EvaluationService(RecordService[Evaluation], JobSubmitter[EvaluationJob]):
    """Manages evaluations and submits evaluation jobs."""

    resource = EVALUATIONS

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._inputs = JobInputs(core.library, core.settings)

    def validate(self, specification: EvaluationJob) -> EvaluationJob:
        """Check that generated samples can be evaluated against real ones.

        Raises:
            FaceterError: `INVALID_REQUEST` for missing resources, contradictory options or exceeded limits;
                `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`.
        """
        validate_evaluation(specification.request, self._inputs, self.settings)
        validate_feature_shapes(self.core, self._inputs, specification.request.features)
        return specification

    def needed_bytes(self, specification: EvaluationJob) -> int:
        """Return the estimated memory of an evaluation of features; 0 for others, where a network takes most."""
        request = specification.request
        if evaluation_inputs(request, self._inputs).reference.kind is not DatasetKind.FEATURES:
            return 0
        return validate_evaluation(request, self._inputs, self.settings).bytes

    def page(self, limit: int, cursor: str | None, filter: EvaluationFilter) -> Page[EvaluationSummary]:
        """Return one page of the evaluations that a filter matches, newest first or sorted by a metric.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        if filter.sort is None:
            return super().page(limit, cursor, filter)
        return self.summaries(self._sorted(filter.sort, limit, cursor, filter))

    def summaries(self, page: Page[Evaluation]) -> Page[EvaluationSummary]:
        """Return summaries of a page, each with the fields that make it incomparable with the first one."""
        items = [
            EvaluationSummary.of(evaluation).model_copy(
                update={"differs": list(differences(page.items[0], evaluation))}
            )
            for evaluation in page.items
        ]
        return Page[EvaluationSummary](items=items, next_cursor=page.next_cursor)

    def compare(self, id: str, other_id: str) -> EvaluationComparison:
        """Return the comparison of two evaluations.

        Raises:
            FaceterError: `NOT_FOUND` for the first; `INVALID_REQUEST` on field `other_id` for the other.
        """
        return compare_evaluations(self.get(id), referenced_record(self.records, other_id, "other_id"))

    def samples(self, id: str, which: Shown, limit: int, cursor: str | None) -> SamplePage:
        """Return one page of the most notable samples, ranked.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for a bad cursor.
        """
        with self.reading(id) as evaluation:
            samples = RankedSamples.read(self.library.blobs.path(evaluation.sha256))
        cursor_which, start = decode_cursor(_PLACE, cursor) if cursor else (which, 0)
        if cursor_which is not which:
            raise foreign_cursor()
        rows = samples.order(which)
        end = start + limit
        return SamplePage(
            items=[samples.sample(which, int(row)) for row in rows[start:end]],
            next_cursor=encode_cursor(_PLACE, (which, end)) if end < len(rows) else None,
            which=which,
            total=len(rows),
        )

    def _sorted(self, sort: str, limit: int, cursor: str | None, filter: EvaluationFilter) -> Page[Evaluation]:
        metric, sign = Metric(sort.removeprefix("-")), -1.0 if sort.startswith("-") else 1.0

        def value(evaluation: Evaluation) -> float | None:
            result = evaluation.metrics.get(metric)
            return None if result is None else sign * result.value

        matching = iterate_records(self.records, filter.matches)
        return sorted_page(matching, sort, limit, cursor, value=value, id=lambda evaluation: evaluation.id)
