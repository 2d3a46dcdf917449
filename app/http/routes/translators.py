"""`/v1/translators`: train translators between two image domains, follow training, translate images."""

import hashlib
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.bodies import IMAGES_BODY, file_content
from app.http.dependencies import AppCore, Translation, Translators
from app.http.forms import MEDIA_TYPE as FORM
from app.http.idempotency import Once
from app.http.inference import RequestPriority, RequestTimeout, run_inference
from app.http.links import address, samples_with_links, training_with_links, with_links
from app.http.negotiation import negotiated_format
from app.http.parameters import ANYWHERE, CREATING, LOCATION, TranslatorId
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.http.stored_files import generated_response
from app.http.uploaded_images import media_type_of, uploaded_images
from app.services.translators.service import TranslatorService
from app.services.translators.translation import TranslatedFile, TranslateOptions
from faceter.contracts.base import message_if_invalid
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.references import ResourceName
from faceter.contracts.translator_records import TranslatorCurves, TranslatorSamples
from faceter.contracts.translators import Translator, TranslatorInTraining, TranslatorRequest, UploadedGenerators

router = APIRouter(tags=["translators"])

_PNG: Final = "image/png"
_FORMATS: Final = ("image/png", "image/jpeg", "image/webp")

_EXAMPLES: Final[dict[str, Any]] = {
    "unpaired": {
        "summary": "CycleGAN on unpaired images, one hour, sized for a CPU",
        "value": {
            "method": "cyclegan",
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "evaluation_dataset_id": "dts_7c1m5w9q3v0r8t2x6y4z",
            "image_size": 128,
            "base_channels": 32,
            "max_minutes": 60,
            "name": "dusk to day",
        },
    },
    "paired": {
        "summary": "pix2pix on pairs, with the settings of the paper",
        "value": {"method": "pix2pix", "dataset_id": "dts_0v7r3t6w1y5z4x8k2m9q", "direction": "a2b", "epochs": 200},
    },
    "resume": {
        "summary": "One more hour of training of a translator",
        "value": {
            "method": "cyclegan",
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "image_size": 128,
            "resume_from_id": "trl_4x8k2m9q0v7r3t6w1y5z",
            "max_minutes": 60,
        },
    },
    "uploaded": {
        "summary": "Two uploaded generators",
        "value": {"a2b_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "b2a_id": "mdl_7c1m5w9q3v0r8t2x6y4z", "name": "horse to zebra"},
    },
}

_HEADERS: Final[dict[str, Any]] = {
    "Faceter-Model": {"description": "Id of the generator; with `cycle` both ids.", "schema": {"type": "string"}},
    "Faceter-Direction": {"description": "Direction: `a2b` or `b2a`.", "schema": {"type": "string"}},
    "Faceter-Tiles": {"description": "Number of tiles; 1 if the image was not tiled.", "schema": {"type": "integer"}},
    "Faceter-Warnings": {
        "description": "Conversions of the image, such as dropped frames or converted colours. For several images, "
        "warnings have the number of the image.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "Durations of `read`, `translate` and `write` in milliseconds.",
        "schema": {"type": "string"},
    },
}


@router.post(
    "/v1/translators",
    status_code=202,
    response_description="Training is queued.",
    response_model=TranslatorInTraining,
    summary="Create a translator",
    responses={
        201: {"model": Translator, "description": "Created from uploaded generators: `ready`.", "headers": LOCATION},
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            ProblemKind.UNSUPPORTED_OPERATOR,
            ProblemKind.METHOD_NOT_APPLICABLE,
            ProblemKind.METADATA_MISMATCH,
            ProblemKind.MODEL_NOT_RUNNABLE,
            ProblemKind.INFERENCE_FAILED,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
        ),
    },
)
async def add_translator(
    body: Annotated[TranslatorRequest, Body(openapi_examples=_EXAMPLES)],
    core: AppCore,
    translators: Translators,
    once: Once,
) -> Response:
    r"""Train a translator on images of two domains, or create one from uploaded generators.

    **Training.** The response is 202 and the translator with status `queued`; `links.job` is its job. During training,
    `…/samples` has contact sheets of fixed images, their translations and reconstructions at each checkpoint, and
    `…/curves` has the losses. If the worker dies, at most the time since the last checkpoint is lost, one minute.
    `POST /v1/jobs/{id}/finish` ends training early and keeps the translator; another request can resume its training
    with `resume_from_id`.

    `cyclegan` needs no pairs. It learns both directions, with a cycle loss for images translated and translated back.
    `pix2pix` needs pairs (`paired=true` at upload), learns one direction and is closer to the targets. The defaults are
    the settings of the papers, 200 epochs at 256 × 256 with 64 channels, which need a GPU. On a CPU use an
    `image_size` of 128, `base_channels` of 32 and `max_minutes`.

    **Uploaded generators.** With `a2b_id`, `b2a_id` or both, the response is 201 and the translator with status
    `ready`. The generators are ONNX models whose input and output are one float image [N, 3, H, W] of the same size.

        curl -H 'Content-Type: application/json' \
             -d '{"method": "cyclegan", "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "max_minutes": 60}' \
             http://localhost:8000/v1/translators
    """

    async def work() -> Response:
        if isinstance(body, UploadedGenerators):
            ready = await core.with_model(lambda: translators.add(body))
            return json_response(with_links(ready), 201, _location(ready.id))
        queued = await core.with_dataset(lambda: translators.train(body))
        return json_response(training_with_links(queued), 202, _location(queued.id))

    return await once(body, work)


