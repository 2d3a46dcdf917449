"""A snapshot of Redis: all keys of Faceter as of one moment, each as a JSON document.

The keys are read by one script, which Redis runs without anything between, so that no step of a job and no upload is
half in it. The script also holds every referenced blob, so that none is deleted before it has been copied. Streams of
events are long, and are only added to: the script notes their last entry, and they are read up to it afterwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from redis import Redis

from faceter.store.backups.keys import StoredKey, to_text
from faceter.store.connection import store_errors

_MOST_ENTRIES: Final = 2000
_LEFT_OUT: Final = (
    "^faceter:.*:lock$",
    "^faceter:blob:%x+:holds$",
    "^faceter:blobs:loose$",
    "^faceter:blobs:orphans%-sought$",
    "^faceter:restoring:",
    "^faceter:jobs:bell:",
)
_INCLUDED: Final = (
    "^faceter:",
    "^rq:job:job_",
    "^rq:results:job_",
    "^rq:queue:faceter",
    "^rq:wip:faceter$",
    "^rq:deferred:faceter$",
    "^rq:finished:faceter$",
    "^rq:failed:faceter$",
)


@dataclass(frozen=True)
class Snapshot:
    """The keys as of one moment."""

    taken_at: float
    """The moment, seconds since 1970 by the server's clock."""
    entries: list[Any]
    """Name, type, milliseconds to live and value of each key; of a stream the id of its last entry."""
    held: list[str]
    """SHA-256 of the blobs that were referenced; each has a hold more."""


@store_errors()
def take_snapshot(redis: Redis, hold_seconds: int) -> Snapshot:
    """Read all keys of Faceter at one moment, and hold the blobs that are referenced.

    Args:
        redis: The store; must not time out while the script runs.
        hold_seconds: Time after which the holds expire if they are not released.
    """
    reply: Any = redis.eval(_READ_ALL, 0, str(hold_seconds), str(len(_LEFT_OUT)), *_LEFT_OUT, *_INCLUDED)
    seconds, microseconds, entries, held = reply
    return Snapshot(int(seconds) + int(microseconds) / 1e6, entries, [sha256.decode() for sha256 in held])


def documents(redis: Redis, snapshot: Snapshot) -> Iterator[StoredKey]:
    """Yield the keys of a snapshot; streams are read now, up to the entry that was the last one."""
    for name, kind, ttl, value in snapshot.entries:
        match kind:
            case b"stream":
                entries = cast(list[Any], redis.xrange(name, max=value, count=_MOST_ENTRIES) if value else [])
                content: Any = [
                    [id.decode(), [to_text(part) for pair in fields.items() for part in pair]] for id, fields in entries
                ]
            case b"string":
                content = to_text(value)
            case b"hash" | b"zset":
                texts = list(map(to_text, value))
                content = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
            case _:
                content = list(map(to_text, value))
        expires_at = None if ttl < 0 else int(snapshot.taken_at * 1000) + int(ttl)
        yield StoredKey(key=name.decode(), type=kind.decode(), expires_at=expires_at, value=content)


_READ_ALL: Final = """
local included, left_out = {}, {}
for index = 3, #ARGV do
    table.insert(index < 3 + tonumber(ARGV[2]) and left_out or included, ARGV[index])
end
local function any(patterns, key)
    for _, pattern in ipairs(patterns) do
        if string.find(key, pattern) then return true end
    end
    return false
end
local seen, entries, held = {}, {}, {}
for _, prefix in ipairs({'faceter:*', 'rq:*'}) do
    local cursor = '0'
    repeat
        local page = redis.call('SCAN', cursor, 'MATCH', prefix, 'COUNT', 1000)
        cursor = page[1]
        for _, key in ipairs(page[2]) do
            if not seen[key] and any(included, key) and not any(left_out, key) then
                seen[key] = true
                local kind = redis.call('TYPE', key).ok
                local value
                if kind == 'string' then value = redis.call('GET', key)
                elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
                elseif kind == 'set' then value = redis.call('SMEMBERS', key)
                elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
                elseif kind == 'hash' then value = redis.call('HGETALL', key)
                elseif kind == 'stream' then
                    local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)
                    value = last[1] and last[1][1] or ''
                end
                if value then table.insert(entries, {key, kind, redis.call('PTTL', key), value}) end
                local sha256 = string.match(key, '^faceter:blob:(%x+):references$')
                if sha256 then table.insert(held, sha256) end
            end
        end
    until cursor == '0'
end
for _, sha256 in ipairs(held) do
    redis.call('INCR', 'faceter:blob:' .. sha256 .. ':holds')
    redis.call('EXPIRE', 'faceter:blob:' .. sha256 .. ':holds', ARGV[1])
end
local now = redis.call('TIME')
return {now[1], now[2], entries, held}
"""
