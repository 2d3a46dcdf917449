"""Validation of evaluation requests."""

from dataclasses import dataclass
from typing import Final

from app.services.errors import invalid, mismatch, wrong_kind
from app.services.evaluations.estimate import Estimate, estimate, largest_subsample
from app.services.evaluations.feature_validation import check_class_output, check_tensor
from app.services.job_inputs import JobInputs, check_operators
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.evaluations import LEAST_SAMPLES, EvaluationRequest
from faceter.contracts.metrics import Metric
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.errors import quoted_names

_GRADED: Final = (DatasetKind.IMAGES, DatasetKind.SIGNALS, DatasetKind.FEATURES)
_OTHERWISE: Final = "name another model"
_GIB: Final = 2**30


@dataclass(frozen=True)
class EvaluationInputs:
    """The resources that a request references."""

    reference: Dataset
    """The real samples."""
    generated: Dataset
    """The generated samples."""
    extractor: Model | None
    """The feature extractor."""
    classifier: Model | None
    """The classifier of the inception score."""

    @property
    def datasets(self) -> dict[str, Dataset]:
        """Both datasets, by field."""
        return {"reference_id": self.reference, "generated_id": self.generated}


def evaluation_inputs(request: EvaluationRequest, inputs: JobInputs) -> EvaluationInputs:
    """Return the resources that a request references.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field that references a missing resource.
    """
    return EvaluationInputs(
        reference=inputs.dataset(request.reference_id, "reference_id"),
        generated=inputs.dataset(request.generated_id, "generated_id"),
        extractor=inputs.model(request.features.model_id, "features.model_id") if request.features else None,
        classifier=inputs.model(request.classifier_id, "classifier_id") if request.classifier_id is not None else None,
    )


def validate_evaluation(request: EvaluationRequest, inputs: JobInputs, settings: Settings) -> Estimate:
    """Check that an evaluation can be computed.

    Args:
        inputs: Access to models and datasets.
        settings: The operator's limits.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`, on the
            invalid field.
    """
    given = evaluation_inputs(request, inputs)
    _check_kinds(given)
    counts = _check_counts(request, given)
    if request.per_class:
        _check_classes(given)
    if given.reference.kind is DatasetKind.FEATURES:
        _check_feature_datasets(request)
        width: int | None = _check_widths(given, inputs)
    else:
        validate_classifier(request)
        width = _check_extractor(request, given, inputs)
    if given.classifier is not None:
        check_class_output(given.classifier, "classifier_id")
        inputs.check_compatible(given.classifier, given.generated, "classifier_id", otherwise=_OTHERWISE)
        check_operators(inputs.graph(given.classifier), "The inception score", "classifier_id")
    return _check_estimate(*counts, width or 1, settings)


def validate_classifier(request: EvaluationRequest) -> None:
    """Check that a classifier is given if and only if the inception score is requested.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `classifier_id`.
    """
    has_score = Metric.INCEPTION_SCORE in request.selected_metrics
    if has_score and request.classifier_id is None:
        raise invalid(
            "The inception score needs a `classifier_id`: the id of a model whose output is probabilities or logits of "
            "classes. Name one, or leave inception_score out of `metrics`.",
            "classifier_id",
        )
    if request.classifier_id is not None and not has_score:
        raise invalid(
            "A `classifier_id` is for the inception score, which `metrics` leaves out. Add inception_score there, or "
            "leave the classifier out.",
            "classifier_id",
        )


def _check_kinds(given: EvaluationInputs) -> None:
    for field, dataset in given.datasets.items():
        if dataset.kind not in _GRADED:
            raise wrong_kind(dataset, f"evaluations compare {', '.join(_GRADED)}", field)
    if given.generated.kind is not given.reference.kind:
        raise wrong_kind(
            given.generated, f"{given.reference.id}, the real one, of {given.reference.kind}", "generated_id"
        )


def _check_counts(request: EvaluationRequest, given: EvaluationInputs) -> tuple[int, int]:
    """Check that there are more samples than k and at least `LEAST_SAMPLES`; return N and M."""
    largest = max(request.ks)
    counts = []
    for field, dataset in given.datasets.items():
        count = dataset.samples if request.subsample is None else min(dataset.samples, request.subsample)
        counts.append(count)
        minimum = max(LEAST_SAMPLES, largest + 1)
        if count >= minimum:
            continue
        why = (
            f"k = {largest} needs {largest} other samples in each set"
            if largest >= LEAST_SAMPLES
            else "the nearest neighbours of each sample in its set are needed"
        )
        if count < dataset.samples:
            raise invalid(f"A `subsample` of {count} is too small: {why}. Take at least {minimum}.", "subsample")
        if count < LEAST_SAMPLES:
            raise invalid(
                f"{dataset.id} has {count} samples, too few: {why}. Upload at least {minimum}, better thousands.", field
            )
        raise invalid(
            f"{dataset.id} has {count} samples, too few for k: {why}. Take a k of {count - 1} at most, or more "
            "samples.",
            "k",
        )
    return counts[0], counts[1]


