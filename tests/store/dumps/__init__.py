"""Dumps of stores, as `faceter backup` writes them: one key of Redis a line.

Never change one: it is what a version of Faceter wrote. A new schema version adds one of its own.
"""

from pathlib import Path

from redis import Redis

from faceter.store.backups.keys import StoredKey, queue_key


def load(redis: Redis, name: str) -> list[StoredKey]:
    """Write the keys of a dump to an empty Redis, without the time at which they expired, and return them."""
    lines = (Path(__file__).parent / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    keys = [StoredKey.model_validate_json(line) for line in lines]
    with redis.pipeline() as pipeline:
        for key in keys:
            queue_key(pipeline, key.model_copy(update={"expires_at": None}), key.key)
        pipeline.execute()
    return keys
