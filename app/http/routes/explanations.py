"""`/v1/explanations`: what units of a network detect, as formulas over concepts."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from app.http.bodies import file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file, own_file
from app.http.idempotency import fingerprint
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    DELETING,
    LOCATION,
    ExplanationId,
    FileName,
    IdempotencyKey,
    ModelId,
    Paging,
    UnitNumber,
    answer,
)
from app.http.problems import documented
from app.http.stored_files import made_response
from app.services.container import Parts
from app.services.explanations.service import ExplanationFilter, with_links
from app.services.explanations.units import UnitFilter, UnitOrder
from app.services.jobs.rerun import with_links as job_with_links
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.explanations import (
    Explanation,
    ExplanationRequest,
    ExplanationSummary,
    FoundUnit,
    Unit,
    UnitPage,
)
from faceter.contracts.jobs import Job

router = APIRouter(tags=["explanations"])

_JSON: Final = "application/json"
_PNG: Final = "image/png"

_EXAMPLES: Final[dict[str, Any]] = {
    "images": {
        "summary": "What units of a layer see in labelled images, colours included",
        "value": {
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "layer": "relu_12",
            "max_length": 3,
            "derived_concepts": ["color"],
            "name": "last block, CamVid",
        },
    },
    "some units": {
        "summary": "A few units of two layers, the best formula of each proven",
        "value": {
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "layer": ["relu_5", "relu_12"],
            "units": [0, 1, 17],
            "search": "optimal",
            "quantile": 0.01,
            "resolution": [56, 56],
        },
    },
    "sentences": {
        "summary": "Words that units of a model of sentence pairs go by, and words like them",
        "value": {
            "dataset_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "layer": "hidden",
            "max_length": 5,
            "operators": ["or", "and", "and_not", "neighbors"],
            "min_firings": 100,
        },
    },
    "signals": {
        "summary": "Parts of a signal that units wait for",
        "value": {
            "dataset_id": "dts_0v7r3t6w1y5z4x8k2m9q",
            "layer": "relu_3",
            "derived_concepts": ["position"],
            "complexity_penalty": 0.95,
        },
    },
}

LayerName = Annotated[
    str | None,
    Query(
        description="The layer, of an explanation of several; that of its only one if not given.", examples=["relu_12"]
    ),
]


class ExplanationQuery(ExplanationFilter, Paging):
    """Which explanations, and which page of them."""


class UnitsQuery(UnitOrder, Paging):
    """Which units, in what order, and which page of them."""


class ModelUnitsQuery(UnitFilter, Paging):
    """Which units, and which page of them."""


@router.post(
    "/v1/models/{model_id}/explanations",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Explain units of a model",
    responses={
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.NOT_FOUND,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
        ),
    },
)
async def add_explanation(
    model_id: ModelId,
    body: Annotated[ExplanationRequest, Body(openapi_examples=_EXAMPLES)],
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Queue a job that says of each unit of a layer what it detects, as a formula over concepts.

    Follow the job at the address in `Location`; once it has succeeded `result.explanation_id` names the explanation.

    **What is needed.** A dataset that says which concepts are where: images with labelled pixels (kind `concepts`),
    signals with labelled moments (kind `signals`, with `concepts`) or sentence pairs (kind `text_pairs`, whose words,
    tags and overlaps are the concepts); and the name of a layer's tensor, such as the output of a ReLU
    (`GET /v1/models/{id}/graph` lists them). Colours and positions can be found in the samples themselves
    (`derived_concepts`).

    **What is found.** A unit *fires* where its activation is among its highest (`quantile`) or over a `threshold`. Of
    all formulas over concepts, such as `(car OR road) AND NOT dusk`, the one is sought that is true where the unit
    fires and nowhere else: its `score` is the IoU (intersection over union) of the two, over all pixels of all images
    together. `concept` is the best single concept. `ceiling` is the highest IoU that any formula over these concepts
    could have: if that is low, the concepts are too few for the unit; if only the score is, the formula is too short.

    **How it is sought.** `beam` is the procedure of Mu & Andreas (2020); `optimal` also proves that no formula of at
    most `max_length` concepts does better, or says that it is not known.

        curl -H 'Content-Type: application/json' \
             -d '{"dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "layer": "relu_12", "derived_concepts": ["color"]}' \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/explanations
    """

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.explanations.request(model_id, body))
        return answer(job_with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/explanations",
    response_model=Page[ExplanationSummary],
    summary="List explanations",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_explanations(parts: Parts, query: Annotated[ExplanationQuery, Query()]) -> Response:
    """List explanations, newest first."""
    return answer(parts.explanations.page(query.limit, query.cursor, query))


@router.get(
    "/v1/explanations/{explanation_id}",
    response_model=Explanation,
    summary="Get an explanation",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_explanation(explanation_id: ExplanationId, parts: Parts) -> Response:
    """Get what was found layer by layer: how good formulas are, how much better than single concepts, which are used.

    `…/units` has the units themselves, `files` an image of all layers.
    """
    return answer(with_links(parts.explanations.get(explanation_id)))


@router.delete(
    "/v1/explanations/{explanation_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete an explanation",
    responses=documented(ProblemKind.NOT_FOUND, *DELETING, *ANYWHERE),
)
def delete_explanation(explanation_id: ExplanationId, parts: Parts) -> Response:
    """Delete an explanation and its plots, unless a job that is queued or running needs it.

    Its model and data stay, and so do its analyses: `GET /v1/analyses?explanation={id}` goes on to list them.
    """
    parts.explanations.delete(explanation_id)
    return Response(status_code=204)


@router.get(
    "/v1/explanations/{explanation_id}/content",
    summary="Download all units",
    response_class=Response,
    responses={**file_content(_JSON, what="All units."), **documented(*DOWNLOADING)},
)
def get_explanation_content(explanation_id: ExplanationId, request: Request, parts: Parts) -> Response:
    """Download all that was found out about every unit, as a JSON list of what `…/units/{unit}` answers.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return own_file(request, parts, parts.explanations.using(explanation_id), ".json", _JSON)


@router.get(
    "/v1/explanations/{explanation_id}/files/{name}",
    summary="Download a further file of an explanation",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_explanation_file(explanation_id: ExplanationId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the plots that `files` of the explanation lists, or the masks behind images of units.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return further_file(request, parts, parts.explanations.using(explanation_id), name)


@router.get(
    "/v1/explanations/{explanation_id}/units",
    response_model=UnitPage,
    summary="List units with their formulas",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_units(explanation_id: ExplanationId, parts: Parts, query: Annotated[UnitsQuery, Query()]) -> Response:
    """List the units of an explanation with their formulas, layer by layer or sorted.

    `?sort=-score` puts those that are explained best first, `?sort=ceiling` those for which the concepts are too few,
    `?sort=-gain` those that a formula says more of than a single concept does. A cursor is good for one order and one
    choice of units.

        curl 'http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units?concept=car&sort=-score&limit=5'
    """
    return answer(parts.explanations.units(explanation_id, query, query.limit, query.cursor))


@router.get(
    "/v1/explanations/{explanation_id}/units/{unit}",
    response_model=Unit,
    summary="Get a unit",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def get_unit(explanation_id: ExplanationId, unit: UnitNumber, parts: Parts, layer: LayerName = None) -> Response:
    """Get all that was found out about a unit.

    Its formula as text and as a tree, the best one of every length, how it goes with each class of a classifier, and
    the samples at which it is strongest.
    """
    return answer(parts.explanations.unit(explanation_id, unit, layer))


@router.get(
    "/v1/explanations/{explanation_id}/units/{unit}/image",
    summary="See a unit",
    response_class=Response,
    responses={
        200: {
            "description": "An image of the unit.",
            "content": {_PNG: {"schema": {"type": "string", "contentMediaType": _PNG, "format": "binary"}}},
            "headers": {"ETag": {"description": "Names what it is drawn from.", "schema": {"type": "string"}}},
        },
        304: {"description": "It is what `If-None-Match` names; there is no body."},
        **documented(
            ProblemKind.NOT_FOUND,
            ProblemKind.NOT_ACCEPTABLE,
            ProblemKind.INVALID_REQUEST,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
)
def get_unit_image(
    explanation_id: ExplanationId, unit: UnitNumber, request: Request, parts: Parts, layer: LayerName = None
) -> Response:
    """See the samples at which a unit is strongest: where it fires, and beside it where its formula is true.

    Images are shown twice, signals once, shaded where the unit fires and with a strip where the formula is true. It
    is drawn from the dataset, which must still be there. For text see `examples` of the unit.

        curl -o unit.png http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units/17/image
    """
    drawing = parts.explanations.unit_image(explanation_id, unit, layer)
    return made_response(request, drawing.draw, tag=drawing.tag, filename=drawing.name, media_type=_PNG)


@router.get(
    "/v1/models/{model_id}/units",
    response_model=Page[FoundUnit],
    summary="Find units of a model",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_units_of_model(model_id: ModelId, parts: Parts, query: Annotated[ModelUnitsQuery, Query()]) -> Response:
    """List the units of a model that know about a concept, over all its explanations.

    The newest explanation comes first, and of each the unit that is explained best.

        curl 'http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/units?concept=car&min_score=0.1'
    """
    return answer(parts.explanations.of_model(model_id, query, query.limit, query.cursor))
