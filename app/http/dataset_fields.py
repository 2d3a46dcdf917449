"""The fields `kind` and `paired` of a dataset upload."""

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind


def parse_kind(text: str | None) -> DatasetKind:
    """Parse the field `kind`.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `kind`, listing all kinds.
    """
    kinds = ", ".join(kind.value for kind in DatasetKind)
    if text is None:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"The field `kind` is missing; it is one of {kinds}.", field="kind"
        )
    try:
        return DatasetKind(text.strip())
    except ValueError as error:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"There is no kind {text[:100]!r}; it is one of {kinds}.", field="kind"
        ) from error


def parse_paired(text: str | None, kind: DatasetKind) -> bool | None:
    """Parse the field `paired`; None unless the kind is `domains`.

    Args:
        text: `true` or `false`; false by default.
        kind: Kind of the dataset.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `paired`, if it is given for another kind or is neither true nor false.
    """
    if kind is not DatasetKind.DOMAINS:
        if text is None:
            return None
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"`paired` is for datasets of kind {DatasetKind.DOMAINS}, and this one is of kind {kind}. Leave it out.",
            field="paired",
        )
    value = "false" if text is None else text.strip()
    if value not in ("true", "false"):
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"The field `paired` is true or false, not {value[:100]!r}; it is false if left out.",
            field="paired",
        )
    return value == "true"
