"""`/v1/datasets`: upload, list, download, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.http.bodies import DATASET_UPLOAD, file_content
from app.http.downloads import DOWNLOADING, FURTHER_FILE, further_file
from app.http.forms import name_of, read_form, sha256_of
from app.http.idempotency import fingerprint
from app.http.parameters import (
    ANYWHERE,
    CREATING,
    DELETING,
    LOCATION,
    UPLOADING,
    DatasetId,
    FileName,
    IdempotencyKey,
    Paging,
    answer,
)
from app.http.problems import documented
from app.http.stored_files import content_response
from app.services.container import Parts
from app.services.datasets.service import FILE_TYPES, DatasetFilter, parse_kind, parse_paired, with_links
from faceter.contracts.base import Page
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import ProblemKind

router = APIRouter(tags=["datasets"])


class DatasetQuery(DatasetFilter, Paging):
    """Which datasets, and which page of them."""


@router.post(
    "/v1/datasets",
    status_code=201,
    response_description="Kept.",
    response_model=Dataset,
    summary="Upload a dataset",
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
    """Check a dataset and keep it.

    The file is checked on arrival: every image is opened, every annotation and label held against its image, every
    value of a signal or of features and every pair of texts looked at, and an entry of a zip or `.npz` that would
    unpack to somewhere else, to too much or to a link is refused. Nothing is kept of an upload that fails.

        curl -F file=@cifar10-test.zip -F kind=images -F name=cifar10-test http://localhost:8000/v1/datasets
        curl -F file=@ecg-test.npz -F kind=signals -F name=ecg-test http://localhost:8000/v1/datasets
        curl -F file=@real.npz -F kind=features -F name=real http://localhost:8000/v1/datasets
        curl -F file=@streets.zip -F kind=concepts -F name=streets http://localhost:8000/v1/datasets
        curl -F file=@snli.zip -F kind=text_pairs -F name=snli http://localhost:8000/v1/datasets
        curl -F file=@dusk2day.zip -F kind=domains -F name=dusk2day http://localhost:8000/v1/datasets
        curl -F file=@labels2photo.zip -F kind=domains -F paired=true http://localhost:8000/v1/datasets

    `concepts`: a zip with `images/NAME.jpg` (or another ending); `labels/CATEGORY/NAME.png`, a PNG in the image's size
    of one channel (8 or 16 bits, or a palette) whose values are numbers: 0 for nothing, k for the k-th concept of the
    category; `concepts.json`, `{"CATEGORY": ["name", …]}`, no name twice; and optional `image_labels.csv` with the
    header `image,category,concept`, for concepts that are true of a whole image. A category with a folder in `labels/`
    needs a file for each image, one without needs rows in `image_labels.csv`.

    `text_pairs`: a zip with `pairs.jsonl`, an object a line of `premise` and `hypothesis` (text, its tokens separated
    by white space), optional `label`, `premise_tags` and `hypothesis_tags` (as many tags as tokens); `vocab.txt`, a
    word a line, the line's number from 0 being its id (0 pads, 1 stands for unknown words); and optional `vectors.txt`,
    a word and its numbers a line, as GloVe writes it.

    `domains`: a zip with the images of two domains between which a model is to translate, those of one in `A/`, those
    of the other in `B/`, at least two each; within them folders as you like. With `paired=true` each image `A/NAME`
    (a folder in the name included) needs a `B/NAME` of the same width and height, whose ending may be another.
    """
    async with read_form(request, parts.settings, files=("file",), fields=("name", "kind", "paired")) as form:
        file = form.file("file")
        name = name_of(form, file)
        kind = parse_kind(form.fields.get("kind"))
        paired = parse_paired(form.fields.get("paired"), kind)

        async def work() -> Response:
            dataset = await parts.with_dataset(lambda: parts.datasets.add(file.file, name, kind, paired))
            return answer(with_links(dataset), 201, {"Location": f"/v1/datasets/{dataset.id}"})

        said = {"name": name, "kind": kind.value, "file": await sha256_of(file)}
        if paired is not None:
            said["paired"] = str(paired)
        return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, said), work)


@router.get(
    "/v1/datasets",
    response_model=Page[Dataset],
    summary="List datasets",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_datasets(parts: Parts, query: Annotated[DatasetQuery, Query()]) -> Response:
    """List datasets, newest first."""
    wanted = DatasetFilter(**query.model_dump(include=set(DatasetFilter.model_fields)))
    page = parts.datasets.page(query.limit, query.cursor, wanted)
    return answer(page.model_copy(update={"items": [with_links(dataset) for dataset in page.items]}))


@router.get(
    "/v1/datasets/{dataset_id}",
    response_model=Dataset,
    summary="Get a dataset",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_dataset(dataset_id: DatasetId, parts: Parts) -> Response:
    """Get what is known of a dataset: how many samples, which classes."""
    return answer(with_links(parts.datasets.get(dataset_id)))


@router.delete(
    "/v1/datasets/{dataset_id}",
    status_code=204,
    response_description="Deleted.",
    summary="Delete a dataset",
    responses=documented(ProblemKind.NOT_FOUND, *DELETING, *ANYWHERE),
)
def delete_dataset(dataset_id: DatasetId, parts: Parts) -> Response:
    """Delete a dataset, unless a job that is queued or running needs it."""
    parts.datasets.delete(dataset_id)
    return Response(status_code=204)


@router.get(
    "/v1/datasets/{dataset_id}/content",
    summary="Download a dataset's file",
    response_class=Response,
    responses={
        **file_content(
            *sorted({file.media_type for file in FILE_TYPES.values()}), what="The file as it was uploaded or made."
        ),
        **documented(*DOWNLOADING),
    },
)
def get_dataset_content(dataset_id: DatasetId, request: Request, parts: Parts) -> Response:
    """Download the file as it was uploaded, or made: a zip, or for `signals` and `features` an `.npz`.

    `Range` (one range, with `If-Range` if you like) downloads a part of it, `If-None-Match` only what has changed.
    """
    with parts.datasets.using(dataset_id) as dataset:
        path = parts.library.blobs.path(dataset.sha256)
    file = FILE_TYPES[dataset.kind]
    return content_response(
        request, path, sha256=dataset.sha256, filename=f"{dataset.name}{file.suffix}", media_type=file.media_type
    )


@router.get(
    "/v1/datasets/{dataset_id}/files/{name}",
    summary="Download a further file of a dataset",
    response_class=Response,
    responses=FURTHER_FILE,
)
def get_dataset_file(dataset_id: DatasetId, name: FileName, request: Request, parts: Parts) -> Response:
    """Download one of the files that `files` of the dataset lists.

    Images that a quantization synthesized have a `contact-sheet.png`, which shows them side by side. `Range` and
    `If-None-Match` work as for the dataset's own file.
    """
    return further_file(request, parts, parts.datasets.using(dataset_id), name)
