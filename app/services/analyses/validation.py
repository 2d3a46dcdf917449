"""Validation of analysis requests."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeVar, assert_never

from app.services.errors import invalid, mismatch
from app.services.job_inputs import JobInputs
from app.services.sample_tensors import SampleTensors
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
from faceter.datasets.errors import quoted_names
from faceter.graphs.dequantization import with_dequantized_tensors
from faceter.graphs.packing import unpack_weights

EXPLANATION: Final = "explanation_id"
"""Path parameter that references the explanation."""

_GRADED: Final = (Task.IMAGE_CLASSIFICATION, Task.OBJECT_DETECTION)
_MOST_ECHOED: Final = 200

R = TypeVar("R", Model, Dataset)


@dataclass(frozen=True)
class ResolvedAnalysis:
    """An explanation with its model and dataset, and the resources that the request references."""

    explanation: Explanation
    """The explanation."""
    model: Model
    """The model it explains."""
    dataset: Dataset
    """Its probe dataset."""
    labelled: Dataset | None
    """The labelled dataset of `interpretability`, if the request has one."""
    others: list[Model]
    """The models that `drift` compares with."""


def analysis_inputs(explanation: Explanation, request: AnalysisRequest, inputs: JobInputs) -> ResolvedAnalysis:
    """Return an explanation with its model and dataset, and the resources that a request references.

    Raises:
        FaceterError: `INVALID_REQUEST`, on the explanation if its model or dataset was deleted, else on the field
            that references a missing resource.
    """
    return ResolvedAnalysis(
        explanation=explanation,
        model=_require_existing(explanation, inputs.find_model(explanation.model_id), "model", explanation.model_id),
        dataset=_require_existing(
            explanation,
            inputs.find_dataset(explanation.settings.dataset_id),
            "dataset",
            explanation.settings.dataset_id,
        ),
        labelled=(
            inputs.dataset(request.dataset_id, "dataset_id")
            if isinstance(request, InterpretabilityRequest) and request.dataset_id is not None
            else None
        ),
        others=(
            [inputs.model(id, f"model_ids.{number}") for number, id in enumerate(request.model_ids)]
            if isinstance(request, DriftRequest)
            else []
        ),
    )


def validate_analysis(explanation: Explanation, request: AnalysisRequest, inputs: JobInputs) -> None:
    """Check that an explanation can be analysed.

    Args:
        inputs: Access to models and datasets.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `METHOD_NOT_APPLICABLE`, on the
            invalid field.
    """
    validate_options(request)
    explained = analysis_inputs(explanation, request, inputs)
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
            _check_correctness(explained, inputs)
        case CopyPasteRequest():
            _check_copy_paste(explained, request, inputs)
        case DriftRequest():
            _check_drift(explained, inputs)
        case other:
            assert_never(other)


def validate_options(request: AnalysisRequest) -> None:
    """Check that a request does not contradict itself.

    Raises:
        FaceterError: `INVALID_REQUEST` on the invalid field.
    """
    match request:
        case AbstractionsRequest():
            _check_related(request)
        case DriftRequest(model_ids=models):
            for number, id in enumerate(models):
                if id in models[:number]:
                    raise invalid(f"{id[:_MOST_ECHOED]} is given twice. Name each model once.", f"model_ids.{number}")
        case _:
            pass


def _require_existing(explanation: Explanation, record: R | None, noun: str, id: str) -> R:
    if record is None:
        raise invalid(
            f"The {noun} {id} that {explanation.id} was made with has been deleted since, and analyses need it. Upload "
            "it again, create a new explanation, and analyse that.",
            EXPLANATION,
        )
    return record


def _check_related(request: AbstractionsRequest) -> None:
    """Check that at most one measure of relatedness is given, and that all vectors have the same length."""
    if request.taxonomy is not None and request.embedding is not None:
        raise invalid(
            "Both `taxonomy` and `embedding` define which concepts are related. Give one of them, or neither.",
            "embedding",
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


def _check_correctness(explained: ResolvedAnalysis, inputs: JobInputs) -> None:
    """Check that it is known for which samples the model is correct: of the given or else the explanation's dataset."""
    explanation, model, labelled = explained.explanation, explained.model, explained.labelled
    if labelled is None:
        if not inputs.has_correctness(explanation):
            raise mismatch(_unknown_correctness_reason(explained), "dataset_id")
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
            f"The task of {model.id} is {task}, so it is not known which images it predicts correctly. Upload it again "
            f"as {' or '.join(_GRADED)}, and explain it again.",
            "dataset_id",
        )
    inputs.check_labelled(model, labelled, "dataset_id", f"interpretability of {task}")


