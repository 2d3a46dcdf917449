"""`/v1/evaluations`: grade what a generative model produces, look at samples, compare."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Header, Query, Request
from starlette.responses import Response

from app.http.bodies import file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file, own_file
from app.http.idempotency import fingerprint
from app.http.negotiation import prefers
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    LOCATION,
    EvaluationId,
    FileName,
    IdempotencyKey,
    Paging,
    answer,
)
from app.http.problems import documented
from app.services.container import Parts
from app.services.evaluations.service import EvaluationFilter, with_links
from app.services.jobs.rerun import with_links as job_with_links
from faceter.contracts.base import Page
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import (
    Evaluation,
    EvaluationComparison,
    EvaluationRequest,
    EvaluationSummary,
    SamplePage,
    Shown,
)
from faceter.contracts.jobs import Job

router = APIRouter(tags=["evaluations"])

_PNG: Final = "image/png"

_EXAMPLES: Final[dict[str, Any]] = {
    "images": {
        "summary": "Generated images against real ones, by what a network of yours sees in them",
        "value": {
            "reference_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "features": {"model_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "tensor": "avgpool"},
            "classifier_id": "mdl_4x8k2m9q0v7r3t6w1y5z",
            "per_class": True,
            "bootstrap": 200,
            "name": "gan, epoch 40",
        },
    },
    "features": {
        "summary": "Features of your own, fidelity and diversity only, over several k",
        "value": {
            "reference_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "metrics": ["density", "coverage"],
            "k": [5, 3, 10],
        },
    },
    "part": {
        "summary": "10,000 samples of each large set, drawn at random",
        "value": {
            "reference_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "features": {"model_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "tensor": "avgpool"},
            "subsample": 10000,
            "seed": 7,
        },
    },
}


class EvaluationQuery(EvaluationFilter, Paging):
    """Which evaluations, in what order, and which page of them."""


class SamplesQuery(Paging):
    """Which samples, and which page of them."""

    which: Shown
    """`outside`: generated samples in no real ball, the farthest from any real sample first. `uncovered`: real samples
    in whose ball there is no generated one, the farthest first. `densest`: generated samples by the number of real
    balls they lie in, the most first. `closest`: generated samples by their distance to the nearest real one, copies on
    top."""


@router.post(
    "/v1/evaluations",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Grade generated samples",
    responses={
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            ProblemKind.UNSUPPORTED_OPERATOR,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
        ),
    },
)
async def add_evaluation(
    body: Annotated[EvaluationRequest, Body(openapi_examples=_EXAMPLES)],
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Queue a job that compares generated samples with real ones.

    Upload both as datasets first. Follow the job at the address in `Location`; once it has succeeded
    `result.evaluation_id` names the evaluation.

    **What is compared.** Features: vectors that lie close together where samples are alike. Bring them yourself, as two
    datasets of kind `features`, or let a model you uploaded make them of images or signals: `features` names it and
    one of its tensors (`GET /v1/models/{id}/graph` lists them). It should know such data, and values by different
    features cannot be compared.

    **Fidelity and diversity, apart.** Around each real sample lies a ball that reaches to its `k`-th nearest real
    neighbour. *Density* is how many balls a generated sample lies in, over k: fidelity, which may exceed 1. *Coverage*
    is the share of real samples in whose ball there is a generated one: diversity. `expected` is what either comes to
    if both sets are drawn from one distribution, at this N, M and k: the value to reach, which is not always 1.
    *Precision* is the share of generated samples in any real ball and *recall* the share of real samples in any
    generated ball: a single outlier has a wide ball and raises them, so read them beside the first two. `fid` and `kid`
    measure both at once, and 0 is best. `inception_score` needs a `classifier_id`. A list of `k` gives a `sweep` at
    next to no cost, `bootstrap` an `interval` to each value.

    **How many.** Values depend on the numbers of samples: take as many of both sets, best 10,000 or more, and compare
    evaluations of equal N, M and k only. `subsample` draws a part of large sets.

        curl -H 'Content-Type: application/json' -d '{"reference_id": "dts_4x8k2m9q0v7r3t6w1y5z", \
             "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z", \
             "features": {"model_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "tensor": "avgpool"}}' \
             http://localhost:8000/v1/evaluations
    """

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.evaluations.request(body))
        return answer(job_with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/evaluations",
    response_model=Page[EvaluationSummary],
    summary="List evaluations",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_evaluations(parts: Parts, query: Annotated[EvaluationQuery, Query()]) -> Response:
    """List evaluations, newest first or sorted by a metric, to see how runs compare.

    `?generated=` and `?reference=` choose by dataset; `?sort=fid` puts the smallest FID first, `?sort=-density` the
    largest density. `differs` says where values of an evaluation cannot be compared with those of the first of the
    page, as N, M, k, the real samples or the features are others.
    """
    return answer(parts.evaluations.page(query.limit, query.cursor, query))


@router.get(
    "/v1/evaluations/{evaluation_id}",
    response_model=Evaluation,
    summary="Get an evaluation",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_evaluation(evaluation_id: EvaluationId, parts: Parts) -> Response:
    """Get all values with what they mean, what they would be for samples of one distribution, and warnings."""
    return answer(with_links(parts.evaluations.get(evaluation_id)))


@router.delete(
    "/v1/evaluations/{evaluation_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete an evaluation",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.STORAGE_FULL, *ANYWHERE),
)
def delete_evaluation(evaluation_id: EvaluationId, parts: Parts) -> Response:
    """Delete an evaluation and its plots. The datasets stay, and so do the features that a model made of them."""
    parts.evaluations.delete(evaluation_id)
    return Response(status_code=204)


@router.get(
    "/v1/evaluations/{evaluation_id}/content",
    summary="Download what was found of each sample",
    response_class=Response,
    responses={
        **file_content("application/octet-stream", what="An `.npz` of arrays."),
        **documented(*DOWNLOADING),
    },
)
def get_evaluation_content(evaluation_id: EvaluationId, request: Request, parts: Parts) -> Response:
    """Download an `.npz` that says of each sample how it lies among those of the other set.

    With M generated and N real samples, row by row: `generated_indices` [M] and `reference_indices` [N], positions in
    the datasets; `generated_balls` [M], in how many real balls each lies; `reference_balls` [N], how many generated
    samples lie in each ball; `nearest_reference` [M] and `nearest_reference_distance` [M], row and distance of the
    nearest real sample; `nearest_generated` [N] and `nearest_generated_distance` [N], the other way round; and where
    there are any, `generated_names`, `reference_names`, `generated_labels`, `reference_labels`. Read it with
    `numpy.load(path, allow_pickle=False)`. `Range` and `If-None-Match` work as for a model's file.
    """
    return own_file(request, parts, parts.evaluations.using(evaluation_id), ".npz", "application/octet-stream")


@router.get(
    "/v1/evaluations/{evaluation_id}/files/{name}",
    summary="Download a further file of an evaluation",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_evaluation_file(evaluation_id: EvaluationId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the plots or contact sheets that `files` of the evaluation lists, or the data of a plot.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return further_file(request, parts, parts.evaluations.using(evaluation_id), name)


@router.get(
    "/v1/evaluations/{evaluation_id}/samples",
    response_model=SamplePage,
    summary="Look at samples",
    responses={
        200: {
            "description": "A page of samples; or a contact sheet of the first of them, if asked for.",
            "content": {_PNG: {"schema": {"type": "string", "contentMediaType": _PNG, "format": "binary"}}},
        },
        **documented(
            ProblemKind.NOT_FOUND,
            ProblemKind.NOT_ACCEPTABLE,
            ProblemKind.INVALID_REQUEST,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
)
def get_evaluation_samples(
    evaluation_id: EvaluationId,
    parts: Parts,
    request: Request,
    query: Annotated[SamplesQuery, Query()],
    accept: Annotated[
        str,
        Header(description="`image/png` for a contact sheet, where there is one; else JSON.", examples=[_PNG]),
    ] = "",
) -> Response:
    r"""Get the samples worth looking at, each with its nearest neighbour in the other set.

    With `Accept: image/png` the answer is a contact sheet of the first of them (images and signals have one);
    `limit` and `cursor` are then of no account.

        curl 'http://localhost:8000/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z/samples?which=outside&limit=5'
        curl -H 'Accept: image/png' -o outside.png \
             'http://localhost:8000/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z/samples?which=outside'
    """
    if prefers(accept, _PNG, "application/json"):
        response = _contact_sheet(evaluation_id, query.which, request, parts)
    else:
        response = answer(parts.evaluations.samples(evaluation_id, query.which, query.limit, query.cursor))
    response.headers["Vary"] = "Accept"
    return response


@router.get(
    "/v1/evaluations/{evaluation_id}/comparison",
    response_model=EvaluationComparison,
    summary="Compare two evaluations",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def compare_evaluations(
    evaluation_id: EvaluationId,
    parts: Parts,
    other: Annotated[
        str, Query(alias="with", description="Id of the other evaluation.", examples=["evl_7c1m5w9q3v0r8t2x6y4z"])
    ],
) -> Response:
    """Compare an evaluation with another: metric by metric, and which is better.

    Values can be compared only if the real samples, the features, N, M and k are the same. If they are not,
    `differences` says where, and there are no `metrics`.
    """
    return answer(parts.evaluations.compare(evaluation_id, other))


def _contact_sheet(id: str, which: Shown, request: Request, parts: Parts) -> Response:
    """Return the contact sheet of some samples.

    Raises:
        FaceterError: `NOT_FOUND`; `NOT_ACCEPTABLE` if there is none.
    """
    name = f"{which}.png"
    if name not in parts.evaluations.get(id).files:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"{id} has no contact sheet of {which} samples: images and signals have one, where there are such "
            "samples. Ask for application/json.",
        )
    return further_file(request, parts, parts.evaluations.using(id), name)
