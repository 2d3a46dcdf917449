"""`/v1/analyses`: what formulas of units are worth."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from app.http.bodies import file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file, own_file
from app.http.idempotency import fingerprint
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    LOCATION,
    AnalysisId,
    ExplanationId,
    FileName,
    IdempotencyKey,
    Paging,
    answer,
)
from app.http.problems import documented
from app.services.analyses.service import AnalysisFilter, AnalysisKindFilter, with_links
from app.services.container import Parts
from app.services.jobs.rerun import with_links as job_with_links
from faceter.contracts.analyses import Analysis, AnalysisRequest, AnalysisSummary
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job

router = APIRouter(tags=["analyses"])

_JSON: Final = "application/json"

_EXAMPLES: Final[dict[str, Any]] = {
    "abstractions": {
        "summary": "What kinds of formulas there are, related concepts told by groups",
        "value": {
            "kind": "abstractions",
            "taxonomy": {"vehicle": ["car", "bicyclist"], "ground": ["road", "pavement"]},
        },
    },
    "interpretability": {
        "summary": "Whether units that are explained well are those with which a detector finds its boxes",
        "value": {"kind": "interpretability", "dataset_id": "dts_7c1m5w9q3v0r8t2x6y4z", "min_samples": 20},
    },
    "copy_paste": {
        "summary": "Make sentence pairs contradict each other by what formulas say",
        "value": {"kind": "copy_paste", "label": "contradiction", "tries": 500, "seed": 7},
    },
    "drift": {
        "summary": "What became of units in two quantized models",
        "value": {"kind": "drift", "model_ids": ["mdl_7c1m5w9q3v0r8t2x6y4z", "mdl_0v7r3t6w1y5z4x8k2m9q"]},
    },
}


class AnalysisQuery(AnalysisFilter, Paging):
    """Which analyses, and which page of them."""


class AnalysisKindQuery(AnalysisKindFilter, Paging):
    """Which analyses of an explanation, and which page of them."""


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
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Queue a job that says what the formulas of an explanation are worth; `kind` says in which respect.

    Follow the job at the address in `Location`; once it has succeeded `result.analysis_id` names the analysis. The
    model and the dataset of the explanation must still be there.

    **`abstractions`** sorts formulas by what they put together. *Lexically coherent*: either of things of related
    meaning, as `car OR bus`. *Lexically incoherent*: either of things that only go together in the data, as
    `road OR car`. *Specialized*: something narrowed down, as `road AND NOT dusk`. *Polysemantic*: either of things that
    have nothing to do with each other. Which concepts are related is said by a `taxonomy` (groups of names) or an
    `embedding` (a vector for each name); for text by the dataset's own vectors if there are any and you give neither;
    else only what goes together is known.

    **`interpretability`** tells whether units that are explained well are those with which the model is right: of each
    unit the accuracy on samples where it fires, against the IoU of its formula, with Pearson's r and its p-value at
    each maximum length. Images of an explanation have no class, so name a labelled `dataset_id`: of kind `images` for a
    classifier, of kind `detection` for a detector, whose recall of boxes is then taken. Of text and signals the
    explanation's own labels are taken.

    **`copy_paste`** changes inputs as formulas propose, to bring the class `label` about: words are put in or taken
    out, regions that show a concept are pasted. Its success rate, with a 95 % interval, stands beside that of as many
    changes with random concepts: only what is above that is foretold. Sentence pairs need an explanation of the layer
    before the last linear one. Signals are not changed.

    **`drift`** runs other `models` of one origin, such as quantized ones, with layers of the same names, and says of
    each unit how far it still fires where it did, and whether its formula stayed.

        curl -H 'Content-Type: application/json' -d '{"kind": "drift", "model_ids": ["mdl_7c1m5w9q3v0r8t2x6y4z"]}' \
             http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/analyses
    """

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.analyses.request(explanation_id, body))
        return answer(job_with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/explanations/{explanation_id}/analyses",
    response_model=Page[AnalysisSummary],
    summary="List analyses of an explanation",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_analyses_of_explanation(
    explanation_id: ExplanationId, parts: Parts, query: Annotated[AnalysisKindQuery, Query()]
) -> Response:
    """List the analyses of an explanation, newest first; `?kind=` chooses those of one kind."""
    return answer(parts.analyses.of_explanation(explanation_id, query.limit, query.cursor, query))


@router.get(
    "/v1/analyses",
    response_model=Page[AnalysisSummary],
    summary="List analyses",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_analyses(parts: Parts, query: Annotated[AnalysisQuery, Query()]) -> Response:
    """List analyses of all explanations, newest first, also of explanations that were deleted since."""
    return answer(parts.analyses.page(query.limit, query.cursor, query))


@router.get(
    "/v1/analyses/{analysis_id}",
    response_model=Analysis,
    summary="Get an analysis",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_analysis(analysis_id: AnalysisId, parts: Parts) -> Response:
    """Get what was found, with the settings it was found by and warnings.

    It stays when its explanation is deleted, with the ids of what it was made from; `links.explanation` then leads to
    nothing.
    """
    return answer(with_links(parts.analyses.get(analysis_id)))


@router.delete(
    "/v1/analyses/{analysis_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete an analysis",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.STORAGE_FULL, *ANYWHERE),
)
def delete_analysis(analysis_id: AnalysisId, parts: Parts) -> Response:
    """Delete an analysis and its plots. Its explanation stays."""
    parts.analyses.delete(analysis_id)
    return Response(status_code=204)


@router.get(
    "/v1/analyses/{analysis_id}/content",
    summary="Download what was found",
    response_class=Response,
    responses={**file_content(_JSON, what="What was found."), **documented(*DOWNLOADING)},
)
def get_analysis_content(analysis_id: AnalysisId, request: Request, parts: Parts) -> Response:
    """Download what was found as JSON: `result` of the analysis by itself.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return own_file(request, parts, parts.analyses.using(analysis_id), ".json", _JSON)


@router.get(
    "/v1/analyses/{analysis_id}/files/{name}",
    summary="Download a further file of an analysis",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_analysis_file(analysis_id: AnalysisId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the plots that `files` of the analysis lists.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return further_file(request, parts, parts.analyses.using(analysis_id), name)
