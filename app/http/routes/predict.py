"""`/v1/models/{id}/predict`: run a model on images, texts or tensors."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.http.bodies import PREDICT_BODY
from app.http.dependencies import AppCore
from app.http.forms import MEDIA_TYPE as FORM
from app.http.inference import RequestPriority, RequestTimeout, run_inference
from app.http.parameters import ANYWHERE, ModelId
from app.http.prediction_formats import PredictionFormat, prediction_format, prediction_response
from app.http.problems import documented
from app.http.responses import JSON
from app.http.uploaded_images import media_type_of, uploaded_images
from app.services.core import Core
from app.services.models.service import ModelService
from app.services.predictions.pool import Demand
from app.services.predictions.service import PredictionService, PredictOptions
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.predictions import Prediction
from faceter.engines.base import Interrupt

router = APIRouter(tags=["predict"])

_FORMATS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            item.value: {"schema": {"type": "string", "format": "binary", "contentMediaType": item.value}}
            for item in PredictionFormat
            if item is not PredictionFormat.JSON
        }
    }
}


@router.post(
    "/v1/models/{model_id}/predict",
    response_model=Prediction,
    response_model_exclude_none=True,
    summary="Predict",
    responses=_FORMATS
    | documented(
        ProblemKind.MALFORMED_BODY,
        ProblemKind.NOT_FOUND,
        ProblemKind.NOT_ACCEPTABLE,
        ProblemKind.PAYLOAD_TOO_LARGE,
        ProblemKind.UNSUPPORTED_MEDIA_TYPE,
        ProblemKind.INVALID_REQUEST,
        ProblemKind.INVALID_INPUT,
        ProblemKind.INVALID_IMAGE,
        ProblemKind.IMAGE_TOO_LARGE,
        ProblemKind.INFERENCE_FAILED,
        ProblemKind.MODEL_NOT_RUNNABLE,
        ProblemKind.TOO_MANY_REQUESTS,
        ProblemKind.OVERLOADED,
        ProblemKind.DEADLINE_EXCEEDED,
        *ANYWHERE,
        ProblemKind.BLOB_MISSING,
    ),
    openapi_extra=PREDICT_BODY,
)
async def predict(
    model_id: ModelId,
    request: Request,
    core: AppCore,
    options: Annotated[PredictOptions, Query()],
    timeout: RequestTimeout = None,
    priority: RequestPriority = None,
) -> Response:
    r"""Run a model on images, texts or tensors.

    Images are preprocessed as in `preprocessing` of the model. The result of a classifier is `predictions`, that of a
    detector with `detection` in its metadata `detections` (boxes in pixels of the image; for JSON tensors, in pixels of
    the model input), that of a text model for embeddings `embeddings`. For all other models it is `outputs` (NaN and
    infinities as null).

    Texts are for models uploaded with their `tokenizer`: `texts` for classification and embeddings, `text_pairs` for
    classification of pairs. Longer texts than `max_length` of the model are truncated, and listed in `truncated`.

    `Accept: application/msgpack` answers with the same fields in MessagePack, each tensor as `dtype`, `shape` and the
    bytes of its values in `data`. `application/x-npz` has the raw outputs alone, `application/x-npy` that of a model
    with one. Large answers are compressed for clients that accept gzip.

        curl -F file=@cat.jpg -F file=@dog.jpg \
             http://localhost:8000/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z/predict?top_k=3
        curl -H 'Content-Type: image/jpeg' --data-binary @cat.jpg \
             http://localhost:8000/v1/models/mdl_…/predict
        curl -H 'Content-Type: application/json' -d '{"inputs": {"image": [[[[0.1]]]]}}' \
             http://localhost:8000/v1/models/mdl_…/predict
        curl -H 'Content-Type: application/json' -d '{"texts": ["A dog runs.", "It rains."]}' \
             http://localhost:8000/v1/models/mdl_…/predict
    """
    return await answer_prediction(request, core, model_id, options, timeout=timeout, priority=priority)


async def answer_prediction(
    request: Request,
    core: Core,
    model_id: str,
    options: PredictOptions,
    *,
    timeout: float | None = None,
    priority: str | None = None,
) -> Response:
    """Return the response to a request to predict, whose body has not been read; see `predict`."""
    models, predictions = core.service(ModelService), core.service(PredictionService)
    core.pool.check_room(Demand(model_id))
    format = prediction_format(request.headers.get("accept", ""))
    encoding = request.headers.get("accept-encoding", "")
    if format.holds_tensors_only:
        options = options.model_copy(update={"raw": True})
    images = await uploaded_images(request, core.settings)
    content_type = media_type_of(request)
    if images is None and content_type != JSON:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            f"Send images as {FORM} (curl: -F file=@PATH) or as image/…, or tensors or texts as application/json, "
            f"not {content_type or 'a body without a type'}.",
        )
    body = await request.body() if images is None else b""

    def run(interrupt: Interrupt) -> Response:
        with models.reading_recent(model_id) as model:
            if images is None:
                prediction = predictions.predict_json(model, body, options, interrupt)
            else:
                prediction = predictions.predict_images(model, images, options, interrupt)
        core.monitoring.observe_inference(prediction.milliseconds / 1000)
        return prediction_response(prediction, format, encoding)

    size = len(body) if images is None else sum(len(image.content) for image in images)
    samples = 1 if images is None else len(images)
    return await run_inference(
        request, core, run, key=model_id, bytes=size, samples=samples, timeout=timeout, priority=priority
    )
