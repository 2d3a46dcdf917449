"""Whether an explanation can be analysed: everything that can be known to be wrong before there is a job."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeVar, assert_never

from app.services.sources import Sources, invalid, mismatch
from app.services.tensor_checks import SampleTensors
from faceter.contracts.analyses import (
    AbstractionsRequest,
    AnalysisRequest,
    CopyPasteRequest,
    DriftRequest,
    InterpretabilityRequest,
)
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.models import Model, Task
from faceter.datasets.samples import first_few
from faceter.graphs.moved_codes import with_values
from faceter.graphs.packing import unpack_weights

EXPLANATION: Final = "explanation_id"
"""The field of the address that names the explanation."""

_GRADED: Final = (Task.IMAGE_CLASSIFICATION, Task.OBJECT_DETECTION)
_MOST_ECHOED: Final = 200

R = TypeVar("R", Model, Dataset)


@dataclass(frozen=True)
class Explained:
    """An explanation with what it was made from, and what the request names."""

    explanation: Explanation
    """The explanation."""
    model: Model
    """The model it explains."""
    dataset: Dataset
    """The dataset it was made with."""
    labelled: Dataset | None
    """What `interpretability` counts on, if the request names it."""
    others: list[Model]
    """What `drift` compares with."""


def look_up(explanation: Explanation, request: AnalysisRequest, sources: Sources) -> Explained:
    """Return what an explanation was made from, and what a request names.

    Raises:
        FaceterError: `INVALID_REQUEST`, on the explanation if its model or dataset is gone, else on the field that
            names something that does not exist.
    """
    return Explained(
        explanation=explanation,
        model=_still_there(explanation, sources.find_model(explanation.model_id), "model", explanation.model_id),
        dataset=_still_there(
            explanation,
            sources.find_dataset(explanation.settings.dataset_id),
            "dataset_id",
            explanation.settings.dataset_id,
        ),
        labelled=(
            sources.dataset(request.dataset_id, "dataset_id")
            if isinstance(request, InterpretabilityRequest) and request.dataset_id is not None
            else None
        ),
        others=(
            [sources.model(id, f"models.{number}") for number, id in enumerate(request.model_ids)]
            if isinstance(request, DriftRequest)
            else []
        ),
    )


def check_analysis(explanation: Explanation, request: AnalysisRequest, sources: Sources) -> None:
    """See that an explanation can be analysed.

    Args:
        explanation: The explanation.
        request: What is asked for.
        sources: Where models and datasets are.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `METHOD_NOT_APPLICABLE`, on the field
            at fault.
    """
    check_said(request)
    explained = look_up(explanation, request, sources)
    if not isinstance(request, DriftRequest) and not any(layer.explained for layer in explanation.layers):
        raise invalid(
            f"No unit of {explanation.id} has a formula, so there is nothing to analyse. Explain other layers or "
            "units, or by more concepts.",
            EXPLANATION,
        )
    match request:
        case AbstractionsRequest():
            return
        case InterpretabilityRequest():
            _check_rightness(explained, sources)
        case CopyPasteRequest():
            _check_copy_paste(explained, request, sources)
        case DriftRequest():
            _check_drift(explained, sources)
        case other:
            assert_never(other)


def check_said(request: AnalysisRequest) -> None:
    """See that a request does not contradict itself.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field at fault.
    """
    match request:
        case AbstractionsRequest():
            _check_related(request)
        case DriftRequest(model_ids=models):
            for number, id in enumerate(models):
                if id in models[:number]:
                    raise invalid(f"{id[:_MOST_ECHOED]} is there twice. Name each model once.", f"models.{number}")
        case _:
            pass


def _still_there(explanation: Explanation, record: R | None, noun: str, id: str) -> R:
    if record is None:
        raise invalid(
            f"The {noun} {id} that {explanation.id} was made with has been deleted since, and analyses need it. Upload "
            "it again, explain anew, and analyse that explanation.",
            EXPLANATION,
        )
    return record


def _check_related(request: AbstractionsRequest) -> None:
    """See that at most one thing tells relatedness, and that vectors can be compared."""
    if request.taxonomy is not None and request.embedding is not None:
        raise invalid(
            "Both `taxonomy` and `embedding` say which concepts are related. Give one of them, or neither.", "embedding"
        )
    if request.taxonomy is not None and not any(request.taxonomy.values()):
        raise invalid(
            "The taxonomy names no concept, so nothing would be related. Give groups of names, or leave it out.",
            "taxonomy",
        )
    if request.embedding is None:
        return
    if not request.embedding:
        raise invalid(
            "The embedding has no vectors, so nothing would be related. Give one for each concept, or leave it out.",
            "embedding",
        )
    first, *_ = request.embedding
    length = len(request.embedding[first])
    for name, vector in request.embedding.items():
        field = f"embedding.{name[:_MOST_ECHOED]}"
        if not vector:
            raise invalid(f"The vector of {name[:_MOST_ECHOED]!r} is empty. Give its numbers, or leave it out.", field)
        if len(vector) != length:
            raise invalid(
                f"The vector of {name[:_MOST_ECHOED]!r} has {len(vector)} numbers, that of {first[:_MOST_ECHOED]!r} "
                f"{length}. Give vectors of one length.",
                field,
            )


def _check_rightness(explained: Explained, sources: Sources) -> None:
    """See that it is known where the model is right: on the dataset named, else on the explanation's own."""
    explanation, model, labelled = explained.explanation, explained.model, explained.labelled
    if labelled is None:
        if not sources.knows_right(explanation):
            raise mismatch(_why_unknown(explained), "dataset_id")
        return
    if explanation.about != "images":
        raise invalid(
            f"`dataset_id` is for explanations of images, and {explanation.id} is about {explanation.about}, whose own "
            "classes are counted on. Leave it out.",
            "dataset_id",
        )
    task = model.metadata.task
    if task not in _GRADED:
        raise mismatch(
            f"The task of {model.id} is {task}, so it is not known which images it gets right. Upload it again as "
            f"{' or '.join(_GRADED)}, and explain anew.",
            "dataset_id",
        )
    sources.check_labelled(model, labelled, "dataset_id", f"interpretability of {task}")