def _unknown_correctness_reason(explained: ResolvedAnalysis) -> str:
    """Return why it is unknown for which samples the model is correct, and what to do."""
    if explained.explanation.about == "images":
        kind = "detection" if explained.model.metadata.detection else "images, in a folder for each class"
        return (
            f"The images of {explained.dataset.id} have concepts but no class, so it is not known which the model "
            f"predicts correctly. Name a labelled `dataset_id` of kind {kind}."
        )
    if not explained.model.metadata.task.classifies:
        return (
            f"The task of {explained.model.id} is {explained.model.metadata.task}, so it is not known what it predicts "
            "correctly. Upload it again as a classifier, and explain it again."
        )
    return (
        f"{explained.dataset.id} has no labels, so it is not known what the model predicts correctly. Upload it "
        "again with labels, and explain it again."
    )


def _check_copy_paste(explained: ResolvedAnalysis, request: CopyPasteRequest, inputs: JobInputs) -> None:
    """Check that the model has a class to change predictions to, and units with weights to classes."""
    model, about = explained.model, explained.explanation.about
    if about == "signals":
        raise _not_applicable("copy_paste is for images and text, not for signals. Choose another kind.")
    if model.metadata.text is not None:
        raise _not_applicable(
            "copy_paste of text replaces words by their number in a vocabulary, and this model has a tokenizer. Choose "
            "another kind."
        )
    task, detection = model.metadata.task, model.metadata.detection
    if not task.classifies and (about == "text" or detection is None):
        kinds = "a classifier" if about == "text" else "a classifier, or a detector with `detection` in its metadata"
        raise _not_applicable(
            f"The task of {model.id} is {task}, so it has no class to change predictions to. Upload it again as "
            f"{kinds}, and explain it again."
        )
    labels = model.metadata.labels
    if labels is None:
        raise _not_applicable(
            f"The metadata of {model.id} has no `labels`, so classes have no names. Upload it again with labels, and "
            "explain it again."
        )
    if request.label not in labels:
        folded = {label.casefold(): label for label in labels}
        similar = [folded[name] for name in get_close_matches(request.label.casefold(), folded, n=5)]
        hint = f"Similar labels: {quoted_names(similar)}." if similar else f"Its labels are {quoted_names(labels)}."
        raise invalid(f"{model.id} has no label {request.label!r}. {hint}", "label")
    if about == "text" and not any(
        with_class.weight is not None
        for unit in inputs.units(explained.explanation)
        if unit.formula is not None
        for with_class in unit.classes
    ):
        layers = quoted_names(explained.explanation.settings.layers)
        raise _not_applicable(
            f"The layer {layers} does not feed the last linear layer, so its units have no weights to classes. "
            "Explain the layer before the last linear one, and analyse that explanation."
        )


def _check_drift(explained: ResolvedAnalysis, inputs: JobInputs) -> None:
    """Check that models share an origin with the explained one, accept its samples and have its layers."""
    origins = _origins(explained.model, inputs)
    for number, other in enumerate(explained.others):
        field = f"model_ids.{number}"
        if not origins & _origins(other, inputs) and other.inputs != explained.model.inputs:
            raise invalid(
                f"{other.id} has no common origin with {explained.model.id}: neither was derived from the other or "
                "from its origin, and their inputs differ. Name models derived from it, such as quantized ones.",
                field,
            )
        _check_compatible(other, explained, field, inputs)
        _check_layers(other, explained, field, inputs)


def _origins(model: Model, inputs: JobInputs) -> set[str]:
    """Return the ids of a model and of the models it was derived from, the last of which may be deleted."""
    ids: set[str] = set()
    current: Model | None = model
    while current is not None and current.id not in ids:
        ids.add(current.id)
        if current.derived_from_id is None:
            break
        origin = current.derived_from_id
        current = inputs.find_model(origin)
        if current is None:
            ids.add(origin)
    return ids


def _check_compatible(model: Model, explained: ResolvedAnalysis, field: str, inputs: JobInputs) -> None:
    explanation, dataset = explained.explanation, explained.dataset
    if explanation.about == "text":
        inputs.check_texts(model, dataset, field, cut=explanation.settings.cut_sentences)
    else:
        inputs.check_compatible(model, dataset, field, otherwise="name another model")


def _check_layers(model: Model, explained: ResolvedAnalysis, field: str, inputs: JobInputs) -> None:
    """Check that a model has every explained layer, with as many units."""
    layers = {layer.layer: layer for layer in explained.explanation.layers}
    graph = with_dequantized_tensors(unpack_weights(inputs.graph(model)), list(layers))
    tensors = SampleTensors(model, graph)
    for name, layer in layers.items():
        try:
            info = tensors.find(name, field, "activations", inputs=False)
        except FaceterError as error:
            raise invalid(
                f"{error.detail} Drift compares layers of equal names: use a model derived from {explained.model.id}.",
                field,
            ) from error
        shape = None if info is None else info.shape
        axis = -1 if model.metadata.text is not None else 1
        if shape is not None and (len(shape) < 2 or (isinstance(shape[axis], int) and shape[axis] != layer.shape[0])):
            raise invalid(
                f"{name!r} in {model.id} does not have the {layer.shape[0]:,} units it has in {explained.model.id}. "
                "Use a model with the same layers.",
                field,
            )


def _not_applicable(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail, field="kind")
