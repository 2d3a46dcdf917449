"""Whether units can be explained: everything that can be known to be wrong before there is a job."""

from typing import Final, Literal

from app.services.sources import Sources, invalid, mismatch, wrong_kind
from app.services.tensor_checks import SampleTensors, shown
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.explanations import DerivedConcept, ExplanationRequest, Operator
from faceter.contracts.models import Model
from faceter.datasets.samples import first_few
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.derived import DERIVED
from faceter.graphs.packing import unpack_weights

About = Literal["images", "signals", "text"]
"""What samples are."""

_ABOUT: Final[dict[DatasetKind, About]] = {
    DatasetKind.CONCEPTS: "images",
    DatasetKind.SIGNALS: "signals",
    DatasetKind.TEXT_PAIRS: "text",
}

_AXES: Final[dict[About, dict[int, str]]] = {
    "images": {4: "[N, units, height, width]", 2: "[N, units]"},
    "signals": {3: "[N, units, length]", 2: "[N, units]"},
    "text": {2: "[N, units]"},
}
"""Axes a layer may have, by how many they are."""

_OTHERWISE: Final = "explain another model"


def check_said(request: ExplanationRequest) -> None:
    """See that a request does not contradict itself.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field at fault.
    """
    if request.quantile is not None and request.threshold is not None:
        raise invalid(
            "Both `quantile` and `threshold` say when a unit fires. Give one of them, or neither.", "threshold"
        )
    if request.joined_by == [Operator.NEIGHBORS] and request.max_length > 1:
        raise invalid(
            "`neighbors` alone joins no concepts, so that formulas cannot be longer than one. Add `or`, `and` or "
            "`and_not`, or give a `max_length` of 1.",
            "operators",
        )


def check_explanation(model: Model, request: ExplanationRequest, sources: Sources) -> None:
    """See that units of a model can be explained.

    Args:
        model: The model.
        request: What is asked for.
        sources: Where models and datasets are.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, on the field at fault.
    """
    check_said(request)
    dataset = sources.dataset(request.dataset_id, "dataset_id")
    about = _ABOUT.get(dataset.kind)
    if about is None:
        raise wrong_kind(dataset, f"units are explained by {', '.join(_ABOUT)}", "dataset_id")
    _check_options(request, about)
    match about:
        case "images":
            sources.check_takes(model, dataset, "dataset_id", otherwise=_OTHERWISE)
            _check_names(request, about, dataset, [name for names in dataset.concepts.values() for name in names])
        case "signals":
            _check_signals(model, request, dataset, sources)
        case "text":
            _check_pairs(model, request, dataset, sources)
    _check_layers(model, request, sources, about)


def _check_options(request: ExplanationRequest, about: About) -> None:
    """See that what is asked for makes sense for such samples."""
    for number, kind in enumerate(request.derived_concepts):
        if about not in DERIVED[kind]:
            raise invalid(
                f"The dataset holds {about}, in which no `{kind}` can be found. Leave it out of `derived_concepts`.",
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


def _check_signals(model: Model, request: ExplanationRequest, dataset: Dataset, sources: Sources) -> None:
    sources.check_takes(model, dataset, "dataset_id", otherwise=_OTHERWISE)
    with sources.opened(dataset, "dataset_id") as opened:
        assert isinstance(opened, SignalsDataset)
        _check_names(request, "signals", dataset, opened.concept_names)
        _check_classes(model, opened)


def _check_pairs(model: Model, request: ExplanationRequest, dataset: Dataset, sources: Sources) -> None:
    with sources.opened_pairs(dataset, "dataset_id") as opened:
        opened.inputs_of(model.inputs, cut=request.cut_sentences)
        _check_classes(model, opened)
        if Operator.NEIGHBORS in request.joined_by and not opened.has_vectors:
            raise invalid(
                f"`neighbors` are told by vectors of words, and {dataset.id} has no vectors.txt. Upload it with one, "
                "or leave `neighbors` out of `operators`.",
                "operators",
            )


def _check_classes(model: Model, opened: SignalsDataset | TextPairsDataset) -> None:
    """See that a classifier knows the classes of the samples, if they have any."""
    if model.metadata.task.classifies:
        opened.sample_labels(model.metadata.labels)


def _check_names(request: ExplanationRequest, about: About, dataset: Dataset, names: list[str]) -> None:
    """See that there are concepts, and that no derived one is called as one of them is."""
    if not names:
        raise mismatch(
            f"{dataset.id} says of no sample which concepts are there, so there is nothing to explain units by. Upload "
            "it with `concepts` and `concept_names`, or choose another.",
            "dataset_id",
        )
    known = {name.casefold() for name in names}
    for number, kind in enumerate(request.derived_concepts):
        twice = [name for name in _derived(kind, about) if name.casefold() in known]
        if twice:
            raise invalid(
                f"`{kind}` makes concepts of names that {dataset.id} has already: {first_few(twice)}. Leave it out of "
                "`derived_concepts`, or name the dataset's own differently.",
                f"derived_concepts.{number}",
            )


def _derived(kind: DerivedConcept, about: About) -> list[str]:
    return [name for names in DERIVED[kind][about].values() for name in names]


def _check_layers(model: Model, request: ExplanationRequest, sources: Sources, about: About) -> None:
    """See that layers and units exist, as far as shapes can be told."""
    tensors = SampleTensors(model, unpack_weights(sources.graph(model)))
    for name in request.layers:
        field = "layer" if isinstance(request.layer, str) else f"layer.{request.layer.index(name)}"
        info = tensors.find(name, field, "activations", inputs=False)
        if info is None or info.shape is None:
            continue
        axes = _AXES[about]
        if len(info.shape) not in axes:
            raise invalid(
                f"{name!r} is {shown(info.shape)} for {tensors.samples} samples, which has no axis of units: with "
                f"{about} a layer is {' or '.join(axes.values())}. Name another tensor.",
                field,
            )
        count = info.shape[1]
        if isinstance(count, int):
            _check_units(request, name, count)


def _check_units(request: ExplanationRequest, layer: str, count: int) -> None:
    for number, unit in enumerate(request.units or []):
        if unit >= count:
            raise invalid(
                f"{layer!r} has {count:,} units, 0 to {count - 1}: there is no unit {unit}.", f"units.{number}"
            )
