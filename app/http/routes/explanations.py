"""`/v1/explanations`: explanations of units as formulas over concepts."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from app.http.bodies import drawn_image
from app.http.dependencies import Explanations
from app.http.idempotency import Once
from app.http.links import page_with_links, unit_with_links
from app.http.parameters import ANYWHERE, CREATING, LOCATION, ExplanationId, ModelId, Paging, UnitNumber
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.http.stored_files import generated_response
from app.services.explanations.service import ExplanationService
from app.services.explanations.units import UnitFilter, UnitOrder
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.explanations import ExplanationRequest, ExplanationSummary
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName
from faceter.contracts.units import FoundUnit, Unit, UnitPage

router = APIRouter(tags=["explanations"])

_PNG: Final = "image/png"

_EXAMPLES: Final[dict[str, Any]] = {
    "images": {
        "summary": "All units of a layer on labelled images, with colours as concepts",
        "value": {
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "layer": "relu_12",
            "max_length": 3,
            "derived_concepts": ["color"],
            "name": "last block, CamVid",
        },
    },
    "some units": {
        "summary": "Some units of two layers, with proof that the formulas are optimal",
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
        "summary": "Sentence pairs, with words and their nearest words as concepts",
        "value": {
            "dataset_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "layer": "hidden",
            "max_length": 5,
            "operators": ["or", "and", "and_not", "neighbors"],
            "min_firings": 100,
        },
    },
    "signals": {
        "summary": "Signals, with position as concept",
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
    Query(description="Name of the layer; required if the explanation has several layers.", examples=["relu_12"]),
]
SampleNumber = Annotated[
    int | None,
    Query(
        ge=0,
        description="Position in `examples` of the unit: this sample alone is drawn, without text.",
        examples=[0],
    ),
]


class UnitsQuery(UnitOrder, Paging):
    """Filter, order and page of a list of units."""


class ModelUnitsQuery(UnitFilter, Paging):
    """Filter and page of a list of units."""


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
    explanations: Explanations,
    once: Once,
) -> Response:
    r"""Queue a job that explains each unit of a layer by a formula over concepts.

    `Location` is the URL of the job; when it has succeeded, `links.result` is the explanation.

    **Inputs.** A probe dataset: images with labelled pixels (kind `concepts`), signals with labelled time steps (kind
    `signals`, with `concepts`) or sentence pairs (kind `text_pairs`, with words, tags and overlap as concepts). And the
    name of the tensor of a layer, such as the output of a ReLU (`GET /v1/models/{id}/graph` lists them). Colours and
    positions can be added as concepts without labels (`derived_concepts`).

    **Result.** A unit *fires* where its activation exceeds an activation threshold, given as `quantile` or `threshold`.
    For each unit, the search finds a formula over concepts, such as `(car OR road) AND NOT dusk`, that is true where
    the unit fires and false elsewhere. Its `score` is the IoU (intersection over union) of these two regions, over all
    pixels of all images together. `concept` is the best single concept. `ceiling` is an upper limit of the IoU of any
    formula over these concepts: if it is low, the concepts do not describe the unit; if only the score is low, the
    formula is too short.

    **Search.** `beam` is the beam search of Mu & Andreas (2020). `optimal` also proves that no formula of at most
    `max_length` concepts is better, or reports that this is unknown.

        curl -H 'Content-Type: application/json' \
             -d '{"dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "layer": "relu_12"}' \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/explanations
    """
    return await once.submit(body, lambda: explanations.request(model_id, body))


@router.get(
    "/v1/models/{model_id}/explanations",
    response_model=Page[ExplanationSummary],
    summary="List explanations of a model",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_explanations_of_model(
    model_id: ModelId, explanations: Explanations, query: Annotated[Paging, Query()]
) -> Response:
    """List the explanations of a model, newest first."""
    page = explanations.of_model(model_id, query.limit, query.cursor)
    return json_response(page_with_links(page, ResourceName.EXPLANATIONS))


add_record_routes(
    router,
    ExplanationService,
    RecordTexts(
        list="List explanations, newest first.",
        get="""Get an explanation with a summary of each layer: IoU of formulas and single concepts, most used concepts.

`…/units` has the units, `files` a plot of all layers.""",
        delete="""Delete an explanation and its plots, unless a queued or running job uses it.

Its model, dataset and analyses are kept; `GET /v1/analyses?explanation_id={id}` still lists the analyses.""",
        content_summary="Download all units",
        content="Download all units with all details, as a JSON list of the objects at `…/units/{unit}`.",
        files="Download one of the `files` of the explanation: a plot, or the masks of the images of units.",
    ),
)


@router.get(
    "/v1/explanations/{explanation_id}/units",
    response_model=UnitPage,
    summary="List units with their formulas",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_units(
    explanation_id: ExplanationId, explanations: Explanations, query: Annotated[UnitsQuery, Query()]
) -> Response:
    """List the units of an explanation with their formulas, by layer or sorted.

    `?sort=-score` lists the units with the highest IoU first, `?sort=ceiling` those that the concepts describe worst,
    `?sort=-gain` those whose formula improves most on the best single concept. A cursor is only valid with the same
    order and filters.

        curl 'http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units?concept=car&limit=5'
    """
    return json_response(explanations.units(explanation_id, query, query.limit, query.cursor))


@router.get(
    "/v1/explanations/{explanation_id}/units/{unit}",
    response_model=Unit,
    summary="Get a unit",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def get_unit(
    explanation_id: ExplanationId, unit: UnitNumber, explanations: Explanations, layer: LayerName = None
) -> Response:
    """Get a unit with all details.

    These are its formula as text and as a tree, the best formula of each length, the association with each class of a
    classifier, and the samples with the highest activations.
    """
    return json_response(
        unit_with_links(explanations.unit(explanation_id, unit, layer), explanations.get(explanation_id))
    )


@router.get(
    "/v1/explanations/{explanation_id}/units/{unit}/image",
    summary="Get an image of a unit",
    response_class=Response,
    responses={
        **drawn_image("An image of the unit."),
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
    explanation_id: ExplanationId,
    unit: UnitNumber,
    request: Request,
    explanations: Explanations,
    layer: LayerName = None,
    sample: SampleNumber = None,
) -> Response:
    """Get an image of the samples with the highest activations: where the unit fires and where its formula is true.

    An image is shown twice, once with each region. A signal is shown once, shaded where the unit fires and with a strip
    where the formula is true. The image is drawn from the dataset, which must still exist. For text see `examples` of
    the unit.

        curl -o unit.png http://localhost:8000/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units/17/image
    """
    drawing = explanations.unit_image(explanation_id, unit, layer, sample)
    return generated_response(request, drawing.draw, tag=drawing.tag, filename=drawing.name, media_type=_PNG)


@router.get(
    "/v1/models/{model_id}/units",
    response_model=Page[FoundUnit],
    summary="Find units of a model",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_units_of_model(
    model_id: ModelId, explanations: Explanations, query: Annotated[ModelUnitsQuery, Query()]
) -> Response:
    """List the units of a model whose formula has a concept, over all its explanations.

    Units are sorted by explanation, newest first, and then by score, highest first.

        curl 'http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/units?concept=car&min_score=0.1'
    """
    return json_response(explanations.units_of_model(model_id, query, query.limit, query.cursor))
