"""Checks of records: readable, in their index, with tenants that are known."""

from collections.abc import Iterable, Iterator
from typing import cast

from faceter.contracts.references import ResourceName
from faceter.resources import RESOURCES
from faceter.store.doctor.findings import Finding, Patient, finding
from faceter.store.quotas import used_bytes
from faceter.store.record_files import FoundRecord, find_records
from faceter.store.record_repair import count_used_bytes, is_unlisted, list_record, sums_of_bytes
from faceter.store.tenants import DEFAULT_TENANT, TENANTS_KEY, all_tenants, key_prefix


def check_records(patient: Patient) -> Iterator[Finding]:
    """Check that every record can be read and is listed, and that every entry of a list has a record."""
    redis = patient.library.redis
    unreadable = [found.at.id for found in patient.records if found.record is None]
    yield from finding(
        patient,
        "unreadable-records",
        "Records that this version cannot read.",
        unreadable,
        "Restore a backup, or delete the key of the record in Redis. Their files are kept meanwhile.",
    )
    known = set(all_tenants(redis))
    yield from finding(
        patient,
        "unknown-tenants",
        f"Tenants with records that {TENANTS_KEY} does not name.",
        sorted({found.at.tenant for found in patient.records} - known),
        "--mend adds them.",
        lambda tenant: redis.sadd(TENANTS_KEY, tenant),
    )
    unlisted: dict[str, FoundRecord] = {
        found.at.id: found for found in patient.records if found.record is not None and is_unlisted(redis, found)
    }
    yield from finding(
        patient,
        "unlisted-records",
        "Records that lists leave out.",
        unlisted,
        "--mend adds them to their list.",
        lambda id: list_record(redis, unlisted[id]),
    )
    places = _entries_without_record(patient)
    yield from finding(
        patient,
        "entries-without-record",
        "Entries of lists whose record is gone.",
        places,
        "--mend removes them.",
        lambda id: redis.zrem(places[id], id),
    )
    wrong = _wrong_sizes(patient)
    yield from finding(
        patient,
        "tenant-bytes",
        "Tenants whose used bytes are not the sum of their files.",
        wrong,
        "--mend sets the sum.",
        lambda tenant: count_used_bytes(redis, tenant),
    )


def _wrong_sizes(patient: Patient) -> list[str]:
    """Return the tenants whose counter differs, also when their records are read once more."""
    redis = patient.library.redis
    tenants = all_tenants(redis)

    def differing(records: Iterable[FoundRecord]) -> set[str]:
        sums = sums_of_bytes(records)
        return {tenant for tenant in tenants if used_bytes(redis, tenant) != sums.get(tenant, 0)}

    suspects = differing(patient.records)
    return sorted(suspects & differing(find_records(redis))) if suspects else []


def _entries_without_record(patient: Patient) -> dict[str, str]:
    """Return the index of each entry without a record, by id."""
    redis = patient.library.redis
    present = {found.at.key for found in patient.records}
    tenants = {*all_tenants(redis), *(found.at.tenant for found in patient.records), DEFAULT_TENANT}
    places: dict[str, str] = {}
    for tenant in tenants:
        for resource in RESOURCES:
            index = f"{key_prefix(tenant)}{ResourceName(resource.name)}"
            for raw in cast(list[bytes], redis.zrange(index, 0, -1)):
                id = raw.decode()
                if f"{index}:{id}" in present:
                    continue
                with redis.pipeline() as pipeline:
                    pipeline.exists(f"{index}:{id}")
                    pipeline.zscore(index, id)
                    exists, score = pipeline.execute()
                if not exists and score is not None:
                    places[id] = index
    return places
