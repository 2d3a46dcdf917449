"""`/v1/models/{id}/predict`: pictures or tensors in, answers out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.forms import MEDIA_TYPE as FORM
from app.prediction import PredictOptions
from app.problems import documented
from app.routes.common import ANYWHERE, ModelId
from app.routes.documentation import PREDICT_BODY
from app.sent_pictures import Picture, media_type_of, sent_pictures
from app.services import Parts, Services
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.predictions import Prediction
from faceter.engines.base import Interrupt

router = APIRouter(tags=["predict"])


@router.post(
    "/v1/models/{model_id}/predict",
    response_model=Prediction,
    response_model_exclude_none=True,
    summary="Predict",
    responses=documented(
        ProblemKind.MALFORMED_BODY,
        ProblemKind.NOT_FOUND,
        ProblemKind.PAYLOAD_TOO_LARGE,
        ProblemKind.UNSUPPORTED_MEDIA_TYPE,
        ProblemKind.INVALID_REQUEST,
        ProblemKind.INVALID_INPUT,
        ProblemKind.INVALID_IMAGE,
        ProblemKind.IMAGE_TOO_LARGE,
        ProblemKind.INFERENCE_FAILED,
        ProblemKind.MODEL_NOT_RUNNABLE,
        ProblemKind.OVERLOADED,
        *ANYWHERE,
        ProblemKind.BLOB_MISSING,
    ),
    openapi_extra=PREDICT_BODY,
)
async def predict(
    model_id: ModelId, request: Request, parts: Parts, options: Annotated[PredictOptions, Query()]
) -> Response:
    """Run a model on pictures or tensors.

    Pictures go through the model's `preprocessing`. A classifier answers `predictions`, a detector whose metadata has
    `detection` answers `detections` (boxes in the picture's own pixels; in the input's pixels for JSON tensors), any other
    model answers `outputs` (NaN and infinities as null).

        curl -F file=@cat.jpg -F file=@dog.jpg http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/predict?top_k=3
        curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg http://localhost:8000/v1/models/mdl_…/predict
        curl -H 'Content-Type: application/json' -d '{"inputs": {"image": [[[[0.1]]]]}}' http://localhost:8000/v1/models/mdl_…/predict
    """  # noqa: E501
    pictures = await sent_pictures(request, parts.settings)
    if pictures is not None:
        return await _of_pictures(parts, model_id, pictures, options)
    content_type = media_type_of(request)
    if content_type == "application/json":
        return await _of_tensors(parts, model_id, await request.body(), options)
    raise FaceterError(
        ProblemKind.UNSUPPORTED_MEDIA_TYPE,
        f"Send pictures as {FORM} (curl: -F file=@PATH) or as image/…, or tensors as application/json, "
        f"not {content_type or 'a body without a type'}.",
    )


async def _of_pictures(parts: Services, model_id: str, pictures: list[Picture], options: PredictOptions) -> Response:
    def call(interrupt: Interrupt) -> Response:
        with parts.models.using(model_id) as model:
            return _answer(parts, parts.predictor.predict_pictures(model, pictures, options, interrupt))

    return await parts.pool.run(call)


async def _of_tensors(parts: Services, model_id: str, body: bytes, options: PredictOptions) -> Response:
    def call(interrupt: Interrupt) -> Response:
        with parts.models.using(model_id) as model:
            return _answer(parts, parts.predictor.predict_tensors(model, body, options, interrupt))

    return await parts.pool.run(call)


def _answer(parts: Services, prediction: Prediction) -> Response:
    parts.metrics.observe_inference(prediction.milliseconds / 1000)
    return Response(prediction.model_dump_json(exclude_none=True), media_type="application/json")
