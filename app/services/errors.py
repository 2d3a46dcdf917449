"""Errors of request validation."""

from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind


def invalid(detail: str, field: str) -> FaceterError:
    """Return the error for an invalid field."""
    return FaceterError(ProblemKind.INVALID_REQUEST, detail, field=field)


def mismatch(detail: str, field: str) -> FaceterError:
    """Return the error for a dataset that does not fit the model or the request."""
    return FaceterError(ProblemKind.DATASET_MISMATCH, detail, field=field)


def wrong_kind(dataset: Dataset, requirement: str, field: str) -> FaceterError:
    """Return the error for a dataset of an unsuitable kind; ``requirement`` says which kinds are needed."""
    return FaceterError(
        ProblemKind.WRONG_DATASET_KIND,
        f"{dataset.id} is of kind {dataset.kind}; {requirement}. Choose another.",
        field=field,
    )
