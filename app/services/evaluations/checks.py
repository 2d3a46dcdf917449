"""Whether an evaluation can be done: everything that can be known to be wrong before there is a job."""

from dataclasses import dataclass
from typing import Final

from app.services.evaluations.estimate import Estimate, estimate, largest_subsample
from app.services.evaluations.feature_checks import check_class_output, check_tensor
from app.services.sources import Sources, check_operators, invalid, mismatch, wrong_kind
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.evaluations import LEAST_SAMPLES, EvaluationRequest, Metric
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.samples import first_few

_GRADED: Final = (DatasetKind.IMAGES, DatasetKind.SIGNALS, DatasetKind.FEATURES)
_OTHERWISE: Final = "name another model"
_GIB: Final = 2**30


@dataclass(frozen=True)
class Given:
    """What a request names."""

    reference: Dataset
    """The real samples."""
    generated: Dataset
    """The generated samples."""
    describer: Model | None
    """What makes features of them."""
    classifier: Model | None
    """What the inception score asks."""

    @property
    def datasets(self) -> dict[str, Dataset]:
        """Both datasets, by the fields that name them."""
        return {"reference_id": self.reference, "generated_id": self.generated}


def look_up(request: EvaluationRequest, sources: Sources) -> Given:
    """Return what a request names.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field that names something that does not exist.
    """
    return Given(
        reference=sources.dataset(request.reference_id, "reference_id"),
        generated=sources.dataset(request.generated_id, "generated_id"),
        describer=sources.model(request.features.model_id, "features.model_id") if request.features else None,
        classifier=sources.model(request.classifier_id, "classifier_id") if request.classifier_id is not None else None,
    )


def check_evaluation(request: EvaluationRequest, sources: Sources, settings: Settings) -> None:
    """See that an evaluation can be done.

    Args:
        request: What is asked for.
        sources: Where models and datasets are.
        settings: The operator's limits.

    Raises:
        FaceterError: `INVALID_REQUEST`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`, on the field
            at fault.
    """
    given = look_up(request, sources)
    _check_kinds(given)
    counts = _check_counts(request, given)
    if request.per_class:
        _check_classes(given)
    if given.reference.kind is DatasetKind.FEATURES:
        _check_brought(request)
        width: int | None = _check_widths(given, sources)
    else:
        check_classifier_said(request)
        width = _check_described(request, given, sources)
    if given.classifier is not None:
        check_class_output(given.classifier, "classifier_id")
        sources.check_takes(given.classifier, given.generated, "classifier_id", otherwise=_OTHERWISE)
        check_operators(sources.graph(given.classifier), "What computes the inception score", "classifier_id")
    _check_estimate(*counts, width or 1, settings)


def check_classifier_said(request: EvaluationRequest) -> None:
    """See that there is a classifier if and only if there is an inception score to compute.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `classifier_id`.
    """
    scored = Metric.INCEPTION_SCORE in request.wanted
    if scored and request.classifier_id is None:
        raise invalid(
            "The inception score needs a `classifier_id`: the id of a model whose output is probabilities or logits of "
            "classes. Name one, or leave inception_score out of `metrics`.",
            "classifier_id",
        )
    if request.classifier_id is not None and not scored:
        raise invalid(
            "A `classifier_id` is for the inception score, which `metrics` leaves out. Add inception_score there, or "
            "leave the classifier out.",
            "classifier_id",
        )


def _check_kinds(given: Given) -> None:
    for field, dataset in given.datasets.items():
        if dataset.kind not in _GRADED:
            raise wrong_kind(dataset, f"evaluations compare {', '.join(_GRADED)}", field)
    if given.generated.kind is not given.reference.kind:
        raise wrong_kind(
            given.generated, f"{given.reference.id}, the real one, of {given.reference.kind}", "generated_id"
        )


