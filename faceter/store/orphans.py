"""Orphans: blobs of which Redis knows nothing, such as those of writes that it lost with its disk.

They are looked for in the blob store itself. A blob is never taken for an orphan while a record or a checkpoint names
it, while it is referenced or held, or within a day of its arrival; nor where the blob store belongs to another Redis,
whose records nobody here knows.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final, cast

from redis import Redis

from faceter.contracts.base import new_id
from faceter.store.blob_references import UNREFERENCED_KEY, holds_key, references_key
from faceter.store.blobs import BlobStore, ListedBlob
from faceter.store.job_checkpoints import all_checkpoints
from faceter.store.record_files import DIGEST, find_records

OWNER_KEY: Final = "faceter:blobs:owner"
"""Random id of this Redis, which its blob store has too."""

_TURN_KEY: Final = "faceter:blobs:orphans-sought"
_TURN_SECONDS: Final = 20 * 3600
_YOUNG_SECONDS: Final = 24 * 3600
_CHUNK: Final = 500


def owns(redis: Redis, blobs: BlobStore) -> bool:
    """Return whether the blob store belongs to this Redis; one without an owner gets this one."""
    redis.set(OWNER_KEY, new_id("own"), nx=True)
    own = cast(bytes, redis.get(OWNER_KEY)).decode()
    owner = blobs.owner()
    if owner is None:
        blobs.set_owner(own)
        owner = blobs.owner()
    return owner == own


def take_turn(redis: Redis) -> bool:
    """Return whether it is this process that looks for orphans; one does so about once a day."""
    return bool(redis.set(_TURN_KEY, "1", nx=True, ex=_TURN_SECONDS))


def find_orphans(redis: Redis, blobs: BlobStore) -> list[ListedBlob]:
    """Return the blobs in the store that nothing needs."""
    until = time.time() - _YOUNG_SECONDS
    candidates = [
        blob
        for chunk in _chunks(blob for blob in blobs.listed() if blob.stored_at < until)
        for blob in _unknown(redis, chunk)
    ]
    if not candidates:
        return []
    needed = {*all_checkpoints(redis).values(), *_parts(redis)}
    for found in find_records(redis):
        needed.update(found.files())
    return [blob for blob in candidates if blob.sha256 not in needed]


def _parts(redis: Redis) -> Iterator[str]:
    """Yield what jobs have kept, and what their shards have computed."""
    for pattern in ("faceter:job:*:shards", "faceter:job:*:kept"):
        for key in redis.scan_iter(match=pattern, count=_CHUNK):
            for value in cast(list[bytes], redis.hvals(key)):
                yield from DIGEST.findall(value.decode())


def _unknown(redis: Redis, chunk: Sequence[ListedBlob]) -> Iterator[ListedBlob]:
    with redis.pipeline(transaction=False) as pipeline:
        for blob in chunk:
            pipeline.exists(references_key(blob.sha256), holds_key(blob.sha256))
            pipeline.zscore(UNREFERENCED_KEY, blob.sha256)
        known = pipeline.execute()
    for blob, keys, score in zip(chunk, known[::2], known[1::2], strict=True):
        if not keys and score is None:
            yield blob


def _chunks(blobs: Iterator[ListedBlob]) -> Iterator[list[ListedBlob]]:
    chunk: list[ListedBlob] = []
    for blob in blobs:
        chunk.append(blob)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
