"""Ids of what a request creates, which are the same in every attempt of a request with an idempotency key."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from faceter.contracts.base import derived_id, new_id

_seed: ContextVar[str | None] = ContextVar("creation_seed", default=None)


@contextmanager
def creating(seed: str) -> Iterator[None]:
    """Derive from a seed the ids of what is created during the block, at most one resource of each kind."""
    token = _seed.set(seed)
    try:
        yield
    finally:
        _seed.reset(token)


def creation_id(prefix: str) -> str:
    """Return the id of what the current request creates; a new one without an idempotency key."""
    seed = _seed.get()
    return new_id(prefix) if seed is None else derived_id(prefix, seed)
