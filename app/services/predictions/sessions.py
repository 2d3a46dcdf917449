"""LRU cache of loaded models and generators, with a memory limit."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from faceter.contracts.quantizations import QuantizationReport
from faceter.engines.base import Engine, LoadedModel
from faceter.engines.serving import host_layout, served_layout

Key = tuple[str, ...]
"""SHA-256 of the content, and further parts that distinguish entries, such as the layout."""


class CachedResource(Protocol):
    """A resource that occupies memory until it is closed."""

    @property
    def bytes(self) -> int:
        """Estimated memory."""

    def close(self) -> None:
        """Free the memory."""


L = TypeVar("L", bound=CachedResource)


@dataclass(frozen=True)
class SessionStatistics:
    """State and counters of the cache."""

    sessions: int
    bytes: int
    limit_bytes: int
    hits: int
    misses: int
    evictions: int


@dataclass(eq=False)
class _Session:
    loaded: Future[Any] = field(default_factory=Future)
    users: int = 0
    bytes: int = 0
    evicted: bool = False


class SessionCache:
    """Thread-safe LRU cache of loaded models by content and layout, with a memory limit.

    Concurrent requests for the same model share one load. A model that is evicted while in use is closed after its
    last use.

    Args:
        engine: Loads models.
        limit_bytes: Maximum memory of the cached models, as estimated by the engine. A larger model is loaded for each
            use.
        threads: Threads per inference.
        saturates: Whether this host's kernels add products of signed weights in 16 bits; see `sums_saturate`.
    """

    def __init__(self, engine: Engine, *, limit_bytes: int, threads: int, saturates: bool) -> None:
        self.engine = engine
        self._limit_bytes = limit_bytes
        self._threads = threads
        self._saturates = saturates
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Key, _Session] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evictions = 0

    @contextmanager
    def use(
        self, sha256: str, read: Callable[[], bytes], report: QuantizationReport | None = None
    ) -> Iterator[LoadedModel]:
        """Context manager with a loaded model, which stays loaded during the block.

        Args:
            sha256: SHA-256 of the content.
            read: Returns the content; called if the model is not loaded yet.
            report: The report of a quantized model, which determines the layout; see `host_layout`.

        Raises:
            FaceterError: The errors of reading or loading, in every waiting thread; the next use tries again.
        """

        def load() -> LoadedModel:
            content = read()
            return self.engine.load(content, threads=self._threads, layout=self.layout(content, report))

        with self.cached((sha256, served_layout(report)), load) as loaded:
            yield loaded

    @contextmanager
    def cached(self, key: Key, load: Callable[[], L]) -> Iterator[L]:
        """Context manager with the result of ``load``, which stays loaded during the block and is cached by key.

        Args:
            key: Cache key; begins with the SHA-256 of the content.
            load: Called if the key is not cached.

        Raises:
            FaceterError: The errors of loading, in every waiting thread; the next use tries again.
        """
        session, first = self._acquire(key)
        try:
            if first:
                self._load(key, session, load)
            yield session.loaded.result()
        finally:
            self._release(session)

    def layout(self, content: bytes, report: QuantizationReport | None) -> str:
        """Return the layout to load a model in; see `host_layout`."""
        return host_layout(report, content, saturates=self._saturates)

    def drop(self, sha256: str) -> None:
        """Evict a model, in every layout; it is closed immediately, or after its current uses."""
        with self._lock:
            closing = [self._evict(key) for key in list(self._sessions) if key[0] == sha256]
        _close(closing)

    def close(self) -> None:
        """Evict all models."""
        with self._lock:
            closing = [self._evict(key) for key in list(self._sessions)]
        _close(closing)

    def statistics(self) -> SessionStatistics:
        """Return the current state and the counters."""
        with self._lock:
            return SessionStatistics(
                len(self._sessions), self._bytes, self._limit_bytes, self._hits, self._misses, self._evictions
            )

    def _acquire(self, key: Key) -> tuple[_Session, bool]:
        with self._lock:
            session = self._sessions.get(key)
            first = session is None
            if session is None:
                session = self._sessions[key] = _Session()
                self._misses += 1
            else:
                self._sessions.move_to_end(key)
                self._hits += 1
            session.users += 1
            return session, first

    def _load(self, key: Key, session: _Session, load: Callable[[], CachedResource]) -> None:
        try:
            loaded = load()
        except BaseException as error:
            with self._lock:
                if self._sessions.get(key) is session:
                    del self._sessions[key]
            session.loaded.set_exception(error)
            return
        closing: list[CachedResource | None] = []
        with self._lock:
            session.loaded.set_result(loaded)
            if not session.evicted:
                session.bytes = loaded.bytes
                self._bytes += session.bytes
                while self._bytes > self._limit_bytes:
                    oldest = next(key for key, entry in self._sessions.items() if entry.loaded.done())
                    closing.append(self._evict(oldest))
                    self._evictions += 1
        _close(closing)

    def _evict(self, key: Key) -> CachedResource | None:
        """Remove a session from the cache, and return its resource if it is unused; the caller holds the lock."""
        session = self._sessions.pop(key)
        session.evicted = True
        self._bytes -= session.bytes
        loaded: CachedResource | None = session.loaded.result() if session.users == 0 else None
        return loaded

    def _release(self, session: _Session) -> None:
        with self._lock:
            session.users -= 1
            last = session.evicted and session.users == 0
        if last and session.loaded.exception() is None:
            _close([session.loaded.result()])


def _close(models: Sequence[CachedResource | None]) -> None:
    for model in models:
        if model is not None:
            model.close()
