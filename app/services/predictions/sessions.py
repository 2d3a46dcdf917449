"""Loaded models and generators: each loaded once, kept while they fit, the least recently used put out first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from faceter.contracts.quantizations import QuantizationReport
from faceter.engines.base import Engine, LoadedModel
from faceter.engines.serving import layout_for, layout_of

Key = tuple[str, ...]
"""SHA-256 of the content, and what else makes a difference, such as the layout that its report names."""


class Loaded(Protocol):
    """Something that takes memory until it is closed."""

    @property
    def bytes(self) -> int:
        """Memory it takes, as estimated."""

    def close(self) -> None:
        """Give the memory back."""


L = TypeVar("L", bound=Loaded)


@dataclass(frozen=True)
class SessionStatistics:
    """What the cache holds and how it did."""

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
    out: bool = False


class SessionCache:
    """Loaded models by content and layout, under a limit of bytes; safe to use from many threads.

    Threads that want a model that is being loaded wait for that one load. A model that is put out while it runs is
    closed after its last run.

    Args:
        engine: What loads models.
        limit_bytes: Most bytes of the models that are kept, as their engine estimates them. A model larger than
            this is loaded for each use.
        threads: Threads of one run.
        saturates: Whether this host's kernels add products of signed weights in 16 bits; see `sums_saturate`.
    """

    def __init__(self, engine: Engine, *, limit_bytes: int, threads: int, saturates: bool) -> None:
        self._engine = engine
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
        """Lend a loaded model for the length of the block.

        Args:
            sha256: Names the content.
            read: Returns the content; called if it is not loaded yet.
            report: A quantized model's, which says in which layout to load it; see `layout_for`.

        Raises:
            FaceterError: What reading or loading raises, to everyone who waited for it; the next use tries again.
        """

        def load() -> LoadedModel:
            content = read()
            return self._engine.load(content, threads=self._threads, layout=self.layout(content, report))

        with self.keep((sha256, layout_of(report)), load) as loaded:
            yield loaded

    @contextmanager
    def keep(self, key: Key, load: Callable[[], L]) -> Iterator[L]:
        """Lend what ``load`` returns for the length of the block; kept for the next who asks by the same key.

        Args:
            key: Begins with the SHA-256 of the content.
            load: Called if it is not loaded yet.

        Raises:
            FaceterError: What loading raises, to everyone who waited for it; the next use tries again.
        """
        session, first = self._take(key)
        try:
            if first:
                self._load(key, session, load)
            yield session.loaded.result()
        finally:
            self._give_back(session)

    def layout(self, content: bytes, report: QuantizationReport | None) -> str:
        """Return the layout to load a model in; see `layout_for`."""
        return layout_for(report, content, saturates=self._saturates)

    def drop(self, sha256: str) -> None:
        """Put a model out, in every layout; it is closed at once, or after the runs that are under way."""
        with self._lock:
            closing = [self._put_out(key) for key in list(self._sessions) if key[0] == sha256]
        _close(closing)

    def close(self) -> None:
        """Put every model out."""
        with self._lock:
            closing = [self._put_out(key) for key in list(self._sessions)]
        _close(closing)

    def statistics(self) -> SessionStatistics:
        """Return what is held now and what happened so far."""
        with self._lock:
            return SessionStatistics(
                len(self._sessions), self._bytes, self._limit_bytes, self._hits, self._misses, self._evictions
            )

    def _take(self, key: Key) -> tuple[_Session, bool]:
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

    def _load(self, key: Key, session: _Session, load: Callable[[], Loaded]) -> None:
        try:
            loaded = load()
        except BaseException as error:
            with self._lock:
                if self._sessions.get(key) is session:
                    del self._sessions[key]
            session.loaded.set_exception(error)
            return
        closing: list[Loaded | None] = []
        with self._lock:
            session.loaded.set_result(loaded)
            if not session.out:
                session.bytes = loaded.bytes
                self._bytes += session.bytes
                while self._bytes > self._limit_bytes:
                    oldest = next(key for key, kept in self._sessions.items() if kept.loaded.done())
                    closing.append(self._put_out(oldest))
                    self._evictions += 1
        _close(closing)

    def _put_out(self, key: Key) -> Loaded | None:
        """Take a session out of the cache and return what is to be closed now; the caller has the lock."""
        session = self._sessions.pop(key)
        session.out = True
        self._bytes -= session.bytes
        loaded: Loaded | None = session.loaded.result() if session.users == 0 else None
        return loaded

    def _give_back(self, session: _Session) -> None:
        with self._lock:
            session.users -= 1
            last = session.out and session.users == 0
        if last and session.loaded.exception() is None:
            _close([session.loaded.result()])


def _close(models: Sequence[Loaded | None]) -> None:
    for model in models:
        if model is not None:
            model.close()
