"""The audit log: who changed what, in a stream of Redis that keeps the last 100,000 entries."""

from typing import Final, cast

from redis import Redis

from faceter.contracts.api_keys import AuditEntry
from faceter.store.connection import store_errors

_KEY: Final = "faceter:audit"
_MOST_KEPT: Final = 100_000
_CHUNK: Final = 1000


@store_errors()
def append(redis: Redis, entry: AuditEntry) -> None:
    """Append an entry; the oldest are dropped."""
    redis.xadd(_KEY, {"entry": entry.model_dump_json()}, maxlen=_MOST_KEPT, approximate=True)


@store_errors()
def newest(redis: Redis, count: int, tenant: str | None = None) -> list[AuditEntry]:
    """Return the newest entries first, of all tenants or of one."""
    found: list[AuditEntry] = []
    end = "+"
    while len(found) < count:
        chunk = cast(list[tuple[bytes, dict[bytes, bytes]]], redis.xrevrange(_KEY, max=end, min="-", count=_CHUNK))
        entries = (AuditEntry.model_validate_json(fields[b"entry"]) for _, fields in chunk)
        found += [entry for entry in entries if tenant is None or entry.tenant == tenant]
        if len(chunk) < _CHUNK:
            break
        end = f"({chunk[-1][0].decode()}"
    return found[:count]
