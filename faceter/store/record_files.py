"""The files of records: which blobs the records of all tenants need."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from pydantic import ValidationError
from redis import Redis

from faceter.contracts.base import StoredRecord
from faceter.contracts.references import ResourceName
from faceter.resources import RESOURCES
from faceter.store.tenants import DEFAULT_TENANT, TENANT_NAME, key_prefix

DIGEST: Final = re.compile("[0-9a-f]{64}")
"""A SHA-256 in a text."""

_RESOURCES: Final = {resource.name.value: resource for resource in RESOURCES}
_KEY: Final = re.compile(
    rf"faceter:(?:tenant:(?P<tenant>{TENANT_NAME.pattern}):)?(?P<resource>{'|'.join(_RESOURCES)}):(?P<id>[^:]+)"
)
_CHUNK: Final = 500


@dataclass(frozen=True)
class RecordKey:
    """Where a record is."""

    tenant: str
    """Its tenant."""
    resource: ResourceName
    """Its collection."""
    id: str
    """Its id."""

    @property
    def index(self) -> str:
        """Redis key of the index that lists it."""
        return f"{key_prefix(self.tenant)}{self.resource}"

    @property
    def key(self) -> str:
        """Redis key of the record."""
        return f"{self.index}:{self.id}"


@dataclass(frozen=True)
class FoundRecord:
    """A record as it is stored."""

    at: RecordKey
    """Where it is."""
    text: bytes
    """Its JSON."""
    record: StoredRecord | None
    """The record; None if this version cannot read it."""

    def files(self) -> dict[str, int | None]:
        """Return the size of each file by its SHA-256; of an unreadable record all digests in its text, without."""
        if self.record is None:
            return dict.fromkeys(DIGEST.findall(self.text.decode(errors="replace")))
        return {
            self.record.sha256: self.record.bytes,
            **{file.sha256: file.bytes for file in self.record.files.values()},
        }


def files_of(record: StoredRecord) -> list[str]:
    """Return the SHA-256 of each file of a record; equal files are repeated."""
    return [record.sha256, *(file.sha256 for file in record.files.values())]


def record_key(key: str) -> RecordKey | None:
    """Return which record a Redis key is; None for another key."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    return RecordKey(match["tenant"] or DEFAULT_TENANT, ResourceName(match["resource"]), match["id"])


def read_record(at: RecordKey, text: bytes) -> FoundRecord:
    """Return a record as it is stored."""
    try:
        return FoundRecord(at, text, _RESOURCES[at.resource].contract.model_validate_json(text))
    except ValidationError:
        return FoundRecord(at, text, None)


def find_records(redis: Redis) -> Iterator[FoundRecord]:
    """Yield all records of all tenants, each once, in no order; records added or deleted meanwhile may be left out."""
    seen: set[RecordKey] = set()
    chunk: list[RecordKey] = []
    for raw in redis.scan_iter(match="faceter:*", count=_CHUNK):
        at = record_key(raw.decode(errors="replace"))
        if at is None or at in seen:
            continue
        seen.add(at)
        chunk.append(at)
        if len(chunk) == _CHUNK:
            yield from _load(redis, chunk)
            chunk = []
    yield from _load(redis, chunk)


def _load(redis: Redis, keys: list[RecordKey]) -> Iterator[FoundRecord]:
    texts = cast(list[bytes | None], redis.mget([key.key for key in keys])) if keys else []
    for key, text in zip(keys, texts, strict=True):
        if text is not None:
            yield read_record(key, text)
