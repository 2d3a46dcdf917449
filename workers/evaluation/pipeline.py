"""An evaluation job: from two stored datasets to a stored evaluation with its plots."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError
from faceter.contracts.evaluations import Evaluation, EvaluationRequest, FeatureDescription
from faceter.contracts.jobs import EvaluationJob, JobResult
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_dataset, open_inputs
from faceter.store.library import Library
from faceter.vision.classification import probabilities as as_probabilities
from faceter.vision.metadata import class_output
from workers.evaluation.artifacts import Pair, evaluation_files, neighbors_file, shown_counts
from workers.evaluation.cautions import cautions
from workers.evaluation.context import Context
from workers.evaluation.embedding import activations, embedded
from workers.evaluation.feature_sets import FeatureSet, check_sizes, read_features
from workers.evaluation.grading import Graded, grade
from workers.evaluation.points import Floats
from workers.jobs.journal import StoredJournal
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import scratch_folder

_CORNERS = {"reference": 0.02, "generated": 0.2, "classifier": 0.38, "grading": 0.5, "plots": 0.92}


@dataclass(frozen=True)
class _Side:
    """One of the two sets."""

    role: str
    dataset: Dataset
    """As the user named it."""
    described: Dataset
    """Its features."""
    features: FeatureSet


def evaluate(context: Context, specification: EvaluationJob) -> JobResult:
    """Grade a dataset of generated samples, and hand over the evaluation.

    Args:
        context: The job's.
        specification: What against what, and how.

    Raises:
        FaceterError: Whatever keeps the two from being compared, in words to act on.
    """
    began = time.monotonic()
    request = specification.request
    library = context.library
    model = None if request.features is None else library.models.get(request.features.model_id)
    reference, generated = (_side(context, request, model, role) for role in ("reference", "generated"))
    check_sizes(reference.features, generated.features, max(request.ks))
    probabilities = _probabilities(context, request, generated)
    inputs = _inputs(library, request, reference, generated, model)
    graded = grade(
        reference.features,
        generated.features,
        request,
        probabilities,
        lambda step, share: context.progress(step, _at(share, "grading", "plots")),
        _journal(context, request, inputs),
    )
    context.progress("drawing plots", _CORNERS["plots"])
    pair = Pair(reference.features, generated.features, graded)
    content = neighbors_file(pair)
    blob = context.store_blob(content)
    name = request.name or f"{generated.dataset.name[:90]} against {reference.dataset.name[:90]}"
    files = evaluation_files(context, request, pair, reference.dataset, generated.dataset, name)
    warnings = cautions(reference.features, generated.features, request, graded)
    context.progress("storing the evaluation", 0.99)
    return context.add_evaluation(
        Evaluation(
            id=context.new_id("evl"),
            name=name,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            settings=request,
            reference_sha256=reference.dataset.sha256,
            generated_sha256=generated.dataset.sha256,
            reference_samples=len(reference.features),
            generated_samples=len(generated.features),
            k=request.ks[0],
            features=_description(request, model, reference, generated),
            metrics=graded.metrics,
            sweep=graded.sweep,
            per_class=graded.per_class,
            shown=shown_counts(pair),
            warnings=[*warnings, *_class_notes(request, graded)],
            seconds=round(time.monotonic() - began, 2),
            provenance=provenance_of(request.model_dump(mode="json"), inputs, request.seed),
            files=files,
        )
    )


def _side(context: Context, request: EvaluationRequest, model: Model | None, role: str) -> _Side:
    """Return one of the two sets with its features, computed if they are not there yet."""
    library, settings = context.library, context.settings
    dataset = library.datasets.get(getattr(request, role))
    described = dataset
    start = _CORNERS[role]
    context.progress(f"reading the {role} dataset", start)
    if request.features is not None:
        assert model is not None
        described = embedded(
            library,
            settings,
            dataset,
            model,
            request.features,
            role,
            lambda done: context.progress(f"features of the {role} dataset", start + 0.15 * done),
        )
    context.progress(f"reading features of the {role} dataset", start + 0.15)
    with open_dataset(library.blobs.path(described.sha256), DatasetKind.FEATURES, settings) as opened:
        # one generator for each set, so that what is drawn from one does not depend on the other's size
        rng = np.random.default_rng([request.seed, role == "generated"])
        features = read_features(
            scratch_folder(settings), opened, most=request.subsample, rng=rng, names=_names(library, settings, dataset)
        )
    return _Side(role, dataset, described, features)


def _names(library: Library, settings: Settings, dataset: Dataset) -> NDArray[np.str_] | None:
    if dataset.kind is not DatasetKind.IMAGES:
        return None
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as opened:
        assert isinstance(opened, ImagesDataset)
        return np.array(opened.names, np.str_)


def _probabilities(context: Context, request: EvaluationRequest, generated: _Side) -> Floats | None:
    """Return p(y|x) of each generated sample, [M, K], if there is a classifier."""
    if request.classifier_id is None:
        return None
    library = context.library
    model = library.models.get(request.classifier_id)
    content = library.blobs.read(model.sha256)
    output = class_output(model.metadata, model.outputs).name
    found: list[Floats] = []
    done = 0
    dataset = generated.dataset
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, context.settings) as opened:
        for values in activations(content, model, opened, output, "generated"):
            found.append(_classes(values.float().cpu().numpy()))
            done += len(values)
            share = done / dataset.samples
            context.progress("classifying the generated samples", _at(share, "classifier", "grading"))
    return np.concatenate(found)[generated.features.indices]


def _classes(values: NDArray[np.float32]) -> Floats:
    try:
        return as_probabilities(values)
    except FaceterError as error:
        raise FaceterError(error.kind, error.detail, field="classifier_id") from error


def _journal(context: Context, request: EvaluationRequest, inputs: dict[str, str]) -> StoredJournal:
    said = f"{request.model_dump_json()} {sorted(inputs.items())}"
    return StoredJournal(
        context.load_checkpoint,
        context.save_checkpoint,
        context.settings.checkpoint_seconds,
        hashlib.sha256(said.encode()).hexdigest(),
    )


def _inputs(
    library: Library, request: EvaluationRequest, reference: _Side, generated: _Side, model: Model | None
) -> dict[str, str]:
    inputs = {"reference": reference.dataset.sha256, "generated": generated.dataset.sha256}
    if model is not None:
        inputs["features_model"] = model.sha256
    if request.classifier_id is not None:
        inputs["classifier"] = library.models.get(request.classifier_id).sha256
    return inputs


def _description(
    request: EvaluationRequest, model: Model | None, reference: _Side, generated: _Side
) -> FeatureDescription:
    return FeatureDescription(
        source="dataset" if model is None else "model",
        model_id=None if model is None else model.id,
        model_sha256=None if model is None else model.sha256,
        tensor=None if request.features is None else request.features.tensor,
        dimensions=reference.features.width,
        reference_features_id=reference.described.id,
        generated_features_id=generated.described.id,
    )


def _at(share: float, start: str, end: str) -> float:
    """Return the share of the whole job that is done when this share of one of its parts is."""
    return _CORNERS[start] + share * (_CORNERS[end] - _CORNERS[start])


def _class_notes(request: EvaluationRequest, graded: Graded) -> list[str]:
    if not request.per_class:
        return []
    if not graded.per_class:
        return ["There is no table of classes: the two datasets have no class of one name in common."]
    few = [item.label for item in graded.per_class if not item.values]
    return [f"Classes with too few samples to be graded by themselves: {', '.join(few[:10])}."] if few else []
