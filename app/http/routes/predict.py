"""`/v1/models/{id}/predict`: images or tensors in, answers out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.http.bodies import PREDICT_BODY
from app.http.forms import MEDIA_TYPE as FORM
from app.http.parameters import ANYWHERE, ModelId
from app.http.problems import documented
from app.http.uploaded_images import UploadedImage, media_type_of, uploaded_images
from app.services.container import Parts, Services
from app.services.predictions.service import PredictOptions
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
    """Run a model on images or tensors.

    Images go through the model's `preprocessing`. A classifier answers `predictions`, a detector whose metadata has
    `detection` answers `detections` (boxes in the image's own pixels; in the input's pixels for JSON tensors), any other
    model answers `outputs` (NaN and infinities as null).

        curl -F file=@cat.jpg -F file=@dog.jpg http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/predict?top_k=3
        curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg http://localhost:8000/v1/models/mdl_…/predict
        curl -H 'Content-Type: application/json' -d '{"inputs": {"image": [[[[0.1]]]]}}' http://localhost:8000/v1/models/mdl_…/predict
    """  # noqa: E501
    images = await uploaded_images(request, parts.settings)
    if images is not None:
        return await _of_images(parts, model_id, images, options)
    content_type = media_type_of(request)
    if content_type == "application/json":
        return await _of_tensors(parts, model_id, await request.body(), options)
    raise FaceterError(
        ProblemKind.UNSUPPORTED_MEDIA_TYPE,
        f"Send images as {FORM} (curl: -F file=@PATH) or as image/…, or tensors as application/json, "
        f"not {content_type or 'a body without a type'}.",
    )


async def _of_images(parts: Services, model_id: str, images: list[UploadedImage], options: PredictOptions) -> Response:
    def call(interrupt: Interrupt) -> Response:
        with parts.models.using(model_id) as model:
            return _answer(parts, parts.predictor.predict_images(model, images, options, interrupt))

    return await parts.pool.run(call)


async def _of_tensors(parts: Services, model_id: str, body: bytes, options: PredictOptions) -> Response:
    def call(interrupt: Interrupt) -> Response:
        with parts.models.using(model_id) as model:
            return _answer(parts, parts.predictor.predict_tensors(model, body, options, interrupt))

    return await parts.pool.run(call)


def _answer(parts: Services, prediction: Prediction) -> Response:
    parts.metrics.observe_inference(prediction.milliseconds / 1000)
    return Response(prediction.model_dump_json(exclude_none=True), media_type="application/json")
