"""Prometheus metrics of `/metrics`."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.services.jobs.queue import QueueStatistics
from app.services.predictions.pool import InferencePool
from app.services.predictions.sessions import SessionStatistics
from faceter.contracts.errors import FaceterError

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Monitoring:
    """Prometheus metrics of an API process and of the job queue, in a separate registry.

    Args:
        sessions: Returns the state of the session cache.
        queue: Returns the state of the queue; called at each scrape. While Redis is down its metrics are omitted and
            `faceter_store_up` is 0.
        pool: The threads of predictions.
    """

    def __init__(
        self, sessions: Callable[[], SessionStatistics], queue: Callable[[], QueueStatistics], pool: InferencePool
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "faceter_requests", "Requests handled.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "faceter_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._inference = Histogram(
            "faceter_inference_duration_seconds",
            "Engine time of a predict request.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Sessions(sessions, pool))
        self._registry.register(_Queue(queue))

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request; see `app.http.middleware.request_log.Observer`."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def observe_inference(self, seconds: float) -> None:
        """Record the engine time of a predict request."""
        self._inference.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format; reads Redis."""
        return generate_latest(self._registry)


class _Sessions(Collector):
    def __init__(self, statistics: Callable[[], SessionStatistics], pool: InferencePool) -> None:
        self._statistics = statistics
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        statistics = self._statistics()
        yield GaugeMetricFamily("faceter_sessions", "Loaded models.", statistics.sessions)
        yield GaugeMetricFamily("faceter_sessions_bytes", "Estimated memory of the loaded models.", statistics.bytes)
        yield GaugeMetricFamily("faceter_sessions_limit_bytes", "Limit of that memory.", statistics.limit_bytes)
        yield CounterMetricFamily("faceter_sessions_hits", "Uses of a model that was already loaded.", statistics.hits)
        yield CounterMetricFamily(
            "faceter_sessions_misses", "Uses of a model that had to be loaded.", statistics.misses
        )
        yield CounterMetricFamily("faceter_sessions_evictions", "Models evicted to free memory.", statistics.evictions)
        yield GaugeMetricFamily("faceter_predictions_active", "Predictions running or waiting.", self._pool.calls)


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
        yield GaugeMetricFamily("faceter_queue_depth", "Jobs waiting.", statistics.queued)
        yield GaugeMetricFamily(
            "faceter_queue_age_seconds", "Waiting time of the next job.", statistics.oldest_queued_seconds
        )
        yield GaugeMetricFamily("faceter_jobs_running", "Running jobs.", statistics.running)
        yield GaugeMetricFamily("faceter_workers", "Live workers.", statistics.workers)
        durations = HistogramMetricFamily(
            "faceter_job_duration_seconds", "Time from the start of a job to its end.", labels=("kind", "status")
        )
        for (kind, status), ended in sorted(statistics.ended.items()):
            buckets = [(f"{bound:.1f}", float(count)) for bound, count in sorted(ended.at_most.items())]
            durations.add_metric([kind, status], [*buckets, ("+Inf", float(ended.count))], ended.seconds)
        yield durations
