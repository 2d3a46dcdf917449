"""Validation of explanation requests."""

from typing import Final, Literal

from app.services.errors import invalid, mismatch, wrong_kind
from app.services.job_inputs import JobInputs
from app.services.sample_tensors import SampleTensors
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.explanations import DerivedConcept, ExplanationRequest, Operator
from faceter.contracts.models import Model, shape_text
from faceter.datasets.errors import quoted_names
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.explanations.derived import DERIVED_CONCEPTS
from faceter.explanations.units import no_such_unit
from faceter.graphs.packing import unpack_weights

About = Literal["images", "signals", "text"]
"""Type of the samples."""

_ABOUT: Final[dict[DatasetKind, About]] = {
    DatasetKind.CONCEPTS: "images",
    DatasetKind.SIGNALS: "signals",
    DatasetKind.TEXT_PAIRS: "text",
    DatasetKind.TEXTS: "text",
}

_AXES: Final[dict[About, dict[int, str]]] = {
    "images": {4: "[N, units, height, width]", 2: "[N, units]"},
    "signals": {3: "[N, units, length]", 2: "[N, units]"},
    "text": {2: "[N, units]"},
}
"""Allowed axes of a layer, by rank."""

_TOKEN_AXES: Final = {2: "[N, units]", 3: "[N, length, units]"}
"""The same for texts of a model with a tokenizer."""

_OTHERWISE: Final = "explain another model"


def validate_options(request: ExplanationRequest) -> None:
    """Check that a request does not contradict itself.

    Raises:
        FaceterError: `INVALID_REQUEST` on the invalid field.
    """
    if request.quantile is not None and request.threshold is not None:
        raise invalid(
            "Both `quantile` and `threshold` define when a unit fires. Give one of them, or neither.", "threshold"
        )
    if request.joined_by == [Operator.NEIGHBORS] and request.max_length > 1:
        raise invalid(
            "`neighbors` alone combines no concepts, so that formulas cannot be longer than one. Add `or`, `and` or "
            "`and_not`, or give a `max_length` of 1.",
            "operators",
        )


def validate_explanation(model: Model, request: ExplanationRequest, inputs: JobInputs) -> None:
    """Check that units of a model can be explained.

    Args:
        inputs: Access to models and datasets.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, on the invalid field.
    """
    validate_options(request)
    dataset = inputs.dataset(request.dataset_id, "dataset_id")
    about = _ABOUT.get(dataset.kind)
    if about is None:
        raise wrong_kind(dataset, f"units are explained by {', '.join(_ABOUT)}", "dataset_id")
    _check_options(request, about)
    match about:
        case "images":
            inputs.check_compatible(model, dataset, "dataset_id", otherwise=_OTHERWISE)
            _check_names(request, about, dataset, [name for names in dataset.concepts.values() for name in names])
        case "signals":
            _check_signals(model, request, dataset, inputs)
        case "text":
            _check_texts(model, request, dataset, inputs)
    _check_layers(model, request, inputs, about)


def _check_options(request: ExplanationRequest, about: About) -> None:
    """Check that the options apply to samples of this type."""
    for number, kind in enumerate(request.derived_concepts):
        if about not in DERIVED_CONCEPTS[kind]:
            raise invalid(
                f"The dataset holds {about}, which have no `{kind}`. Leave it out of `derived_concepts`.",
                f"derived_concepts.{number}",
            )
    if request.resolution is not None and about != "images":
        raise invalid(f"A `resolution` is for images, and the dataset holds {about}. Leave it out.", "resolution")
    if request.cut_sentences and about != "text":
        raise invalid(f"`cut_sentences` is for text, and the dataset holds {about}. Leave it out.", "cut_sentences")
    if Operator.NEIGHBORS in request.joined_by and about != "text":
        raise invalid(
            f"`neighbors` is for words, and the dataset holds {about}. Leave it out of `operators`.", "operators"
        )


def _check_signals(model: Model, request: ExplanationRequest, dataset: Dataset, inputs: JobInputs) -> None:
    inputs.check_compatible(model, dataset, "dataset_id", otherwise=_OTHERWISE)
    with inputs.opened(dataset, "dataset_id") as opened:
        assert isinstance(opened, SignalsDataset)
        _check_names(request, "signals", dataset, opened.concept_names)
        _check_classes(model, opened)


def _check_texts(model: Model, request: ExplanationRequest, dataset: Dataset, inputs: JobInputs) -> None:
    inputs.check_texts(model, dataset, "dataset_id", cut=request.cut_sentences)
    neighbors = Operator.NEIGHBORS in request.joined_by
    if neighbors and model.metadata.text is not None:
        raise invalid(
            "`neighbors` is for models without a tokenizer, whose words have vectors. Leave it out of `operators`.",
            "operators",
        )
    with inputs.opened(dataset, "dataset_id") as opened:
        assert isinstance(opened, TextPairsDataset | TextsDataset)
        _check_classes(model, opened)
        if neighbors and isinstance(opened, TextPairsDataset) and not opened.has_vectors:
            raise invalid(
                f"`neighbors` needs vectors of words, and {dataset.id} has no vectors.txt. Upload it with one, "
                "or leave `neighbors` out of `operators`.",
                "operators",
            )


def _check_classes(model: Model, opened: SignalsDataset | TextPairsDataset | TextsDataset) -> None:
    """Check that the labels of the samples, if any, are classes of the classifier."""
    if model.metadata.task.classifies:
        opened.sample_labels(model.metadata.labels)


def _check_names(request: ExplanationRequest, about: About, dataset: Dataset, names: list[str]) -> None:
    """Check that the dataset has concepts, and that derived ones have other names."""
    if not names:
        raise mismatch(
            f"{dataset.id} has no concepts, so units cannot be explained. Upload "
            "it again with `concepts` and `concept_names`, or choose another.",
            "dataset_id",
        )
    known = {name.casefold() for name in names}
    for number, kind in enumerate(request.derived_concepts):
        duplicates = [name for name in _derived(kind, about) if name.casefold() in known]
        if duplicates:
            raise invalid(
                f"`{kind}` creates concepts whose names {dataset.id} already has: {quoted_names(duplicates)}. Leave it "
                "out of `derived_concepts`, or rename the concepts of the dataset.",
                f"derived_concepts.{number}",
            )


def _derived(kind: DerivedConcept, about: About) -> list[str]:
    return [name for names in DERIVED_CONCEPTS[kind][about].values() for name in names]


def _check_layers(model: Model, request: ExplanationRequest, inputs: JobInputs, about: About) -> None:
    """Check that layers and units exist, as far as shapes are known."""
    tensors = SampleTensors(model, unpack_weights(inputs.graph(model)))
    for name in request.layers:
        field = "layer" if isinstance(request.layer, str) else f"layer.{request.layer.index(name)}"
        info = tensors.find(name, field, "activations", inputs=False)
        if info is None or info.shape is None:
            continue
        tokens = about == "text" and model.metadata.text is not None
        axes = _TOKEN_AXES if tokens else _AXES[about]
        if len(info.shape) not in axes:
            raise invalid(
                f"{name!r} is {shape_text(info.shape)} for {tensors.samples} samples, which has no axis of units: "
                f"with {about} a layer is {' or '.join(axes.values())}. Name another tensor.",
                field,
            )
        count = info.shape[-1 if tokens else 1]
        if isinstance(count, int):
            _check_units(request, name, count)


def _check_units(request: ExplanationRequest, layer: str, count: int) -> None:
    for number, unit in enumerate(request.units or []):
        if unit >= count:
            raise invalid(no_such_unit(layer, count, unit), f"units.{number}")
