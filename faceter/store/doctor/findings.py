"""Findings of the doctor."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from faceter.contracts.settings import Settings
from faceter.store.library import Library
from faceter.store.record_files import FoundRecord


@dataclass
class Finding:
    """One kind of thing that is wrong, and where."""

    check: str
    """Name of the check, in kebab case."""
    about: str
    """What is wrong."""
    ids: list[str]
    """What it concerns: records, jobs, blobs, folders."""
    remedy: str
    """What to do about it."""
    mended: list[str] = field(default_factory=list)
    """Those of `ids` that have been mended."""

    @property
    def left(self) -> int:
        """Number of things that are still wrong."""
        return len(self.ids) - len(self.mended)


@dataclass(frozen=True)
class Patient:
    """What is examined."""

    settings: Settings
    """Where the data is."""
    library: Library
    """The store; its Redis client must not time out within minutes."""
    mend: bool
    """Whether to mend what can be mended."""
    deep: bool
    """Whether to read every file and compare its digest."""
    alone: bool
    """Whether the server was started for this, so that no worker runs."""
    records: list[FoundRecord]
    """All records, as read at the start."""


Check = Callable[[Patient], Iterator[Finding]]
"""Yields findings, those that nothing is wrong with left out."""


def finding(
    patient: Patient,
    check: str,
    about: str,
    ids: Iterable[str],
    remedy: str,
    mend: Callable[[str], object] | None = None,
) -> Iterator[Finding]:
    """Yield a finding if there is anything to find, mended if that is wanted and possible.

    Args:
        patient: What is examined.
        check: As of `Finding`, like the next three.
        about: What is wrong.
        ids: What it concerns.
        remedy: What to do; for what can be mended, what `--mend` does.
        mend: Mends one of `ids` and returns whether it did; None if that is not possible.
    """
    found = Finding(check, about, list(ids), remedy)
    if not found.ids:
        return
    if patient.mend and mend is not None:
        found.mended = [id for id in found.ids if mend(id)]
    yield found
