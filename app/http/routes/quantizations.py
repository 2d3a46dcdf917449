"""`/v1/models/{id}/quantizations`: quantize a model, list its quantized models."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from starlette.responses import Response

from app.http.dependencies import Quantizations
from app.http.idempotency import Once
from app.http.links import page_with_links
from app.http.parameters import ANYWHERE, CREATING, LOCATION, ModelId, Paging
from app.http.problems import documented
from app.http.responses import json_response
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.models import ModelSummary
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.references import ResourceName

router = APIRouter(tags=["quantizations"])

_EXAMPLES: Final[dict[str, Any]] = {
    "few bits": {
        "summary": "4 bits, tuned for six minutes on synthetic inputs",
        "value": {"method": "auto", "weight_bits": 4, "activation_bits": 4, "max_minutes": 6},
    },
    "rounding only": {
        "summary": "8 bits by rounding only, in seconds",
        "value": {"method": "dfq", "weight_bits": 8, "activation_bits": 8},
    },
    "accuracy target": {
        "summary": "Mixed precision with an accuracy drop of at most one percentage point",
        "value": {"target": {"max_drop": 1.0}, "evaluation_dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "max_minutes": 20},
    },
    "size target": {
        "summary": "Mixed precision with at most 120 kB of weights",
        "value": {"target": {"max_bytes": 120000}, "max_minutes": 20},
    },
    "fine-tuning": {
        "summary": "Tuned on your own unlabelled images",
        "value": {
            "method": "ft",
            "weight_bits": 4,
            "activation_bits": 4,
            "calibration_dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "max_steps": 2000,
        },
    },
}


@router.post(
    "/v1/models/{model_id}/quantizations",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Quantize a model",
    responses={
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.NOT_FOUND,
            ProblemKind.ALREADY_QUANTIZED,
            ProblemKind.NOTHING_TO_QUANTIZE,
            ProblemKind.UNSUPPORTED_OPERATOR,
            ProblemKind.METHOD_NOT_APPLICABLE,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
        ),
    },
)
async def add_quantization(
    model_id: ModelId,
    body: Annotated[QuantizationRequest, Body(openapi_examples=_EXAMPLES)],
    quantizations: Quantizations,
    once: Once,
) -> Response:
    r"""Queue a job that quantizes the model.

    The result is a new model with `derived_from_id` and a `quantization` report. No training data is needed. `Location`
    is the URL of the job; when it has succeeded, `links.result` is the new model.

    **Methods.** `rq`, `dfq` and `aciq` only round and take seconds; this suffices for 8 and mostly for 6 bits. `auto`,
    `zeroq`, `gdfq`, `zaq` and `ft` tune the network after rounding, which is needed for 4 bits and fewer. `auto`, the
    default, works for any network and chooses its steps itself. `zeroq` and `gdfq` need BatchNormalization in the
    model, `gdfq` also needs a classifier, and `ft` needs a `calibration_dataset_id` with your own inputs.

    **Budget.** `max_minutes` or `max_steps` is the budget of a method with tuning. When it is used up, the best model
    so far is kept. `POST /v1/jobs/{id}/finish` ends tuning early with the best model so far. If the worker dies, the
    job is resumed from a checkpoint. The events of the job have losses and agreement; the `files` of the model have
    them as `curves.json` and `curves.png`. Synthetic inputs used for tuning are a dataset in `result.by_products`.

    **Bits or a target.** Give `weight_bits` and `activation_bits`, or a `target` for mixed precision: the largest
    allowed accuracy drop, or the maximum size of the weights. Bits are then chosen for each layer, and the report has
    the trade-off. If the target cannot be met, the result is the best model found, and `quantization.trade_off.met` is
    false.

    **Data.** A calibration dataset is optional and sets the activation ranges. An evaluation dataset is used to measure
    accuracy before and after quantization; it is not used for any choice, except whether `max_drop` is met.

        curl -H 'Content-Type: application/json' \
             -d '{"weight_bits": 4, "activation_bits": 4, "max_minutes": 6}' \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/quantizations
    """
    return await once.submit(body, lambda: quantizations.request(model_id, body))


@router.get(
    "/v1/models/{model_id}/quantizations",
    response_model=Page[ModelSummary],
    summary="List the quantized models of a model",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_quantizations(model_id: ModelId, quantizations: Quantizations, query: Annotated[Paging, Query()]) -> Response:
    """List the quantized models that were made from a model, newest first.

    `GET /v1/jobs?kind=quantization&model_id=…` lists the jobs.
    """
    return json_response(
        page_with_links(quantizations.of_model(model_id, query.limit, query.cursor), ResourceName.MODELS)
    )
