"""`/v1/models/{id}/quantizations`: ask for a smaller model."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.idempotency import fingerprint
from app.jobs import with_links
from app.problems import documented
from app.routes.common import ANYWHERE, CREATING, LOCATION, IdempotencyKey, ModelId, answer
from app.services import Parts
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.quantizations import QuantizationRequest

router = APIRouter(tags=["quantizations"])


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
    body: QuantizationRequest,
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Queue a job that quantizes the model.

    The result is a new model with `derived_from` and a `quantization` report. No training data is needed. A calibration
    set, if there is one, sets the activation ranges; an evaluation set measures accuracy before and after and chooses
    nothing. Follow the job at the address in `Location`; once it has succeeded `result.model_id` names the new model.

        curl -H 'Content-Type: application/json' -d '{"method": "aciq", "weight_bits": 4, "activation_bits": 4}' \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/quantizations
    """

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.quantizations.request(model_id, body))
        return answer(with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)
