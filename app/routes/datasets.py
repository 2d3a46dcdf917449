"""`/v1/datasets`: upload, list, download, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.content import content_response
from app.datasets import DatasetFilter, parse_kind, with_links
from app.forms import name_of, read_form, sha256_of
from app.idempotency import fingerprint
from app.problems import documented
from app.routes.common import (
    ANYWHERE,
    CREATING,
    DELETING,
    LOCATION,
    UPLOADING,
    DatasetId,
    IdempotencyKey,
    Paging,
    answer,
)
from app.routes.documentation import DATASET_UPLOAD, file_content
from app.services import Parts
from faceter.contracts.base import Page
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import ProblemKind

router = APIRouter(tags=["datasets"])


class DatasetQuery(DatasetFilter, Paging):
    """Which data sets, and which page of them."""


@router.post(
    "/v1/datasets",
    status_code=201,
    response_description="Kept.",
    response_model=Dataset,
    summary="Upload a data set",
    responses={
        201: {"headers": LOCATION},
        **documented(
            *UPLOADING,
            *CREATING,
            ProblemKind.INVALID_ARCHIVE,
            ProblemKind.UNSAFE_ARCHIVE,
            ProblemKind.ARCHIVE_TOO_LARGE,
            ProblemKind.INVALID_DATASET,
            ProblemKind.INVALID_IMAGE,
            ProblemKind.IMAGE_TOO_LARGE,
            *ANYWHERE,
        ),
    },
    openapi_extra=DATASET_UPLOAD,
)
async def add_dataset(request: Request, parts: Parts, idempotency_key: IdempotencyKey = None) -> Response:
    """Check a data set and keep it.

    The archive is checked on arrival: every picture is opened, every annotation held against its picture, and an entry
    that would unpack to somewhere else, to too much or to a link is refused. Nothing is kept of an upload that fails.

        curl -F file=@cifar10-test.zip -F kind=images -F name=cifar10-test http://localhost:8000/v1/datasets
    """
    async with read_form(request, parts.settings, files=("file",), fields=("name", "kind")) as form:
        file = form.file("file")
        name = name_of(form, file)
        kind = parse_kind(form.fields.get("kind"))

        async def work() -> Response:
            dataset = await parts.with_dataset(lambda: parts.datasets.add(file.file, name, kind))
            return answer(with_links(dataset), 201, {"Location": f"/v1/datasets/{dataset.id}"})

        said = {"name": name, "kind": kind.value, "file": await sha256_of(file)}
        return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/datasets",
    response_model=Page[Dataset],
    summary="List data sets",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_datasets(parts: Parts, query: Annotated[DatasetQuery, Query()]) -> Response:
    """List data sets, newest first."""
    wanted = DatasetFilter(**query.model_dump(include=set(DatasetFilter.model_fields)))
    page = parts.datasets.page(query.limit, query.cursor, wanted)
    return answer(page.model_copy(update={"items": [with_links(dataset) for dataset in page.items]}))


@router.get(
    "/v1/datasets/{dataset_id}",
    response_model=Dataset,
    summary="Get a data set",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_dataset(dataset_id: DatasetId, parts: Parts) -> Response:
    """Get what is known of a data set: how many samples, which classes."""
    return answer(with_links(parts.datasets.get(dataset_id)))


@router.delete(
    "/v1/datasets/{dataset_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete a data set",
    responses=documented(ProblemKind.NOT_FOUND, *DELETING, *ANYWHERE),
)
def delete_dataset(dataset_id: DatasetId, parts: Parts) -> Response:
    """Delete a data set, unless a job that is queued or running needs it."""
    parts.datasets.delete(dataset_id)
    return Response(status_code=204)


@router.get(
    "/v1/datasets/{dataset_id}/content",
    summary="Download a data set's file",
    response_class=Response,
    responses={
        **file_content("application/zip", "The file as it was uploaded."),
        **documented(ProblemKind.NOT_FOUND, ProblemKind.RANGE_NOT_SATISFIABLE, *ANYWHERE, ProblemKind.BLOB_MISSING),
    },
)
def get_dataset_content(dataset_id: DatasetId, request: Request, parts: Parts) -> Response:
    """Download the file as it was uploaded.

    `Range` (one range, with `If-Range` if you like) downloads a part of it, `If-None-Match` only what has changed.
    """
    dataset = parts.datasets.get(dataset_id)
    path = parts.library.blobs.path(dataset.sha256)
    return content_response(
        request, path, sha256=dataset.sha256, filename=f"{dataset.name}.zip", media_type="application/zip"
    )
