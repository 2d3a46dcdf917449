"""`/v1/evaluations`: grade generated samples, inspect samples, compare evaluations."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from app.http.dependencies import Evaluations
from app.http.idempotency import Once
from app.http.parameters import ANYWHERE, CREATING, LOCATION, EvaluationId, Paging
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.services.evaluations.service import EvaluationService
from faceter.contracts.errors import ProblemKind
from faceter.contracts.evaluation_comparison import EvaluationComparison
from faceter.contracts.evaluations import EvaluationRequest, SamplePage, Shown
from faceter.contracts.jobs import EvaluationJob, Job

router = APIRouter(tags=["evaluations"])

_EXAMPLES: Final[dict[str, Any]] = {
    "images": {
        "summary": "Generated images against real ones, in the feature space of an uploaded model",
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
        "summary": "Uploaded features, density and coverage only, at several k",
        "value": {
            "reference_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "metrics": ["density", "coverage"],
            "k": [5, 3, 10],
        },
    },
    "part": {
        "summary": "10,000 samples of each set, drawn at random",
        "value": {
            "reference_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "features": {"model_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "tensor": "avgpool"},
            "subsample": 10000,
            "seed": 7,
        },
    },
}


class SamplesQuery(Paging):
    """Selection and page of samples."""

    which: Shown = Shown.OUTSIDE
    """Selection of samples. `outside`: generated samples in no real ball, those farthest from any real sample first.
    `uncovered`: real samples whose ball contains no generated sample, those farthest from any first. `densest`:
    generated samples in the most real balls first. `closest`: generated samples with the smallest distance to a real
    sample first; copies come first."""


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
    evaluations: Evaluations,
    once: Once,
) -> Response:
    r"""Queue a job that grades generated samples against real ones.

    Upload both as datasets first. `Location` is the URL of the job; when it has succeeded, `links.result` is the
    evaluation.

    **Feature space.** Samples are compared by features: vectors that are close for similar samples. Upload them as two
    datasets of kind `features`, or compute them from images or signals with an uploaded model: `features` has its id
    and one of its tensors (`GET /v1/models/{id}/graph` lists them). The model should be trained on similar data. Values
    in different feature spaces cannot be compared.

    **Fidelity and diversity.** Each real sample has a ball whose radius is the distance to its `k`-th nearest real
    neighbour. *Density* is the mean number of balls that a generated sample is in, divided by k. It measures fidelity
    and may exceed 1. *Coverage* is the share of real samples whose ball contains a generated sample. It measures
    diversity. `expected` is the value of either if both sets come from the same distribution, at this N, M and k; this
    is the target value and not always 1. *Precision* is the share of generated samples in any real ball and *recall*
    the share of real samples in any generated ball. A single outlier has a large ball and raises both, so compare them
    with density and coverage. `fid` and `kid` measure fidelity and diversity together; 0 is best. `inception_score`
    needs a `classifier_id`. A list of `k` gives a `sweep` at little extra cost, `bootstrap` an `interval` of each
    value.

    **Number of samples.** Values depend on the number of samples. Use equally many of both sets, preferably at least
    10,000, and compare only evaluations of equal N, M and k. `subsample` draws a random part of large sets.

        curl -H 'Content-Type: application/json' -d '{"reference_id": "dts_4x8k2m9q0v7r3t6w1y5z", \
             "generated_id": "dts_7c1m5w9q3v0r8t2x6y4z", \
             "features": {"model_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "tensor": "avgpool"}}' \
             http://localhost:8000/v1/evaluations
    """
    return await once.submit(body, lambda: evaluations.submit(EvaluationJob(request=body)))


add_record_routes(
    router,
    EvaluationService,
    RecordTexts(
        list="""List evaluations, newest first or sorted by a metric.

`?generated_id=` and `?reference_id=` filter by dataset; `?sort=fid` sorts by ascending FID, `?sort=-density` by
descending density. `differs` lists why an evaluation cannot be compared with the first of the page: different N, M, k,
real samples or features.""",
        get="Get all metric values with their meaning, their expected values for equal distributions, and warnings.",
        delete="Delete an evaluation and its plots. Its datasets, including computed features, are kept.",
        content_summary="Download the results for each sample",
        content="""Download an `.npz` with the balls and the nearest neighbour of each sample.

For M generated and N real samples: `generated_indices` [M] and `reference_indices` [N], positions in the datasets;
`generated_balls` [M], number of real balls that contain each generated sample; `reference_balls` [N], number of
generated samples in each real ball; `nearest_reference` [M] and `nearest_reference_distance` [M], row and distance of
the nearest real sample; `nearest_generated` [N] and `nearest_generated_distance` [N], row and distance of the nearest
generated sample; and if available, `generated_names`, `reference_names`, `generated_labels`, `reference_labels`. Read
it with `numpy.load(path, allow_pickle=False)`.""",
        files="Download one of the `files` of the evaluation: a plot, a contact sheet or the data of a plot.",
    ),
)


@router.get(
    "/v1/evaluations/{evaluation_id}/samples",
    response_model=SamplePage,
    summary="List samples to inspect",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def get_evaluation_samples(
    evaluation_id: EvaluationId, evaluations: Evaluations, query: Annotated[SamplesQuery, Query()]
) -> Response:
    """List a selection of samples, each with its nearest neighbour in the other set.

    For images and signals, there is a contact sheet of the first samples of each selection, such as
    `…/files/outside.png`.

        curl 'http://localhost:8000/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z/samples?which=outside&limit=5'
        curl -o outside.png http://localhost:8000/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z/files/outside.png
    """
    return json_response(evaluations.samples(evaluation_id, query.which, query.limit, query.cursor))


@router.get(
    "/v1/evaluations/{evaluation_id}/comparison",
    response_model=EvaluationComparison,
    summary="Compare two evaluations",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def compare_evaluations(
    evaluation_id: EvaluationId,
    evaluations: Evaluations,
    other_id: Annotated[str, Query(description="Id of the other evaluation.", examples=["evl_7c1m5w9q3v0r8t2x6y4z"])],
) -> Response:
    """Compare two evaluations metric by metric.

    Values can be compared only if the real samples, the features, N, M and k are equal. Otherwise `differences` lists
    what differs and `metrics` is empty.
    """
    return json_response(evaluations.compare(evaluation_id, other_id))