def _why_unknown(explained: Explained) -> str:
    """Return why an explanation does not know where the model is right, and what to do."""
    if explained.explanation.about == "images":
        kind = "detection" if explained.model.metadata.detection else "images, in a folder for each class"
        return (
            f"The images of {explained.dataset.id} have concepts but no class, so it is not known which the model "
            f"gets right. Name a labelled `dataset_id` of kind {kind}."
        )
    if not explained.model.metadata.task.classifies:
        return (
            f"The task of {explained.model.id} is {explained.model.metadata.task}, so it is not known what it gets "
            "right. Upload it again as a classifier, and explain anew."
        )
    return (
        f"{explained.dataset.id} has no labels, so it is not known what the model gets right. Upload it again with "
        "labels, and explain anew."
    )


def _check_copy_paste(explained: Explained, request: CopyPasteRequest, sources: Sources) -> None:
    """See that there is a class to bring about, and formulas that go with classes."""
    model, about = explained.model, explained.explanation.about
    if about == "signals":
        raise _not_applicable("Signals are not changed: copy_paste is for images and text. Choose another kind.")
    task, detection = model.metadata.task, model.metadata.detection
    if not task.classifies and (about == "text" or detection is None):
        kinds = "a classifier" if about == "text" else "a classifier, or a detector with `detection` in its metadata"
        raise _not_applicable(
            f"The task of {model.id} is {task}, so it has no class to bring about. Upload it again as {kinds}, and "
            "explain anew."
        )
    labels = model.metadata.labels
    if labels is None:
        raise _not_applicable(
            f"The metadata of {model.id} has no `labels`, so classes have no names. Upload it again with labels, and "
            "explain anew."
        )
    if request.label not in labels:
        folded = {label.casefold(): label for label in labels}
        near = [folded[name] for name in get_close_matches(request.label.casefold(), folded, n=5)]
        hint = f"Near it: {first_few(near)}." if near else f"Its labels are {first_few(labels)}."
        raise invalid(f"{model.id} has no label {request.label!r}. {hint}", "label")
    if about == "text" and not any(
        with_class.weight is not None
        for unit in sources.units(explained.explanation)
        if unit.formula is not None
        for with_class in unit.classes
    ):
        layers = first_few(explained.explanation.settings.layers)
        raise _not_applicable(
            f"The layer {layers} does not feed the last linear layer, so its units have no weights to classes. "
            "Explain the layer before the last linear one, and analyse that explanation."
        )


def _check_drift(explained: Explained, sources: Sources) -> None:
    """See that models are of one origin with the explained one, take its samples and have its layers."""
    origins = _origins(explained.model, sources)
    for number, other in enumerate(explained.others):
        field = f"models.{number}"
        if not origins & _origins(other, sources) and other.inputs != explained.model.inputs:
            raise invalid(
                f"{other.id} is not of one origin with {explained.model.id}: neither was made from the other or from "
                "what that was made from, and their inputs differ. Name models made from it, such as quantized ones.",
                field,
            )
        _check_takes(other, explained, field, sources)
        _check_layers(other, explained, field, sources)


def _origins(model: Model, sources: Sources) -> set[str]:
    """Return the ids of a model and of those it was made from, the last of which may be deleted."""
    found: set[str] = set()
    here: Model | None = model
    while here is not None and here.id not in found:
        found.add(here.id)
        if here.derived_from_id is None:
            break
        origin = here.derived_from_id
        here = sources.find_model(origin)
        if here is None:
            found.add(origin)
    return found


def _check_takes(model: Model, explained: Explained, field: str, sources: Sources) -> None:
    explanation, dataset = explained.explanation, explained.dataset
    if explanation.about == "text":
        with sources.opened_pairs(dataset, field) as opened:
            opened.inputs_of(model.inputs, cut=explanation.settings.cut_sentences)
    else:
        sources.check_takes(model, dataset, field, otherwise="name another model")


def _check_layers(model: Model, explained: Explained, field: str, sources: Sources) -> None:
    """See that a model has every explained layer, with as many units."""
    layers = {layer.layer: layer for layer in explained.explanation.layers}
    graph = with_values(unpack_weights(sources.graph(model)), list(layers))
    tensors = SampleTensors(model, graph)
    for name, layer in layers.items():
        try:
            info = tensors.find(name, field, "activations", inputs=False)
        except FaceterError as error:
            raise invalid(
                f"{error.detail} Drift compares layers of the same names: name a model made from {explained.model.id}.",
                field,
            ) from error
        shape = None if info is None else info.shape
        if shape is not None and (len(shape) < 2 or (isinstance(shape[1], int) and shape[1] != layer.shape[0])):
            raise invalid(
                f"{name!r} has other units in {model.id} than the {layer.shape[0]:,} in {explained.model.id}. Name a "
                "model with the same layers.",
                field,
            )


def _not_applicable(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail, field="kind")
