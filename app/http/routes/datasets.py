"""`/v1/datasets`: upload, list, download, delete."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from app.http.bodies import DATASET_UPLOAD, drawn_image
from app.http.dataset_fields import parse_kind, parse_paired
from app.http.dependencies import AppCore, Datasets
from app.http.forms import name_of, read_form, sha256_of
from app.http.idempotency import Once
from app.http.links import address, with_links
from app.http.parameters import ANYWHERE, CREATING, LOCATION, UPLOADING, DatasetId
from app.http.problems import documented
from app.http.record_routes import RecordTexts, add_record_routes
from app.http.responses import json_response
from app.http.stored_files import generated_response
from app.services.datasets.service import DatasetService
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import ProblemKind
from faceter.contracts.references import ResourceName

router = APIRouter(tags=["datasets"])

_PNG: Final = "image/png"


@router.post(
    "/v1/datasets",
    status_code=201,
    response_description="Stored.",
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
async def add_dataset(request: Request, core: AppCore, datasets: Datasets, once: Once) -> Response:
    """Validate and store a dataset.

    The whole file is checked: every image is decoded, every annotation and label is checked against its image, and
    every value of signals or features and every text pair is checked. A zip or `.npz` is rejected if an entry has a
    path outside the archive, unpacks to too much data or is a link. If a check fails, nothing is stored. A folder
    around everything does not matter, nor does what file managers add; `warnings` tell what was ignored.

        curl -F file=@cifar10-test.zip -F kind=images -F name=cifar10-test http://localhost:8000/v1/datasets
        curl -F file=@ecg-test.npz -F kind=signals -F name=ecg-test http://localhost:8000/v1/datasets
        curl -F file=@real.npz -F kind=features -F name=real http://localhost:8000/v1/datasets
        curl -F file=@streets.zip -F kind=concepts -F name=streets http://localhost:8000/v1/datasets
        curl -F file=@snli.zip -F kind=text_pairs -F name=snli http://localhost:8000/v1/datasets
        curl -F file=@reviews.csv -F kind=texts -F name=reviews http://localhost:8000/v1/datasets
        curl -F file=@dusk2day.zip -F kind=domains -F name=dusk2day http://localhost:8000/v1/datasets
        curl -F file=@labels2photo.zip -F kind=domains -F paired=true http://localhost:8000/v1/datasets

    `images`: a zip of images. Their class is the first folder below those around everything, or that of an index file:
    lines of a path and a class, as `val.txt` (white space or tab) or `labels.csv` (comma, semicolon or tab, with or
    without a header). Classes that are numbers stand for the outputs of the model, from 0; `classes.txt` may name them.

    `detection`: a zip with `annotations.json` (or `annotations/instances_*.json`) in COCO format, with boxes, or masks
    to take the box of; or an XML file of PASCAL VOC for each image; or a text file of YOLO for each image, with a
    `data.yaml`, `classes.txt` or `obj.names`. Crowds and difficult objects are ignored in matching.

    `concepts`: a zip with `images/NAME.jpg` (or another image format); `labels/CATEGORY/NAME.png`, a PNG of the size of
    the image with one channel (8 or 16 bits, or a palette), whose pixel values are 0 for no concept and k for the k-th
    concept of the category; `concepts.json`, `{"CATEGORY": ["name", …]}`, with unique names; and optional
    `image_labels.csv` with the header `image,category,concept`, for concepts of whole images. A category with a folder
    in `labels/` needs a file for each image, a category without one needs rows in `image_labels.csv`.

    `text_pairs`: a zip with `pairs.jsonl`, one object per line with `premise` and `hypothesis` (tokens separated by
    white space) and optional `label`, `premise_tags` and `hypothesis_tags` (as many tags as tokens); `vocab.txt`, one
    word per line, whose id is the line number from 0 (0 is padding, 1 is unknown words); and optional `vectors.txt` in
    the format of GloVe, one word and its vector per line.

    `texts`: a text file, UTF-8. Either JSON lines, one object per line with `text` and optional `label` and `tags` (as
    many as the text has words, separated by white space); or a table (CSV or TSV) whose first line names these columns.
    Labels that are whole numbers stand for the outputs of the model, from 0. For a model with a tokenizer `text_pairs`
    needs no `vocab.txt`.

    `domains`: a zip with the images of the two domains of a translator, one domain in `A/`, the other in `B/`, at least
    two images each, in any subfolders. With `paired=true`, each image `A/NAME` (including subfolders) needs an image
    `B/NAME` of the same width and height; the file extension may differ, and so may upper and lower case. `trainA/` and
    `trainB/` will do as well; images in `testA/` and `testB/` are then passed over. Without such folders, `paired=true`
    takes each image as a pair side by side, A on the left.
    """
    async with read_form(request, core.settings, files=("file",), fields=("name", "kind", "paired")) as form:
        file = form.file("file")
        name = name_of(form, file)
        kind = parse_kind(form.fields.get("kind"))
        paired = parse_paired(form.fields.get("paired"), kind)

        async def work() -> Response:
            dataset = await core.with_dataset(lambda: datasets.add(file.file, name, kind, paired))
            return json_response(with_links(dataset), 201, {"Location": address(ResourceName.DATASETS, dataset.id)})

        parts = {"name": name, "kind": kind.value, "file": await sha256_of(file)}
        if paired is not None:
            parts["paired"] = str(paired)
        return await once(parts, work)


add_record_routes(
    router,
    DatasetService,
    RecordTexts(
        list="List datasets, newest first.",
        get="Get a dataset: number of samples, classes, concepts.",
        delete="Delete a dataset, unless a queued or running job uses it.",
        content_summary="Download the file of a dataset",
        content="Download the file as uploaded or made by a job: a zip, for `signals` and `features` an `.npz`, for "
        "`texts` the text file.",
        files="Download one of the `files` of the dataset.\n\nSynthetic images of a quantization have a "
        "`contact-sheet.png`.",
    ),
)


@router.get(
    "/v1/datasets/{dataset_id}/samples/{index}/image",
    summary="Get an image of a sample",
    response_class=Response,
    responses={
        **drawn_image("The sample as an image."),
        **documented(
            ProblemKind.NOT_FOUND,
            ProblemKind.NOT_ACCEPTABLE,
            ProblemKind.INVALID_REQUEST,
            *ANYWHERE,
            ProblemKind.BLOB_MISSING,
        ),
    },
)
def get_dataset_sample_image(
    dataset_id: DatasetId,
    index: Annotated[int, Path(ge=0, description="Position of the sample in the dataset, from 0.", examples=[42])],
    request: Request,
    datasets: Datasets,
    max_side: Annotated[
        int,
        Query(ge=1, le=4096, description="Pixels of the longer side; larger images are reduced to it.", examples=[256]),
    ] = 1024,
) -> Response:
    """Get a sample of a dataset of images as a PNG, upright; of `domains`, the images of A come first.

    curl -o sample.png http://localhost:8000/v1/datasets/dts_4x8k2m9q0v7r3t6w1y5z/samples/42/image
    """
    dataset = datasets.get(dataset_id)
    return generated_response(
        request,
        lambda: datasets.sample_image(dataset_id, index, max_side),
        tag=f"{dataset.sha256}-{index}-{max_side}",
        filename=f"{dataset.name}-{index}.png",
        media_type=_PNG,
    )
