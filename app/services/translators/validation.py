"""Validation of requests to train translators."""

from typing import Final

from app.services.errors import invalid, mismatch, wrong_kind
from app.services.evaluations.feature_validation import check_tensor
from app.services.job_inputs import JobInputs, check_operators
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.settings import Settings
from faceter.contracts.translation_methods import GeneratorKind, TranslationMethod
from faceter.contracts.translators import (
    LEAST_IMAGE_SIZE,
    PUBLISHED_EPOCHS,
    TranslatorTraining,
    discriminator_layers_at,
    unet_depth_at,
)

_NETWORK: Final = ("generator", "base_channels", "residual_blocks", "direction")
_CYCLEGAN_OPTIONS: Final = ("identity", "cycle_weight")
_PIX2PIX_OPTIONS: Final = ("l1_weight", "direction")


def validate_training(request: TranslatorTraining, inputs: JobInputs, settings: Settings) -> TranslatorTraining:
    """Check that a translator can be trained as asked.

    Args:
        inputs: Access to models and datasets.
        settings: Limits.

    Returns:
        The request with defaults filled in, and with the network options of `resume_from_id`.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`.
    """
    validate_budget(request, settings)
    request = _with_resumed_networks(request, inputs)
    _check_size(request)
    _check_datasets(request, inputs)
    dataset = inputs.dataset(request.dataset_id, "dataset_id")
    _check_images(request, dataset, inputs)
    _check_features(request, inputs)
    defaults: dict[str, object] = {"generator": request.kind}
    if request.kind is GeneratorKind.RESNET:
        defaults["residual_blocks"] = request.blocks
    if request.max_minutes is None and request.epochs is None:
        defaults["epochs"] = PUBLISHED_EPOCHS
    return request.model_copy(update=defaults)


def _check_datasets(request: TranslatorTraining, inputs: JobInputs) -> None:
    """Check that all referenced resources exist and have the right kind.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, each on the field.
    """
    for field in ("dataset_id", "evaluation_dataset_id"):
        id = getattr(request, field)
        if id is None:
            continue
        dataset = inputs.dataset(id, field)
        if dataset.kind is not DatasetKind.DOMAINS:
            raise wrong_kind(dataset, "a translator is trained on one of kind domains (a zip with A/ and B/)", field)
        if request.method is TranslationMethod.PIX2PIX and not dataset.paired:
            raise mismatch(
                f"pix2pix needs pairs, and {dataset.id} was not uploaded with `paired=true`. Upload it with that "
                "option and with pairs A/NAME and B/NAME, or use cyclegan, which needs no pairs.",
                field,
            )
    if request.features is not None:
        inputs.model(request.features.model_id, "features.model_id")
    if request.resume_from_id is not None:
        inputs.translator(request.resume_from_id, "resume_from_id")


def validate_options(request: TranslatorTraining) -> None:
    """Check that the options of a new request are consistent, and are options of its method.

    For new requests only: in stored ones every field is set.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if request.max_minutes is not None and request.epochs is not None:
        raise invalid("Give `max_minutes` or `epochs`, not both.", "epochs")
    other_options = _PIX2PIX_OPTIONS if request.method is TranslationMethod.CYCLEGAN else _CYCLEGAN_OPTIONS
    for field in other_options:
        if field in request.model_fields_set:
            raise invalid(f"`{field}` is not an option of {request.method}. Leave it out.", field)
    if request.residual_blocks is not None and request.resume_from_id is None and request.kind is GeneratorKind.UNET:
        raise invalid("A unet has no residual blocks. Leave `residual_blocks` out.", "residual_blocks")


def validate_budget(request: TranslatorTraining, settings: Settings) -> None:
    """Check that the budget is within the operator's limit.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if request.max_minutes is not None and request.max_minutes > settings.max_tuning_minutes:
        raise invalid(
            f"The limit of this server is {settings.max_tuning_minutes:g} minutes of training; {request.max_minutes:g} "
            "were requested.",
            "max_minutes",
        )


def _check_size(request: TranslatorTraining) -> None:
    multiple = request.kind.multiple
    size = request.image_size
    if size % multiple:
        lower = size - size % multiple
        nearest = f"{lower} or {lower + multiple}" if lower >= multiple else f"{multiple}"
        raise invalid(
            f"A {request.kind} downsamples its images, so `image_size` must be a multiple of {multiple}, which {size} "
            f"is not: use {nearest}.",
            "image_size",
        )


def _with_resumed_networks(request: TranslatorTraining, inputs: JobInputs) -> TranslatorTraining:
    """Return the request with the network options of the translator it resumes from."""
    if request.resume_from_id is None:
        return request
    translator = inputs.translator(request.resume_from_id, "resume_from_id")
    previous = translator.settings
    if previous is None:
        raise invalid(
            f"{translator.id} was created from uploaded generators, so its training cannot be resumed. Name a "
            "translator that was trained here.",
            "resume_from_id",
        )
    if previous.method is not request.method:
        raise invalid(
            f"{translator.id} was trained by {previous.method}, and cannot be resumed with {request.method}.", "method"
        )
    for field in _NETWORK:
        given, existing = getattr(request, field), getattr(previous, field)
        if field in request.model_fields_set and given != existing:
            option = f"no `{field}`" if existing is None else f"`{field}` {existing}"
            raise invalid(f"The networks of {translator.id} have {option}. Leave it out.", field)
    request = request.model_copy(update={field: getattr(previous, field) for field in _NETWORK})
    if layers_at(request.image_size, request.kind) != layers_at(previous.image_size, request.kind):
        raise invalid(
            f"The networks of {translator.id} are for images of {previous.image_size} × {previous.image_size}; at "
            f"{request.image_size} they would have other layers. Give an `image_size` of {previous.image_size}.",
            "image_size",
        )
    return request


def layers_at(image_size: int, kind: GeneratorKind) -> tuple[int, int]:
    """Return the parts of the architecture that depend on the image size.

    Args:
        image_size: Side of the training images, pixels; a multiple of 32 for a unet.
        kind: Architecture of the generators.

    Returns:
        Depth of a unet (0 for a resnet), and number of downsampling layers of the discriminator.
    """
    depth = unet_depth_at(image_size) if kind is GeneratorKind.UNET else 0
    return depth, discriminator_layers_at(image_size)


def _check_images(request: TranslatorTraining, dataset: Dataset, inputs: JobInputs) -> None:
    """Check that no image is smaller than the training crop."""
    with inputs.opened_domains(dataset, "dataset_id") as opened:
        name, (width, height) = min(opened.sizes(), key=lambda item: min(item[1]))
    if min(width, height) < request.image_size:
        most = min(width, height) - min(width, height) % request.kind.multiple
        instead = f"an `image_size` of at most {most}, or other images" if most >= LEAST_IMAGE_SIZE else "larger images"
        raise mismatch(
            f"Images must be at least `image_size` on both sides, {request.image_size} × {request.image_size}; "
            f"'{name}' is {width} × {height}. Give {instead}.",
            "image_size",
        )


def _check_features(request: TranslatorTraining, inputs: JobInputs) -> None:
    if request.features is None:
        return
    model = inputs.model(request.features.model_id, "features.model_id")
    if model.metadata.preprocessing is None:
        raise invalid(
            f"The metadata of {model.id} has no `preprocessing`, so it is not known how images are converted to its "
            "input. Upload it again with preprocessing, or leave `features` out.",
            "features.model_id",
        )
    graph = inputs.graph(model)
    check_operators(graph, "Feature extraction", "features.model_id")
    check_tensor(model, graph, request.features.tensor, "features.tensor")