def _check_classes(given: EvaluationInputs) -> None:
    for dataset in given.datasets.values():
        if not dataset.classes:
            raise mismatch(f"{dataset.id} has no labels, so there are no classes to evaluate separately.", "per_class")
    if not set(given.reference.classes) & set(given.generated.classes):
        raise mismatch(
            f"No class of {given.generated.id} is one of {given.reference.id}, so none can be evaluated separately: "
            f"{quoted_names(given.generated.classes)} here, {quoted_names(given.reference.classes)} there.",
            "per_class",
        )


def _check_feature_datasets(request: EvaluationRequest) -> None:
    """Check that a request on datasets of features needs no model."""
    if request.features is not None:
        raise invalid(
            "The datasets hold features already, so no feature extractor is needed. Leave `features` out.",
            "features",
        )
    if request.classifier_id is not None:
        raise invalid(
            "The datasets hold features, which no classifier takes: the inception score needs the images or signals "
            "themselves. Leave `classifier_id` out.",
            "classifier_id",
        )
    if Metric.INCEPTION_SCORE in request.selected_metrics:
        raise invalid(
            "The inception score needs the images or signals themselves, and the datasets hold features. Leave it "
            "out of `metrics`.",
            "metrics",
        )


def _check_widths(given: EvaluationInputs, inputs: JobInputs) -> int:
    """Check that both datasets have the same number of features per sample; return it."""
    reference, generated = inputs.width(given.reference), inputs.width(given.generated)
    if reference != generated:
        raise mismatch(
            f"Features of {given.reference.id} have {reference:,} values each, those of {given.generated.id} "
            f"{generated:,}. Both must come from one feature extractor.",
            "generated_id",
        )
    return reference


def _check_extractor(request: EvaluationRequest, given: EvaluationInputs, inputs: JobInputs) -> int | None:
    """Check that the feature extractor accepts both datasets; return the number of features, if known."""
    if request.features is None or given.extractor is None:
        raise invalid(
            f"Datasets of kind {given.reference.kind} are compared by features: set `features` to a model for such "
            'data and one of its tensors, as in {"model_id": "mdl_…", "tensor": "avgpool"}.',
            "features",
        )
    model = given.extractor
    inputs.check_compatible(model, given.reference, "features.model_id", otherwise=_OTHERWISE)
    inputs.check_compatible(model, given.generated, "generated_id", otherwise=_OTHERWISE)
    graph = inputs.graph(model)
    check_operators(graph, "Feature extraction", "features.model_id")
    return check_tensor(model, graph, request.features.tensor, "features.tensor")


def _check_estimate(reference: int, generated: int, width: int, settings: Settings) -> Estimate:
    cost = estimate(reference, generated, width)

    def memory_fits(cost: Estimate) -> bool:
        return cost.bytes <= settings.max_evaluation_bytes

    def time_fits(cost: Estimate) -> bool:
        return cost.seconds <= settings.job_timeout_seconds

    if not memory_fits(cost):
        takes = f"{cost.bytes / _GIB:,.2f} GiB of memory"
        allows, setting = f"{settings.max_evaluation_bytes / _GIB:,.2f} GiB", "FACETER_MAX_EVALUATION_BYTES"
    elif not time_fits(cost):
        takes = f"{cost.seconds / 60:,.1f} minutes"
        allows, setting = f"{settings.job_timeout_seconds / 60:,.1f}", "FACETER_JOB_TIMEOUT_SECONDS"
    else:
        return cost
    most = largest_subsample(reference, generated, width, lambda cost: memory_fits(cost) and time_fits(cost))
    remedy = f"Give a `subsample` of at most {most:,}" if most >= LEAST_SAMPLES else "Use narrower features"
    raise invalid(
        f"Evaluating {generated:,} generated against {reference:,} real samples with {width:,} features is estimated "
        f"to take {takes}, and this server allows {allows}. {remedy}, or ask the operator to raise {setting}.",
        "subsample",
    )
