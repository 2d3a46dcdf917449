"""`/v1/analyses`: analyses of explanations."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from app.http.dependencies import Analyses
from app.http.idempotency import Once
from app.http.links import page_with_links
from app.http.parameters import ANYWHERE, CREATING, LOCATION, ExplanationId, Paging
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.services.analyses.service import AnalysisService
from faceter.contracts.analyses import AnalysisKindFilter, AnalysisRequest, AnalysisSummary
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName

router = APIRouter(tags=["analyses"])

_EXAMPLES: Final[dict[str, Any]] = {
    "abstractions": {
        "summary": "Kinds of abstraction, with related concepts given as groups",
        "value": {
            "kind": "abstractions",
            "taxonomy": {"vehicle": ["car", "bicyclist"], "ground": ["road", "pavement"]},
        },
    },
    "interpretability": {
        "summary": "Correlation of IoU with the recall of a detector",
        "value": {"kind": "interpretability", "dataset_id": "dts_7c1m5w9q3v0r8t2x6y4z", "min_samples": 20},
    },
    "copy_paste": {
        "summary": "Edit sentence pairs so that they are predicted as contradiction",
        "value": {"kind": "copy_paste", "label": "contradiction", "tries": 500, "seed": 7},
    },
    "drift": {
        "summary": "Drift of units in two quantized models",
        "value": {"kind": "drift", "model_ids": ["mdl_7c1m5w9q3v0r8t2x6y4z", "mdl_0v7r3t6w1y5z4x8k2m9q"]},
    },
}


class AnalysisKindQuery(AnalysisKindFilter, Paging):
    """Filter and page of the analyses of an explanation."""


@router.post(
    "/v1/explanations/{explanation_id}/analyses",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Analyse an explanation",
    responses={
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.NOT_FOUND,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            ProblemKind.METHOD_NOT_APPLICABLE,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
)
async def add_analysis(
    explanation_id: ExplanationId,
    body: Annotated[AnalysisRequest, Body(openapi_examples=_EXAMPLES)],
    analyses: Analyses,
    once: Once,
) -> Response:
    r"""Queue a job that analyses the formulas of an explanation; `kind` selects the analysis.

    `Location` is the URL of the job; when it has succeeded, `links.result` is the analysis. The model and the dataset
    of the explanation must still exist.

    **`abstractions`** classifies formulas by kind of abstraction (Mu & Andreas 2020). *Lexically coherent*: disjunction
    of concepts related in meaning, such as `car OR bus`. *Lexically incoherent*: disjunction of concepts that only
    co-occur in the data, such as `road OR car`. *Specialized*: a concept narrowed by AND or AND NOT, such as
    `road AND NOT dusk`. *Polysemantic*: disjunction of unrelated concepts. A `taxonomy` (groups of names) or an
    `embedding` (a vector for each name) defines which concepts are related. Without both, the vectors of the dataset
    are used for text, if it has any; otherwise only co-occurrence is known.

    **`interpretability`** correlates accuracy with IoU over units: the accuracy of the model on samples in which a unit
    fires, and the IoU of its formula. The result is Pearson's r and its p-value for each maximum length. Probe datasets
    of images have no classes, so give a labelled `dataset_id`: of kind `images` for a classifier, of kind `detection`
    for a detector, for which recall of boxes is used. For text and signals, labels of the probe dataset are used.

    **`copy_paste`** edits inputs as formulas propose, so that they are predicted as the class `label`: words are
    inserted or deleted, image regions that show a concept are pasted. The success rate, with a 95 % interval, is
    compared with that of equally many control edits with random concepts. Sentence pairs need an explanation of the
    layer before the last linear layer. Signals are not supported.

    **`drift`** runs other models (`model_ids`) of the same origin, such as quantized ones, with equal layer names. For
    each unit it gives the IoU of the regions where the unit fires in both models, and whether its formula is unchanged.

        curl -H 'Content-Type: application/json' \
             -d '{"kind": "drift", "model_ids": ["mdl_7c1m5w9q3v0r8t2x6y4z"]}' \
             http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/analyses
    """
    return await once.submit(body, lambda: analyses.request(explanation_id, body))


@router.get(
    "/v1/explanations/{explanation_id}/analyses",
    response_model=Page[AnalysisSummary],
    summary="List analyses of an explanation",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_analyses_of_explanation(
    explanation_id: ExplanationId, analyses: Analyses, query: Annotated[AnalysisKindQuery, Query()]
) -> Response:
    """List the analyses of an explanation, newest first; `?kind=` filters by kind."""
    page = analyses.of_explanation(explanation_id, query.limit, query.cursor, query)
    return json_response(page_with_links(page, ResourceName.ANALYSES))


add_record_routes(
    router,
    AnalysisService,
    RecordTexts(
        list="List analyses of all explanations, newest first, including those of deleted explanations.",
        get="""Get an analysis: result, settings and warnings.

An analysis is kept when its explanation is deleted, with the ids of its inputs; `links.explanation` is then a 404.""",
        delete="Delete an analysis and its plots. Its explanation is kept.",
        content_summary="Download the result",
        content="Download `result` of the analysis as JSON.",
        files="Download one of the plots in `files` of the analysis.",
    ),
)
