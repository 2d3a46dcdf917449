"""Keys of Redis as JSON documents, by type."""

import base64
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis.client import Pipeline

Text = str | dict[str, str]
"""A value of Redis: text, or ``{"base64": …}`` for bytes that are no UTF-8."""


class StoredKey(BaseModel):
    """One key of Redis with its value, by type and not in the form of DUMP, which depends on the server's version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    """Its name."""
    type: str
    """Its type: string, list, set, zset, hash or stream."""
    expires_at: int | None = None
    """When it expires, milliseconds since 1970 by the server's clock."""
    value: Any
    """A text; or a list of texts, for a hash and a sorted set of pairs, for a stream of `[id, [field, value, …]]`."""


def queue_key(pipeline: Pipeline, document: StoredKey, key: str) -> None:
    """Queue on ``pipeline`` the writing of a key under a name under which there is none yet."""
    value = document.value
    if document.type == "string":
        pipeline.set(key, to_bytes(value))
    elif document.type == "stream":
        for id, parts in value:
            texts = [to_bytes(part) for part in parts]
            fields: Any = dict(zip(texts[::2], texts[1::2], strict=True))
            pipeline.xadd(key, fields, id=id)
    elif value and document.type == "list":
        pipeline.rpush(key, *map(to_bytes, value))
    elif value and document.type == "set":
        pipeline.sadd(key, *map(to_bytes, value))
    elif value:
        pairs = [(to_bytes(name), to_bytes(other)) for name, other in value]
        if document.type == "hash":
            pipeline.hset(key, items=[part for pair in pairs for part in pair])
        else:
            pipeline.zadd(key, {name: float(score) for name, score in pairs})
    if document.expires_at is not None:
        pipeline.pexpireat(key, document.expires_at)


def to_text(value: bytes) -> Text:
    """Return a value of Redis for a document."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def to_bytes(text: Text) -> bytes:
    """Return the value of Redis that a document has."""
    return base64.b64decode(text["base64"]) if isinstance(text, dict) else text.encode()
