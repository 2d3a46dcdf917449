"""Whether a translator can be trained: everything that can be known to be wrong before there is a job."""

import io
from typing import Final

from PIL import Image

from app.services.evaluations.feature_checks import check_tensor
from app.services.sources import Sources, check_operators, invalid, mismatch, wrong_kind
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.settings import Settings
from faceter.contracts.translators import (
    LEAST_IMAGE_SIZE,
    PUBLISHED_EPOCHS,
    GeneratorKind,
    TranslationMethod,
    TranslatorTraining,
    discriminator_layers_at,
    unet_depth_at,
)
from faceter.datasets.domains import DomainsDataset

_NETWORK: Final = ("generator", "base_channels", "residual_blocks", "direction")
_OF_CYCLEGAN: Final = ("identity", "cycle_weight")
_OF_PIX2PIX: Final = ("l1_weight", "direction")


def check_training(request: TranslatorTraining, sources: Sources, settings: Settings) -> TranslatorTraining:
    """See that a translator can be trained as asked.

    Args:
        request: What is asked for.
        sources: Where models and datasets are.
        settings: Limits.

    Returns:
        The request with what it leaves to be chosen filled in, its networks those of `resume_from_id`.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`.
    """
    check_said(request, settings)
    request = _continued(request, sources)
    _check_size(request)
    look_up(request, sources)
    dataset = sources.dataset(request.dataset_id, "dataset_id")
    _check_images(request, dataset, sources)
    _check_features(request, sources)
    chosen: dict[str, object] = {"generator": request.kind}
    if request.kind is GeneratorKind.RESNET:
        chosen["residual_blocks"] = request.blocks
    if request.max_minutes is None and request.epochs is None:
        chosen["epochs"] = PUBLISHED_EPOCHS
    return request.model_copy(update=chosen)


def look_up(request: TranslatorTraining, sources: Sources) -> None:
    """See that everything a request names is there and of the right kind.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, each on the field.
    """
    for field in ("dataset_id", "evaluation_dataset_id"):
        id = getattr(request, field)
        if id is None:
            continue
        dataset = sources.dataset(id, field)
        if dataset.kind is not DatasetKind.DOMAINS:
            raise wrong_kind(dataset, "a translator is trained on one of kind domains (a zip with A/ and B/)", field)
        if request.method is TranslationMethod.PIX2PIX and not dataset.paired:
            raise mismatch(
                f"pix2pix learns from pairs, and {dataset.id} was not uploaded with `paired=true`. Upload it so, with "
                "A/NAME and B/NAME of equal names, or take cyclegan, which needs no pairs.",
                field,
            )
    if request.features is not None:
        sources.model(request.features.model_id, "features.model_id")
    if request.resume_from_id is not None:
        sources.translator(request.resume_from_id, "resume_from_id")


def check_said(request: TranslatorTraining, settings: Settings) -> None:
    """See that what a request says does not contradict itself, the method or the operator's limits.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if request.max_minutes is not None and request.epochs is not None:
        raise invalid("Give `max_minutes` or `epochs`, not both.", "epochs")
    if request.max_minutes is not None and request.max_minutes > settings.max_tuning_minutes:
        raise invalid(
            f"This server trains for {settings.max_tuning_minutes:g} minutes at most, and {request.max_minutes:g} were "
            "asked for.",
            "max_minutes",
        )
    others = _OF_PIX2PIX if request.method is TranslationMethod.CYCLEGAN else _OF_CYCLEGAN
    for field in others:
        if field in request.model_fields_set:
            raise invalid(f"`{field}` is no setting of {request.method}. Leave it out.", field)
    if request.residual_blocks is not None and request.resume_from_id is None and request.kind is GeneratorKind.UNET:
        raise invalid("A unet has no residual blocks. Leave `residual_blocks` out.", "residual_blocks")


def _check_size(request: TranslatorTraining) -> None:
    multiple = request.kind.multiple
    size = request.image_size
    if size % multiple:
        lower = size - size % multiple
        near = f"{lower} or {lower + multiple}" if lower >= multiple else f"{multiple}"
        raise invalid(
            f"A {request.kind} halves its images, so `image_size` must be a multiple of {multiple}, which {size} is "
            f"not: take {near}.",
            "image_size",
        )


def _continued(request: TranslatorTraining, sources: Sources) -> TranslatorTraining:
    """Return the request with the networks of the translator it goes on from."""
    if request.resume_from_id is None:
        return request
    translator = sources.translator(request.resume_from_id, "resume_from_id")
    before = translator.settings
    if before is None:
        raise invalid(
            f"{translator.id} is made of uploaded generators, so there is no training to go on with. Name a translator "
            "that was trained here.",
            "resume_from_id",
        )
    if before.method is not request.method:
        raise invalid(
            f"{translator.id} was trained by {before.method}, and cannot go on by {request.method}.", "method"
        )
    for field in _NETWORK:
        given, had = getattr(request, field), getattr(before, field)
        if field in request.model_fields_set and given != had:
            words = f"no `{field}`" if had is None else f"`{field}` {had}"
            raise invalid(f"The networks of {translator.id} have {words}. Leave it out.", field)
    request = request.model_copy(update={field: getattr(before, field) for field in _NETWORK})
    if layers_at(request.image_size, request.kind) != layers_at(before.image_size, request.kind):
        raise invalid(
            f"The networks of {translator.id} are for images of {before.image_size} × {before.image_size}; at "
            f"{request.image_size} they would have other layers. Give an `image_size` of {before.image_size}.",
            "image_size",
        )
    return request


def layers_at(image_size: int, kind: GeneratorKind) -> tuple[int, int]:
    """Return all that an image size decides of what networks look like.

    Args:
        image_size: Sides of the images trained on, pixels; a multiple of 32 for a unet.
        kind: What generators look like.

    Returns:
        How deep a unet is, 0 for a resnet, and how many layers of the discriminator halve the size.
    """
    depth = unet_depth_at(image_size) if kind is GeneratorKind.UNET else 0
    return depth, discriminator_layers_at(image_size)


def _check_images(request: TranslatorTraining, dataset: Dataset, sources: Sources) -> None:
    """See that no image is smaller than what training looks at."""
    with sources.opened_domains(dataset, "dataset_id") as opened:
        smallest = min(((_size(opened, name), name) for name in opened.names), key=lambda found: min(found[0]))
    (width, height), name = smallest
    if min(width, height) < request.image_size:
        most = min(width, height) - min(width, height) % request.kind.multiple
        instead = f"an `image_size` of {most} at most, or other images" if most >= LEAST_IMAGE_SIZE else "larger images"
        raise mismatch(
            f"Images must be at least `image_size` on both sides, {request.image_size} × {request.image_size}; "
            f"'{name}' is {width} × {height}. Give {instead}.",
            "image_size",
        )


def _size(dataset: DomainsDataset, name: str) -> tuple[int, int]:
    """Return an image's width and height, from its header alone."""
    with Image.open(io.BytesIO(dataset.archive.read(name, max_bytes=dataset.archive.size(name)))) as image:
        return image.size


def _check_features(request: TranslatorTraining, sources: Sources) -> None:
    if request.features is None:
        return
    model = sources.model(request.features.model_id, "features.model_id")
    if model.metadata.preprocessing is None:
        raise invalid(
            f"The metadata of {model.id} has no `preprocessing`, so it is not known how images become its input. "
            "Upload it again with preprocessing, or leave `features` out.",
            "features.model_id",
        )
    graph = sources.graph(model)
    check_operators(graph, "Describing images", "features.model_id")
    check_tensor(model, graph, request.features.tensor, "features.tensor")
