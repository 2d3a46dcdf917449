"""`/v1/models`: upload, list, look into, download, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.http.bodies import MODEL_UPLOAD, file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file, own_file
from app.http.forms import name_of, read_form, sha256_of
from app.http.idempotency import fingerprint
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    DELETING,
    LOCATION,
    UPLOADING,
    FileName,
    IdempotencyKey,
    ModelId,
    Paging,
    answer,
)
from app.http.problems import documented
from app.services.container import Parts
from app.services.models.service import ModelFilter, parse_metadata, with_links
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.graphs import Graph
from faceter.contracts.models import Model, ModelSummary

router = APIRouter(tags=["models"])


class ModelQuery(ModelFilter, Paging):
    """Which models, and which page of them."""


@router.post(
    "/v1/models",
    status_code=201,
    response_description="Kept.",
    response_model=Model,
    summary="Upload a model",
    responses={
        201: {"headers": LOCATION},
        **documented(
            *UPLOADING,
            *CREATING,
            ProblemKind.INVALID_MODEL,
            ProblemKind.EXTERNAL_DATA,
            ProblemKind.CUSTOM_OPERATORS,
            ProblemKind.UNSUPPORTED_OPSET,
            ProblemKind.MODEL_NOT_RUNNABLE,
            ProblemKind.INVALID_METADATA,
            ProblemKind.METADATA_MISMATCH,
            *ANYWHERE,
        ),
    },
    openapi_extra=MODEL_UPLOAD,
)
async def add_model(request: Request, parts: Parts, idempotency_key: IdempotencyKey = None) -> Response:
    r"""Check an ONNX file and keep it.

    The file is checked (opset 11 to 21, standard operators, weights inside the file), loaded by ONNX Runtime and run
    once on zeros, and the metadata is held against the graph. Nothing is kept of an upload that fails. The same file
    twice is stored once.

        curl -F file=@resnet20.onnx -F name=resnet20 -F 'metadata={"task": "image_classification"}' \
             http://localhost:8000/v1/models
    """
    async with read_form(request, parts.settings, files=("file",), fields=("name", "metadata")) as form:
        file = form.file("file")
        name = name_of(form, file)
        metadata = parse_metadata(form.fields.get("metadata"))

        async def work() -> Response:
            model = await parts.with_graph(lambda: parts.models.add(file.file, name, metadata))
            return answer(with_links(model), 201, {"Location": f"/v1/models/{model.id}"})

        said = {"name": name, "metadata": metadata.model_dump_json(), "file": await sha256_of(file)}
        return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/models",
    response_model=Page[ModelSummary],
    summary="List models",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_models(parts: Parts, query: Annotated[ModelQuery, Query()]) -> Response:
    """List models, newest first."""
    wanted = ModelFilter(**query.model_dump(include=set(ModelFilter.model_fields)))
    return answer(parts.models.page(query.limit, query.cursor, wanted))


@router.get(
    "/v1/models/{model_id}",
    response_model=Model,
    summary="Get a model",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_model(model_id: ModelId, parts: Parts) -> Response:
    """Get all that is known of a model: what it takes and gives, and for a quantized one the whole report."""
    return answer(with_links(parts.models.get(model_id)))


@router.delete(
    "/v1/models/{model_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete a model",
    responses=documented(ProblemKind.NOT_FOUND, *DELETING, *ANYWHERE),
)
def delete_model(model_id: ModelId, parts: Parts) -> Response:
    """Delete a model, unless a job that is queued or running needs it. Models made from it stay."""
    parts.models.delete(model_id)
    return Response(status_code=204)


@router.get(
    "/v1/models/{model_id}/content",
    summary="Download the ONNX file",
    response_class=Response,
    responses={
        **file_content("application/octet-stream", what="The ONNX file."),
        **documented(*DOWNLOADING),
    },
)
def get_model_content(model_id: ModelId, request: Request, parts: Parts) -> Response:
    """Download the ONNX file; the weights of a quantized model are packed at their bits.

    `Range` (one range, with `If-Range` if you like) downloads a part of it, `If-None-Match` only what has changed.
    """
    return own_file(request, parts, parts.models.using(model_id), ".onnx", "application/octet-stream")


@router.get(
    "/v1/models/{model_id}/files/{name}",
    summary="Download a further file of a model",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_model_file(model_id: ModelId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the files that `files` of the model lists.

    A tuned model has its `curves.json` (losses, agreement and accuracy step by step) and `curves.png`, one made for a
    `target` also `trade-off.png`. `Range` and `If-None-Match` work as for the ONNX file.
    """
    return further_file(request, parts, parts.models.using(model_id), name)


@router.get(
    "/v1/models/{model_id}/graph",
    response_model=Graph,
    summary="Look inside a model",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE, ProblemKind.BLOB_MISSING),
)
async def get_model_graph(model_id: ModelId, parts: Parts) -> Response:
    """Get layers, tensors with their shapes, operators, parameters and multiply-accumulates."""
    return answer(await parts.with_graph(lambda: parts.models.graph(model_id)))
