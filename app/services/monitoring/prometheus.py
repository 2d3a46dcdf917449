"""Prometheus metrics of `/metrics`."""

import os
import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.services.jobs.queue import QueueStatistics
from app.services.predictions.pool import PoolStatistics
from app.services.predictions.sessions import SessionStatistics
from faceter.contracts.errors import FaceterError
from faceter.contracts.system import StorageState

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which the processes of one API keep their metrics."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_REFRESH_SECONDS: Final = 1.0
"""How often the state of sessions and pool is passed on to the other processes of the API."""
_SAMPLES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Monitoring:
    """Prometheus metrics of the API's processes and of the job queue, in a separate registry.

    If the API runs in several processes, each answers with the sums of all; they share the folder `SHARED_FOLDER`.

    Args:
        sessions: Returns the state of the session cache.
        queue: Returns the state of the queue; called at each scrape. While Redis is down its metrics are omitted and
            `faceter_store_up` is 0.
        storage: Returns how much is stored; called at each scrape, and omitted in the same case.
    """

    def __init__(
        self,
        sessions: Callable[[], SessionStatistics],
        queue: Callable[[], QueueStatistics],
        storage: Callable[[], StorageState],
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = self.counter("faceter_requests", "Requests handled.", "method", "route", "status")
        self._seconds = self._histogram(
            "faceter_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            _SECONDS,
            "method",
            "route",
        )
        self._inference = self._histogram(
            "faceter_inference_duration_seconds", "Engine time of a predict request.", _SECONDS
        )
        self._waits = self._histogram(
            "faceter_prediction_wait_seconds", "Time that a prediction waited for a thread.", _SECONDS
        )
        self._batches = self._histogram("faceter_batch_samples", "Samples of one run of a model.", _SAMPLES)
        self._pool = _PoolMetrics(self)
        self._sessions = _SessionMetrics(self)
        self._session_statistics = sessions
        self._pool_statistics: Callable[[], PoolStatistics] = PoolStatistics
        self._queue = _Queue(queue)
        self._storage = _Storage(storage)
        self._lock = Lock()
        self._refreshed_at = 0.0

    def watch_pool(self, statistics: Callable[[], PoolStatistics]) -> None:
        """Report the state of a pool."""
        self._pool_statistics = statistics

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request; see `app.http.middleware.request_log.Observer`."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)
        if time.monotonic() - self._refreshed_at > _REFRESH_SECONDS:
            self._refresh()

    def observe_inference(self, seconds: float) -> None:
        """Record the engine time of a predict request."""
        self._inference.observe(seconds)

    def observe_wait(self, seconds: float) -> None:
        """Record how long a prediction waited."""
        self._waits.observe(seconds)

    def observe_batch(self, samples: int) -> None:
        """Record the samples of one run."""
        self._batches.observe(samples)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format; reads Redis."""
        self._refresh()
        registry = self._registry
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry(auto_describe=False)
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(self._queue_registry())

    def _queue_registry(self) -> CollectorRegistry:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._queue)
        registry.register(self._storage)
        return registry

    def _refresh(self) -> None:
        with self._lock:
            self._refreshed_at = time.monotonic()
            self._sessions.set(self._session_statistics())
            self._pool.set(self._pool_statistics())

    def gauge(self, name: str, text: str) -> Gauge:
        """Return a gauge, summed over the processes that live."""
        return Gauge(name, text, registry=self._registry, multiprocess_mode="livesum")

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """Return a counter."""
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)


class _Totals:
    """Counters that follow totals kept elsewhere."""

    def __init__(self) -> None:
        self._seen: dict[object, float] = {}

    def follow(self, counter: Counter, key: object, total: float) -> None:
        counter.inc(total - self._seen.get(key, 0))
        self._seen[key] = total


class _SessionMetrics:
    def __init__(self, monitoring: Monitoring) -> None:
        self._models = monitoring.gauge("faceter_sessions", "Loaded models.")
        self._bytes = monitoring.gauge("faceter_sessions_bytes", "Estimated memory of the loaded models.")
        self._limit = monitoring.gauge("faceter_sessions_limit_bytes", "Limit of that memory.")
        self._hits = monitoring.counter("faceter_sessions_hits", "Uses of a model that was already loaded.")
        self._misses = monitoring.counter("faceter_sessions_misses", "Uses of a model that had to be loaded.")
        self._evictions = monitoring.counter("faceter_sessions_evictions", "Models evicted to free memory.")
        self._totals = _Totals()

    def set(self, statistics: SessionStatistics) -> None:
        self._models.set(statistics.sessions)
        self._bytes.set(statistics.bytes)
        self._limit.set(statistics.limit_bytes)
        self._totals.follow(self._hits, "hits", statistics.hits)
        self._totals.follow(self._misses, "misses", statistics.misses)
        self._totals.follow(self._evictions, "evictions", statistics.evictions)


class _PoolMetrics:
    def __init__(self, monitoring: Monitoring) -> None:
        self._running = monitoring.gauge("faceter_predictions_running", "Predictions running.")
        self._waiting = monitoring.gauge("faceter_predictions_waiting", "Predictions waiting for a thread.")
        self._refused = monitoring.counter("faceter_predictions_refused", "Predictions that were not run.", "reason")
        self._totals = _Totals()

    def set(self, statistics: PoolStatistics) -> None:
        self._running.set(statistics.running)
        self._waiting.set(statistics.waiting)
        for reason, total in statistics.refused.items():
            self._totals.follow(self._refused.labels(reason), reason, total)


class _Queue(Collector):
    def __init__(self, statistics: Callable[[], QueueStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("faceter_store_up", "Whether Redis responds.")
        try:
            statistics = self._statistics()
        except FaceterError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        depth = GaugeMetricFamily("faceter_queue_depth", "Jobs waiting.", labels=("queue",))
        age = GaugeMetricFamily("faceter_queue_age_seconds", "Time since the oldest waiting job.", labels=("queue",))
        for name, waiting in statistics.queues.items():
            depth.add_metric([name], waiting.count)
            age.add_metric([name], waiting.oldest_seconds)
        yield depth
        yield age
        yield GaugeMetricFamily("faceter_jobs_running", "Running jobs.", statistics.running)
        yield GaugeMetricFamily("faceter_workers", "Live workers.", statistics.workers)
        durations = HistogramMetricFamily(
            "faceter_job_duration_seconds", "Time from the start of a job to its end.", labels=("kind", "status")
        )
        for (kind, status), ended in sorted(statistics.ended.items()):
            buckets = [(f"{bound:.1f}", float(count)) for bound, count in sorted(ended.at_most.items())]
            durations.add_metric([kind, status], [*buckets, ("+Inf", float(ended.count))], ended.seconds)
        yield durations


class _Storage(Collector):
    def __init__(self, state: Callable[[], StorageState]) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        try:
            state = self._state()
        except FaceterError:
            return
        yield GaugeMetricFamily("faceter_store_used_bytes", "Memory that Redis uses.", state.redis_bytes)
        if state.free_bytes is not None and state.total_bytes is not None:
            yield GaugeMetricFamily("faceter_storage_free_bytes", "Free space for files.", state.free_bytes)
            yield GaugeMetricFamily("faceter_storage_total_bytes", "Size of the files' disk.", state.total_bytes)