add_record_routes(
    router,
    TranslatorService,
    RecordTexts(
        list="List translators that are ready, newest first. Those in training are jobs of kind `translation`.",
        get="",
        delete="Delete a translator, its checkpoint, samples and curves. Its generators are kept as models.",
        content_summary="Download the archive of a translator",
        content="Download a translator as a zip: generators as ONNX (`a2b.onnx`, `b2a.onnx`), loss curves, contact "
        "sheets, and the checkpoint from which training is resumed.",
        files="Download one of the images in `files` of the translator.",
    ),
    views=frozenset({"list", "delete", "content", "files"}),
)


@router.get(
    "/v1/translators/{translator_id}",
    response_model=Translator | TranslatorInTraining,
    summary="Get a translator",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_translator(translator_id: TranslatorId, translators: Translators) -> Response:
    """Get a translator: generators, training record and evaluation; during training its status and progress."""
    found = translators.get_any(translator_id)
    return json_response(training_with_links(found) if isinstance(found, TranslatorInTraining) else with_links(found))


@router.post(
    "/v1/translators/{translator_id}/translate",
    summary="Translate images",
    response_class=Response,
    responses={
        200: {
            "description": "The image in the other domain, of the same size; for several images a zip.",
            "content": {
                media_type: {"schema": {"type": "string", "contentMediaType": media_type, "format": "binary"}}
                for media_type in (*_FORMATS, "application/zip")
            },
            "headers": _HEADERS,
        },
        **documented(
            ProblemKind.MALFORMED_BODY,
            ProblemKind.NOT_FOUND,
            ProblemKind.NOT_READY,
            ProblemKind.NOT_ACCEPTABLE,
            ProblemKind.PAYLOAD_TOO_LARGE,
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.INVALID_INPUT,
            ProblemKind.INVALID_IMAGE,
            ProblemKind.IMAGE_TOO_LARGE,
            ProblemKind.INFERENCE_FAILED,
            ProblemKind.STORAGE_FULL,
            ProblemKind.TOO_MANY_REQUESTS,
            ProblemKind.OVERLOADED,
            ProblemKind.DEADLINE_EXCEEDED,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
    openapi_extra=IMAGES_BODY,
)
async def translate(
    translator_id: TranslatorId,
    request: Request,
    core: AppCore,
    translation: Translation,
    options: Annotated[TranslateOptions, Query()],
    accept: Annotated[
        str, Header(description="`image/png` (the default), `image/jpeg` or `image/webp`.", examples=["image/webp"])
    ] = "",
    timeout: RequestTimeout = None,
    priority: RequestPriority = None,
) -> Response:
    r"""Translate an image to the other domain; the result has the same size.

    Images may have any size. They are rotated by their EXIF orientation and converted to sRGB. Transparency is kept,
    except for JPEG, for which the image is composited over white. Of an animation the first frame is used. Large images
    are processed in tiles without visible seams, because each tile uses the instance norm statistics of the whole
    image. The response to several files is a zip.

        curl -F file=@dusk.jpg -o day.png \
             'http://localhost:8000/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/translate?direction=a2b'
        curl -H 'Content-Type: image/jpeg' -H 'Accept: image/webp' \
             --data-binary @dusk.jpg -o day.webp \
             'http://localhost:8000/v1/translators/trl_…/translate?direction=a2b&quality=80'
        curl -F file=@dusk.jpg -o sheet.png \
             'http://localhost:8000/v1/translators/trl_…/translate?direction=a2b&cycle=true'
    """
    format_ = negotiated_format(accept)
    selection = await run_in_threadpool(translation.select, translator_id, options)
    images = await uploaded_images(request, core.settings)
    if images is None:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            f"Send an image as {FORM} (curl: -F file=@PATH) or as image/…, "
            f"not {media_type_of(request) or 'a body without a type'}.",
        )
    translated = await run_inference(
        request,
        core,
        lambda interrupt: translation.translate(selection, images, options, format_, interrupt),
        key=translator_id,
        bytes=sum(len(image.content) for image in images),
        samples=len(images),
        seconds=core.settings.translation_seconds,
        timeout=timeout,
        priority=priority,
    )
    return Response(translated.content, headers=_headers_of(translated), media_type=translated.media_type)


@router.get(
    "/v1/translators/{translator_id}/samples",
    response_model=TranslatorSamples,
    summary="List contact sheets of training",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_samples(translator_id: TranslatorId, translators: Translators) -> Response:
    """List the contact sheets of a translator, one per checkpoint, also during training."""
    return json_response(samples_with_links(translators.samples(translator_id), translator_id))


@router.get(
    "/v1/translators/{translator_id}/samples/{step}/image",
    summary="Get a contact sheet of training",
    response_class=Response,
    responses={
        **file_content(_PNG, what="A contact sheet."),
        **documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, ProblemKind.INVALID_REQUEST, *ANYWHERE),
    },
)
def get_sample_image(
    translator_id: TranslatorId,
    step: Annotated[
        int | Literal["latest"],
        message_if_invalid("must be a whole number of steps, or `latest`"),
        Path(description="Training step, one of those in `…/samples`; or `latest`.", examples=["latest"]),
    ],
    request: Request,
    translators: Translators,
) -> Response:
    """Get a contact sheet of fixed images: original, translation, and reconstruction.

    curl -o sheet.png http://localhost:8000/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/samples/latest/image
    """
    content = translators.sample(translator_id, None if step == "latest" else step)
    return _png(request, content, f"{translator_id}-{step}.png")


@router.get(
    "/v1/translators/{translator_id}/curves",
    response_model=TranslatorCurves,
    summary="Get the losses of training",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def get_curves(translator_id: TranslatorId, translators: Translators) -> Response:
    """Get the loss curves, also during training; `…/curves/image` is a plot of them."""
    return json_response(translators.curves(translator_id))


@router.get(
    "/v1/translators/{translator_id}/curves/image",
    summary="Get a plot of the losses of training",
    response_class=Response,
    responses={
        **file_content(_PNG, what="Plot of the losses over steps."),
        **documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, *ANYWHERE, ProblemKind.BLOB_MISSING),
    },
)
def get_curves_image(translator_id: TranslatorId, request: Request, translators: Translators) -> Response:
    """Get a plot of the loss curves, also during training."""
    return _png(request, translators.curves_image(translator_id), f"{translator_id}-curves.png")


def _png(request: Request, content: bytes, name: str) -> Response:
    tag = hashlib.sha256(content).hexdigest()
    return generated_response(request, lambda: content, tag=tag, filename=name, media_type=_PNG)


def _location(id: str) -> dict[str, str]:
    return {"Location": address(ResourceName.TRANSLATORS, id)}


def _headers_of(translated: TranslatedFile) -> dict[str, str]:
    timing = ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in translated.seconds.items())
    headers = {
        "Faceter-Model": ", ".join(translated.models),
        "Faceter-Direction": translated.direction.value,
        "Faceter-Tiles": str(translated.tiles),
        "Server-Timing": timing,
        "Vary": "Accept",
    }
    return {**headers, "Faceter-Warnings": translated.warnings} if translated.warnings else headers
