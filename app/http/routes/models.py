"""`/v1/models`: upload, list, inspect, download, delete."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from app.http.bodies import MODEL_UPLOAD
from app.http.dependencies import AppCore, Models
from app.http.forms import name_of, read_form, sha256_of
from app.http.idempotency import Once
from app.http.links import address, with_links
from app.http.metadata_field import parse_metadata
from app.http.parameters import ANYWHERE, CREATING, LOCATION, UPLOADING, ModelId
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.services.core import Core
from app.services.models.service import ModelService
from app.services.models.text_upload import FIELD as TOKENIZER_PART
from faceter.contracts.errors import ProblemKind
from faceter.contracts.graphs import Graph
from faceter.contracts.models import Model, ModelDescription, ModelMetadata
from faceter.contracts.references import ResourceName

router = APIRouter(tags=["models"])

_REFUSALS: Final = (
    ProblemKind.INVALID_MODEL,
    ProblemKind.EXTERNAL_DATA,
    ProblemKind.CUSTOM_OPERATORS,
    ProblemKind.UNSUPPORTED_OPSET,
    ProblemKind.MODEL_NOT_RUNNABLE,
    ProblemKind.INVALID_METADATA,
    ProblemKind.METADATA_MISMATCH,
    ProblemKind.INVALID_TOKENIZER,
)


@router.post(
    "/v1/models",
    status_code=201,
    response_description="Stored.",
    response_model=Model,
    summary="Upload a model",
    responses={
        201: {"headers": LOCATION},
        **documented(
            *UPLOADING,
            *CREATING,
            *_REFUSALS,
            *ANYWHERE,
        ),
    },
    openapi_extra=MODEL_UPLOAD,
)
async def add_model(request: Request, core: AppCore, models: Models, once: Once) -> Response:
    r"""Validate and store an ONNX file.

    The file is checked (opset 7 or later, operators that ONNX Runtime has, weights inside the file), loaded by ONNX
    Runtime and run once on zeros, and the metadata is checked against the graph. If a check fails, nothing is stored.
    Equal files are stored once.

        curl -F file=@resnet20.onnx -F name=resnet20 -F 'metadata={"task": "image_classification"}' \
             http://localhost:8000/v1/models
        curl -F file=@minilm.onnx -F tokenizer=@tokenizer.json -F 'metadata={"task": "text_embedding"}' \
             http://localhost:8000/v1/models

    With the `tokenizer.json` of a text model, `predict` takes texts. The inputs for token ids, mask and types are found
    by their names unless `text` in the metadata names them. The model is run on a text, on the largest id of the
    tokenizer and at its maximum length. What was found is in the metadata of the answer.
    """
    async with _upload(request, core) as upload:

        async def work() -> Response:
            model = await core.with_upload(lambda: models.add(*upload.arguments), upload.bytes)
            return json_response(with_links(model), 201, {"Location": address(ResourceName.MODELS, model.id)})

        sent = {
            "name": upload.name,
            "metadata": upload.metadata.model_dump_json(),
            "file": await sha256_of(upload.file),
        }
        if upload.tokenizer is not None:
            sent[TOKENIZER_PART] = await sha256_of(upload.tokenizer)
        return await once(sent, work)


@router.post(
    "/v1/models/check",
    response_model=ModelDescription,
    summary="Check a model without storing it",
    responses=documented(*UPLOADING, *_REFUSALS, *ANYWHERE),
    openapi_extra=MODEL_UPLOAD,
)
async def check_model(request: Request, core: AppCore, models: Models) -> Response:
    """Check an ONNX file and its metadata as an upload does, and return what was understood. Nothing is stored.

    curl -F file=@resnet20.onnx http://localhost:8000/v1/models/check
    """
    async with _upload(request, core) as upload:
        return json_response(await core.with_upload(lambda: models.check(*upload.arguments), upload.bytes))


@dataclass(frozen=True)
class _ModelForm:
    file: UploadFile
    name: str
    metadata: ModelMetadata
    tokenizer: UploadFile | None

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.file.size or 0

    @property
    def arguments(self) -> tuple[BinaryIO, str, ModelMetadata, BinaryIO | None]:
        """Arguments of `ModelService.add` and `ModelService.check`."""
        return self.file.file, self.name, self.metadata, None if self.tokenizer is None else self.tokenizer.file


@asynccontextmanager
async def _upload(request: Request, core: Core) -> AsyncIterator[_ModelForm]:
    parts = ("file", TOKENIZER_PART)
    async with read_form(request, core.settings, files=parts, fields=("name", "metadata"), max_files=2) as form:
        file = form.file("file")
        tokenizer = form.file(TOKENIZER_PART) if TOKENIZER_PART in form.files else None
        yield _ModelForm(file, name_of(form, file), parse_metadata(form.fields.get("metadata")), tokenizer)


add_record_routes(
    router,
    ModelService,
    RecordTexts(
        list="List models, newest first.",
        get="Get a model: metadata, inputs, outputs, and for a quantized model the report.",
        delete="Delete a model, unless a queued or running job uses it. Models made from it are kept.",
        content_summary="Download the ONNX file",
        content="Download the ONNX file; the weights of a quantized model are packed at their bits.",
        files="Download one of the `files` of the model.\n\nA tuned model has `curves.json` (losses, agreement and "
        "accuracy by step) and `curves.png`, a model made for a `target` also `trade-off.png`. A text model has "
        "its `tokenizer.json`, also when it is quantized.",
    ),
)


@router.get(
    "/v1/models/{model_id}/graph",
    response_model=Graph,
    summary="Get the graph of a model",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
async def get_model_graph(model_id: ModelId, core: AppCore, models: Models) -> Response:
    """Get layers, tensors with shapes, operators, parameters and multiply-accumulate operations."""
    return json_response(await core.with_model(lambda: models.graph(model_id)))


@router.post(
    "/v1/models/{model_id}/load",
    response_model=Model,
    summary="Load a model into memory",
    responses=documented(
        ProblemKind.NOT_FOUND,
        ProblemKind.MODEL_NOT_RUNNABLE,
        ProblemKind.INFERENCE_FAILED,
        *ANYWHERE,
        ProblemKind.BLOB_MISSING,
    ),
)
async def load_model(model_id: ModelId, core: AppCore, models: Models) -> Response:
    """Load a model ahead of its first request, and measure which engine and batch size serve it fastest.

    It is measured again if it was before, such as on a busy host.
    Every process loads it, also after a restart, until it is unloaded or deleted. Models beyond the memory limit are
    dropped when others are used. What was measured is in `serving` of the answer.
    """
    return json_response(with_links(await core.with_model(lambda: models.load(model_id))))


@router.post(
    "/v1/models/{model_id}/unload",
    response_model=Model,
    summary="Drop a model from memory",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
async def unload_model(model_id: ModelId, core: AppCore, models: Models) -> Response:
    """Drop a model from memory; requests in progress are answered. The next request loads it again."""
    return json_response(with_links(await run_in_threadpool(models.unload, model_id)))
