"""`/v1/translators`: images of one domain into another, trained here or with uploaded generators."""

import hashlib
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.bodies import IMAGES_BODY, file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file, own_file
from app.http.forms import MEDIA_TYPE as FORM
from app.http.idempotency import fingerprint
from app.http.negotiation import prefers
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    DELETING,
    LOCATION,
    FileName,
    IdempotencyKey,
    Paging,
    TranslatorId,
    answer,
)
from app.http.problems import documented
from app.http.stored_files import made_response
from app.http.uploaded_images import media_type_of, uploaded_images
from app.services.container import Parts
from app.services.jobs.rerun import with_links as job_with_links
from app.services.translators.service import TranslatorFilter, with_links
from app.services.translators.translation import TranslateOptions
from faceter.contracts.base import Page, in_one_sentence
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.translators import (
    Translator,
    TranslatorCurves,
    TranslatorInTraining,
    TranslatorRequest,
    TranslatorSamples,
    TranslatorSummary,
    UploadedGenerators,
)
from faceter.vision.encoded_image import negotiated_format

router = APIRouter(tags=["translators"])

_PNG: Final = "image/png"
_FORMATS: Final = ("image/png", "image/jpeg", "image/webp")

_EXAMPLES: Final[dict[str, Any]] = {
    "unpaired": {
        "summary": "CycleGAN on two folders of images, an hour at a size for a CPU",
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
        "summary": "pix2pix on pairs, with its published settings",
        "value": {"method": "pix2pix", "dataset_id": "dts_0v7r3t6w1y5z4x8k2m9q", "direction": "a2b", "epochs": 200},
    },
    "go on": {
        "summary": "An hour more of a translator that was trained here",
        "value": {
            "method": "cyclegan",
            "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z",
            "image_size": 128,
            "resume_from_id": "trl_4x8k2m9q0v7r3t6w1y5z",
            "max_minutes": 60,
        },
    },
    "uploaded": {
        "summary": "Two generators that were uploaded",
        "value": {"a2b_id": "mdl_4x8k2m9q0v7r3t6w1y5z", "b2a_id": "mdl_7c1m5w9q3v0r8t2x6y4z", "name": "horse to zebra"},
    },
}

_HEADERS: Final[dict[str, Any]] = {
    "Faceter-Model": {"description": "Id of the generator; both, with `cycle`.", "schema": {"type": "string"}},
    "Faceter-Direction": {"description": "`a2b` or `b2a`.", "schema": {"type": "string"}},
    "Faceter-Tiles": {"description": "In how many tiles it was done; 1 for a whole.", "schema": {"type": "integer"}},
    "Faceter-Notes": {
        "description": "What was done to the image beside: frames left out, colours converted. Images of several "
        "are told by number.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "`read`, `translate` and `write`: milliseconds of each.",
        "schema": {"type": "string"},
    },
}


class TranslatorQuery(TranslatorFilter, Paging):
    """Which translators, and which page of them."""


