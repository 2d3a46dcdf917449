"""`/v1/models/{id}/quantizations`: ask for a smaller model."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from app.http.idempotency import fingerprint
from app.http.parameters import ANYWHERE, CREATING, LOCATION, IdempotencyKey, ModelId, answer
from app.http.problems import documented
from app.services.container import Parts
from app.services.jobs.rerun import with_links
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.quantizations import QuantizationRequest

router = APIRouter(tags=["quantizations"])

_EXAMPLES: Final[dict[str, Any]] = {
    "few bits": {
        "summary": "4 bits, tuned for six minutes on inputs made without data",
        "value": {"method": "auto", "weight_bits": 4, "activation_bits": 4, "max_minutes": 6},
    },
    "at once": {
        "summary": "8 bits by rounding alone, in seconds",
        "value": {"method": "dfq", "weight_bits": 8, "activation_bits": 8},
    },
    "at most a point": {
        "summary": "As few bits for each layer as cost no more than a point of accuracy",
        "value": {"target": {"max_drop": 1.0}, "evaluation_dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "max_minutes": 20},
    },
    "at most so many bytes": {
        "summary": "Bits for each layer so that all weights take 120 kB at most",
        "value": {"target": {"max_bytes": 120000}, "max_minutes": 20},
    },
    "own inputs": {
        "summary": "Tuned on your own images, labels not used",
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
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Queue a job that quantizes the model.

    The result is a new model with `derived_from_id` and a `quantization` report. No training data is needed. Follow the
    job at the address in `Location`; once it has succeeded `result.model_id` names the new model.

    **Methods.** `rq`, `dfq` and `aciq` round, and take seconds: enough at 8 and mostly at 6 bits. `auto`, `zeroq`,
    `gdfq`, `zaq` and `ft` tune the network after rounding, which 4 bits and fewer need. `auto`, the default, works on
    any network and chooses by itself. `zeroq` and `gdfq` need BatchNormalization in the model, `gdfq` a classifier as
    well, and `ft` a `calibration_dataset_id` of your own inputs.

    **Time.** `max_minutes` or `max_steps` is the budget of a method that tunes; it ends with its best model when that
    is spent. `DELETE /v1/jobs/{id}?keep=best` ends it sooner and keeps the best so far. If its worker dies it goes on
    from a checkpoint. Losses and agreement come live with the job's events, and stay as `curves.json` and `curves.png`
    among the model's `files`. The inputs it was tuned on are a dataset, `result.dataset_id`.

    **Bits or a target.** Give `weight_bits` and `activation_bits`, or a `target`: most points of accuracy to lose, or
    most bytes of weights. Each layer then gets bits of its own, and the report holds the trade-off. A target that
    cannot be met ends with the best model found, and `quantization.trade_off.met` is false.

    **Data.** A calibration set, if there is one, sets the activation ranges. An evaluation set measures accuracy before
    and after and chooses nothing, but for whether a target's `max_drop` is met.

        curl -H 'Content-Type: application/json' -d '{"weight_bits": 4, "activation_bits": 4, "max_minutes": 6}' \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/quantizations
    """

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.quantizations.request(model_id, body))
        return answer(with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)