def _check_counts(request: EvaluationRequest, given: Given) -> tuple[int, int]:
    """See that there are more samples than k, and enough at all; return N and M."""
    largest = max(request.ks)
    counts = []
    for field, dataset in given.datasets.items():
        count = dataset.samples if request.subsample is None else min(dataset.samples, request.subsample)
        counts.append(count)
        fewest = max(LEAST_SAMPLES, largest + 1)
        if count >= fewest:
            continue
        why = (
            f"k = {largest} needs {largest} others beside each sample of a set"
            if largest >= LEAST_SAMPLES
            else "the nearest others of each sample of a set are looked at"
        )
        if count < dataset.samples:
            raise invalid(f"A `subsample` of {count} is too small: {why}. Take {fewest} at least.", "subsample")
        if count < LEAST_SAMPLES:
            raise invalid(
                f"{dataset.id} has {count} samples, too few: {why}. Upload {fewest} at least, better thousands.", field
            )
        raise invalid(
            f"{dataset.id} has {count} samples, too few for k: {why}. Take a k of {count - 1} at most, or more "
            "samples.",
            "k",
        )
    return counts[0], counts[1]


def _check_classes(given: Given) -> None:
    for dataset in given.datasets.values():
        if not dataset.classes:
            raise mismatch(f"{dataset.id} has no labels, so there are no classes to grade by themselves.", "per_class")
    if not set(given.reference.classes) & set(given.generated.classes):
        raise mismatch(
            f"No class of {given.generated.id} is one of {given.reference.id}, so none can be graded by itself: "
            f"{first_few(given.generated.classes)} here, {first_few(given.reference.classes)} there.",
            "per_class",
        )


def _check_brought(request: EvaluationRequest) -> None:
    """See that nothing is asked for that needs more than the features a user brought."""
    if request.features is not None:
        raise invalid(
            "The datasets hold features already, so there is nothing for a model to describe. Leave `features` out.",
            "features",
        )
    if request.classifier_id is not None:
        raise invalid(
            "The datasets hold features, which no classifier takes: the inception score needs the images or signals "
            "themselves. Leave `classifier_id` out.",
            "classifier_id",
        )
    if Metric.INCEPTION_SCORE in request.wanted:
        raise invalid(
            "The inception score needs the images or signals themselves, and the datasets hold features. Leave it "
            "out of `metrics`.",
            "metrics",
        )


def _check_widths(given: Given, sources: Sources) -> int:
    """See that features are of one width; return it."""
    reference, generated = sources.width(given.reference), sources.width(given.generated)
    if reference != generated:
        raise mismatch(
            f"Features of {given.reference.id} have {reference:,} values each, those of {given.generated.id} "
            f"{generated:,}. Both must come from one extractor.",
            "generated_id",
        )
    return reference


def _check_described(request: EvaluationRequest, given: Given, sources: Sources) -> int | None:
    """See that the model can describe both datasets; return how many values that gives, if it can be told."""
    if request.features is None or given.describer is None:
        raise invalid(
            f"Datasets of kind {given.reference.kind} are compared by features: name a `model` that knows such data "
            'and one of its tensors, as in {"model_id": "mdl_…", "tensor": "avgpool"}.',
            "features",
        )
    model = given.describer
    sources.check_takes(model, given.reference, "features.model_id", otherwise=_OTHERWISE)
    sources.check_takes(model, given.generated, "generated_id", otherwise=_OTHERWISE)
    graph = sources.graph(model)
    check_operators(graph, "What computes features", "features.model_id")
    return check_tensor(model, graph, request.features.tensor, "features.tensor")


def _check_estimate(reference: int, generated: int, width: int, settings: Settings) -> None:
    found = estimate(reference, generated, width)

    def memory_fits(taken: Estimate) -> bool:
        return taken.bytes <= settings.max_evaluation_bytes

    def time_fits(taken: Estimate) -> bool:
        return taken.seconds <= settings.job_timeout_seconds

    if not memory_fits(found):
        takes = f"{found.bytes / _GIB:,.2f} GiB of memory"
        allows, setting = f"{settings.max_evaluation_bytes / _GIB:,.2f} GiB", "FACETER_MAX_EVALUATION_BYTES"
    elif not time_fits(found):
        takes = f"{found.seconds / 60:,.1f} minutes"
        allows, setting = f"{settings.job_timeout_seconds / 60:,.1f}", "FACETER_JOB_TIMEOUT_SECONDS"
    else:
        return
    most = largest_subsample(reference, generated, width, lambda taken: memory_fits(taken) and time_fits(taken))
    remedy = f"Give a `subsample` of {most:,} at most" if most >= LEAST_SAMPLES else "Use narrower features"
    raise invalid(
        f"Grading {generated:,} generated against {reference:,} real samples by {width:,} values each is estimated to "
        f"take {takes}, and this server allows {allows}. {remedy}, or have its operator raise {setting}.",
        "subsample",
    )
