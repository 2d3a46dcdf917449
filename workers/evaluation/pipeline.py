"""An evaluation job: from two stored datasets to a stored evaluation with its plots."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError
from faceter.contracts.evaluations import Evaluation, EvaluationRequest, FeatureDescription
from faceter.contracts.jobs import EvaluationJob, JobResult
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_inputs
from faceter.engines.input_shapes import at_input_shapes
from faceter.graphs.output_activation import probability_outputs
from faceter.graphs.working import load_working_graph
from faceter.store.library import Library
from faceter.vision.classification import probabilities as as_probabilities
from faceter.vision.metadata import class_output
from workers.evaluation.artifacts import EvaluatedSets, evaluation_files, neighbors_file, ranking_lengths
from workers.evaluation.feature_extraction import activations, feature_dataset
from workers.evaluation.feature_sets import FeatureSet, read_features, validate_sizes
from workers.evaluation.metrics import EvaluationMetrics, compute_metrics, seconds_of_distances, seconds_of_model
from workers.evaluation.points import Floats
from workers.evaluation.warnings import evaluation_warnings
from workers.jobs.context import JobContext
from workers.jobs.journal import StoredJournal
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import scratch_folder
from workers.jobs.stages import Stage, Stages

_ROLES = ("reference", "generated")


@dataclass(frozen=True)
class _SampleSet:
    """The real or the generated samples."""

    role: str
    dataset: Dataset
    """Named by the request."""
    feature_dataset: Dataset
    """Dataset of its features."""
    features: FeatureSet


def evaluate(context: JobContext, specification: EvaluationJob) -> JobResult:
    """Evaluate generated samples against real ones, and return the stored evaluation.

    Args:
        context: Of the job.
        specification: Names both datasets and the metrics.

    Raises:
        FaceterError: If the two datasets cannot be compared.
    """
    started = time.monotonic()
    request = specification.request
    library = context.library
    model = (
        None
        if request.features is None
        else at_input_shapes(library.models.get(request.features.model_id), request.features.input_shapes)
    )
    stages = context.stages(_expected_seconds(library, request))
    reference, generated = (_sample_set(context, stages, request, model, role) for role in _ROLES)
    validate_sizes(reference.features, generated.features, max(request.ks))
    inputs = _inputs(library, request, reference, generated, model)
    computed = compute_metrics(
        reference.features,
        generated.features,
        request,
        None if request.classifier_id is None else partial(_probabilities, context, request.classifier_id, generated),
        stages.enter("computing metrics"),
        _journal(context, request, inputs),
        context.division,
    )
    stages.enter("drawing plots")
    sets = EvaluatedSets(reference.features, generated.features, computed)
    content = neighbors_file(sets)
    blob = context.store_blob(content)
    name = request.name or f"{generated.dataset.name[:90]} against {reference.dataset.name[:90]}"
    files = evaluation_files(context, request, sets, reference.dataset, generated.dataset, name)
    warnings = evaluation_warnings(reference.features, generated.features, request, computed)
    stages.enter("storing the evaluation")
    return context.result(
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
            metrics=computed.metrics,
            sweep=computed.sweep,
            per_class=computed.per_class,
            shown=ranking_lengths(sets),
            warnings=[*warnings, *_class_warnings(request, computed)],
            seconds=round(time.monotonic() - started, 2),
            provenance=provenance_of(request.model_dump(mode="json"), inputs, request.seed),
            files=files,
        )
    )


def _sample_set(
    context: JobContext, stages: Stages, request: EvaluationRequest, model: Model | None, role: str
) -> _SampleSet:
    """Return one of the two sets with its features, extracted if they do not exist yet."""
    library, settings = context.library, context.settings
    dataset = library.datasets.get(getattr(request, f"{role}_id"))
    features_of = dataset
    if request.features is not None:
        assert model is not None
        features_of = feature_dataset(
            library,
            settings,
            dataset,
            model,
            request.features,
            role,
            stages.enter(f"features of the {role} dataset"),
        )
    stages.enter(f"reading features of the {role} dataset")
    with FeaturesDataset.open(library.blobs.path(features_of.sha256), settings) as opened:
        # one random generator for each set, so that a subsample does not depend on the other set's size
        rng = np.random.default_rng([request.seed, role == "generated"])
        features = read_features(
            scratch_folder(settings),
            opened,
            max_samples=request.subsample,
            rng=rng,
            names=_names(library, settings, dataset),
        )
    return _SampleSet(role, dataset, features_of, features)


def _names(library: Library, settings: Settings, dataset: Dataset) -> NDArray[np.str_] | None:
    if dataset.kind is not DatasetKind.IMAGES:
        return None
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as opened:
        assert isinstance(opened, ImagesDataset)
        return np.array(opened.names, np.str_)


def _probabilities(context: JobContext, classifier_id: str, generated: _SampleSet, progress: Stage) -> Floats:
    """Return p(y|x) of each generated sample, [M, K]."""
    library = context.library
    model = library.models.get(classifier_id)
    content = library.blobs.read(model.sha256)
    output = class_output(model.metadata, model.outputs).name
    made_by_softmax = output in probability_outputs(load_working_graph(content, model.metadata).model)
    probabilities: list[Floats] = []
    done = 0
    dataset = generated.dataset
    with open_inputs(library.blobs.path(dataset.sha256), dataset.kind, context.settings) as opened:
        for values in activations(content, model, opened, output, "generated"):
            probabilities.append(_class_probabilities(values.float().cpu().numpy(), made_by_softmax=made_by_softmax))
            done += len(values)
            progress(done / dataset.samples)
    return np.concatenate(probabilities)[generated.features.indices]


def _class_probabilities(values: NDArray[np.float32], *, made_by_softmax: bool) -> Floats:
    """Return a distribution over classes for each sample; a quantized softmax is scaled to sum 1 again."""
    try:
        rows = as_probabilities(values, are_probabilities=made_by_softmax)
    except FaceterError as error:
        raise FaceterError(error.kind, error.detail, field="classifier_id") from error
    if not made_by_softmax:
        return rows
    sums = rows.sum(axis=1, keepdims=True)
    return np.where(sums > 0, rows / np.where(sums > 0, sums, 1.0), 1 / rows.shape[1])


def _journal(context: JobContext, request: EvaluationRequest, inputs: dict[str, str]) -> StoredJournal:
    key = f"{request.model_dump_json()} {sorted(inputs.items())}"
    return StoredJournal(
        context.load_checkpoint,
        context.save_checkpoint,
        context.settings.checkpoint_seconds,
        hashlib.sha256(key.encode()).hexdigest(),
    )


def _inputs(
    library: Library, request: EvaluationRequest, reference: _SampleSet, generated: _SampleSet, model: Model | None
) -> dict[str, str]:
    inputs = {"reference": reference.dataset.sha256, "generated": generated.dataset.sha256}
    if model is not None:
        inputs["features_model"] = model.sha256
    if request.classifier_id is not None:
        inputs["classifier"] = library.models.get(request.classifier_id).sha256
    return inputs


def _description(
    request: EvaluationRequest, model: Model | None, reference: _SampleSet, generated: _SampleSet
) -> FeatureDescription:
    return FeatureDescription(
        source="dataset" if model is None else "model",
        model_id=None if model is None else model.id,
        model_sha256=None if model is None else model.sha256,
        tensor=None if request.features is None else request.features.tensor,
        dimensions=reference.features.width,
        reference_features_id=reference.feature_dataset.id,
        generated_features_id=generated.feature_dataset.id,
    )


def _expected_seconds(library: Library, request: EvaluationRequest) -> dict[str, float]:
    """Return the stages of the job with the seconds that each may take on two cores."""
    samples = {role: library.datasets.get(getattr(request, f"{role}_id")).samples for role in _ROLES}
    seconds: dict[str, float] = {}
    for role, count in samples.items():
        seconds[f"features of the {role} dataset"] = 0.0 if request.features is None else seconds_of_model(count)
        seconds[f"reading features of the {role} dataset"] = 0.1 + 1e-4 * count
    limit = request.subsample or max(samples.values())
    compared = [min(count, limit) for count in samples.values()]
    classifying = 0.0 if request.classifier_id is None else seconds_of_model(samples["generated"])
    return {
        **seconds,
        "computing metrics": seconds_of_distances(compared[0], compared[1]) + classifying,
        "drawing plots": 3.0 + 1e-4 * sum(compared),
        "storing the evaluation": 0.5,
    }


def _class_warnings(request: EvaluationRequest, computed: EvaluationMetrics) -> list[str]:
    if not request.per_class:
        return []
    if not computed.per_class:
        return ["There are no values per class: the two datasets have no class name in common."]
    too_few = [item.label for item in computed.per_class if not item.values]
    return [f"Classes with too few samples for values of their own: {', '.join(too_few[:10])}."] if too_few else []