@router.post(
    "/v1/translators",
    status_code=202,
    response_description="Queued: the job that trains it.",
    response_model=Job,
    summary="Make a translator",
    responses={
        201: {"model": Translator, "description": "Made of uploaded generators.", "headers": LOCATION},
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
    request: Request,
    parts: Parts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    r"""Train a translator on images of two domains, or make one of uploaded generators.

    **Training** answers 202 and a job. Its `links.translator` is where the translator will be, and where it can be
    watched meanwhile: `…/samples` shows fixed images, translated and back, at each checkpoint, `…/curves` the losses.
    A worker that dies costs at most the time since the last checkpoint, a minute or so. `DELETE /v1/jobs/{id}` ends
    training and keeps the translator as far as it has come; another request can go on from there with `resume_from_id`.

    `cyclegan` needs no pairs: it learns both directions so that an image translated and back is the same again.
    `pix2pix` needs pairs (`paired=true` at upload) and learns one direction, nearer to the pairs. Both have the
    settings of their papers unless you say otherwise: 200 epochs at 256 × 256 and 64 channels, which is for a GPU. On a
    CPU take an `image_size` of 128, 32 `base_channels` and `max_minutes`.

    **Uploaded generators** (`a2b_id`, `b2a_id` or both) answer 201 and the translator: ONNX models that take and return
    one float image [N, 3, H, W] of the same size.

        curl -H 'Content-Type: application/json' \
             -d '{"method": "cyclegan", "dataset_id": "dts_4x8k2m9q0v7r3t6w1y5z", "max_minutes": 60}' \
             http://localhost:8000/v1/translators
    """

    async def work() -> Response:
        if isinstance(body, UploadedGenerators):
            made = await parts.with_graph(lambda: parts.translators.add(body))
            return answer(with_links(made), 201, {"Location": f"/v1/translators/{made.id}"})
        job = await parts.with_dataset(lambda: parts.translators.request(body))
        return answer(job_with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    said = {"body": body.model_dump_json()}
    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/translators",
    response_model=Page[TranslatorSummary],
    summary="List translators",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_translators(parts: Parts, query: Annotated[TranslatorQuery, Query()]) -> Response:
    """List the translators that are ready, newest first; `GET /v1/jobs?kind=translation` has those in training."""
    return answer(parts.translators.page(query.limit, query.cursor, query))


@router.get(
    "/v1/translators/{translator_id}",
    response_model=Translator | TranslatorInTraining,
    summary="Get a translator",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_translator(translator_id: TranslatorId, parts: Parts) -> Response:
    """Get a translator: its generators, how it was trained and how good it is; of one in training how far it is."""
    return answer(with_links(parts.translators.get(translator_id)))


@router.delete(
    "/v1/translators/{translator_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete a translator",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.JOB_ENDED, *DELETING, *ANYWHERE),
)
def delete_translator(translator_id: TranslatorId, parts: Parts) -> Response:
    """Delete a translator, its checkpoint, samples and curves. Its generators stay, as models of their own."""
    parts.translators.delete(translator_id)
    return Response(status_code=204)


@router.post(
    "/v1/translators/{translator_id}/translate",
    summary="Translate images",
    response_class=Response,
    responses={
        200: {
            "description": "The image in the other domain, of the same size; of several images a zip.",
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
            ProblemKind.OVERLOADED,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
    openapi_extra=IMAGES_BODY,
)
async def translate(
    translator_id: TranslatorId,
    request: Request,
    parts: Parts,
    options: Annotated[TranslateOptions, Query()],
    accept: Annotated[
        str, Header(description="`image/png` (the default), `image/jpeg` or `image/webp`.", examples=["image/webp"])
    ] = "",
) -> Response:
    """Translate an image to the other domain: an image in, an image of the same size out.

    Any size will do. Images are turned upright by their EXIF orientation, their colours brought to sRGB, transparency
    is kept (JPEG has none: it is laid over white); of an animation the first frame is taken. Large ones are done in
    tiles, which cannot be seen: every tile is computed with the statistics of the whole image. Several files answer
    a zip.

        curl -F file=@dusk.jpg -o day.png 'http://localhost:8000/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/translate?direction=a2b'
        curl -H 'Content-Type: image/jpeg' -H 'Accept: image/webp' --data-binary @dusk.jpg -o day.webp \
             'http://localhost:8000/v1/translators/trl_…/translate?direction=a2b&quality=80'
        curl -F file=@dusk.jpg -o sheet.png 'http://localhost:8000/v1/translators/trl_…/translate?direction=a2b&cycle=true'
    """
    format_ = negotiated_format(accept)
    way = await run_in_threadpool(parts.translation.way, translator_id, options)
    images = await uploaded_images(request, parts.settings)
    if images is None:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_MEDIA_TYPE,
            f"Send an image as {FORM} (curl: -F file=@PATH) or as image/…, "
            f"not {media_type_of(request) or 'a body without a type'}.",
        )
    made = await parts.pool.run(
        lambda interrupt: parts.translation.translate(way, images, options, format_, interrupt),
        parts.settings.translation_seconds,
    )
    return Response(made.content, headers=made.headers, media_type=made.media_type)


@router.get(
    "/v1/translators/{translator_id}/samples",
    response_model=TranslatorSamples,
    summary="List contact sheets of training",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
def list_samples(translator_id: TranslatorId, parts: Parts) -> Response:
    """List the contact sheets of a translator, one for each checkpoint, live while it trains."""
    return answer(parts.translators.samples(translator_id))


@router.get(
    "/v1/translators/{translator_id}/samples/{step}",
    summary="See a contact sheet of training",
    response_class=Response,
    responses={
        **file_content(_PNG, what="A contact sheet."),
        **documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, ProblemKind.INVALID_REQUEST, *ANYWHERE),
    },
)
def get_sample(
    translator_id: TranslatorId,
    step: Annotated[
        int | Literal["latest"],
        in_one_sentence("must be a whole number of steps, or `latest`"),
        Path(description="After how many steps, one of those `…/samples` lists; or `latest`.", examples=["latest"]),
    ],
    request: Request,
    parts: Parts,
) -> Response:
    """See fixed images: each as it is, in the other domain, and translated back.

    curl -o sheet.png http://localhost:8000/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/samples/latest
    """
    content = parts.translators.sample(translator_id, None if step == "latest" else step)
    name = f"{translator_id}-{step}.png"
    return made_response(
        request, lambda: content, tag=hashlib.sha256(content).hexdigest(), filename=name, media_type=_PNG
    )


@router.get(
    "/v1/translators/{translator_id}/curves",
    response_model=TranslatorCurves,
    summary="See the losses of training",
    responses={
        200: {"content": {_PNG: {"schema": {"type": "string", "contentMediaType": _PNG, "format": "binary"}}}},
        **documented(ProblemKind.NOT_FOUND, ProblemKind.NOT_READY, *ANYWHERE, ProblemKind.BLOB_MISSING),
    },
)
def get_curves(
    translator_id: TranslatorId,
    parts: Parts,
    accept: Annotated[
        str, Header(description="`image/png` for an image; JSON if not given.", examples=["image/png"])
    ] = "",
) -> Response:
    """See how the losses went, live while it trains: JSON, or an image with `Accept: image/png`."""
    if prefers(accept, _PNG, "application/json"):
        return Response(parts.translators.curves_image(translator_id), media_type=_PNG)
    return answer(parts.translators.curves(translator_id))


@router.get(
    "/v1/translators/{translator_id}/content",
    summary="Download a translator's archive",
    response_class=Response,
    responses={**file_content("application/zip", what="The archive."), **documented(*DOWNLOADING)},
)
def get_translator_content(translator_id: TranslatorId, request: Request, parts: Parts) -> Response:
    """Download everything of a translator in one zip.

    Its generators as ONNX (`a2b.onnx`, `b2a.onnx`), its curves, its contact sheets, and the state that training goes on
    from. `Range` and `If-None-Match` work as for a model's file.
    """
    return own_file(request, parts, parts.translators.using(translator_id), ".zip", "application/zip")


@router.get(
    "/v1/translators/{translator_id}/files/{name}",
    summary="Download a further file of a translator",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_translator_file(translator_id: TranslatorId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the images that `files` of the translator lists.

    `Range` and `If-None-Match` work as for a model's file.
    """
    return further_file(request, parts, parts.translators.using(translator_id), name)
