"""The examination of a whole store."""

from collections.abc import Iterator
from typing import Final

from faceter.contracts.settings import Settings
from faceter.store.connection import store_errors
from faceter.store.doctor.blob_checks import check_blobs, check_references
from faceter.store.doctor.findings import Check, Finding, Patient
from faceter.store.doctor.job_checks import check_jobs
from faceter.store.doctor.record_checks import check_records
from faceter.store.doctor.server_checks import check_host, check_schema_version, check_server
from faceter.store.library import Library
from faceter.store.record_files import find_records

_CHECKS: Final[tuple[Check, ...]] = (
    check_server,
    check_schema_version,
    check_records,
    check_references,
    check_jobs,
    check_blobs,
    check_host,
)
"""All checks, in an order in which one does not undo what the ones before have mended."""


@store_errors()
def examine(
    settings: Settings, library: Library, *, mend: bool = False, deep: bool = False, alone: bool = False
) -> list[Finding]:
    """Return what is wrong with a store, which may be in use meanwhile.

    Args:
        settings: Where the data is.
        library: The store; its Redis client must not time out within minutes.
        mend: Whether to mend what can be mended safely.
        deep: Whether to read every file and compare its digest.
        alone: Whether the server was started for this, so that no worker runs.

    Raises:
        FaceterError: `STORE_UNAVAILABLE`.
    """
    patient = Patient(settings, library, mend, deep, alone, list(find_records(library.redis)))

    def findings() -> Iterator[Finding]:
        for check in _CHECKS:
            found = list(check(patient))
            yield from found
            if any(item.check == "schema-version" and item.left for item in found):
                return  # the rest is of a form that is not known

    return list(findings())
