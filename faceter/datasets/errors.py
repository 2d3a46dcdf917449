"""Problem details of datasets: the error for a wrong form, and lists of names in a sentence."""

from collections.abc import Sequence

from faceter.contracts.errors import FaceterError, ProblemKind


def invalid_dataset(detail: str) -> FaceterError:
    """Return an ``INVALID_DATASET`` error."""
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def quoted_names(names: Sequence[str], limit: int = 5) -> str:
    """Return the first few names, quoted and separated by commas, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
