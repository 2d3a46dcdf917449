"""What `/metrics` tells Prometheus."""

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


class Metrics:
    """The metrics of one API process and of the queue it stands at, in a registry of their own.

    Args:
        sessions: Tells how the session cache stands.
        queue: Tells how the queue stands; asked at each scrape. While Redis is away its metrics are left out and
            `faceter_store_up` is 0.
        pool: The threads of predictions.
    """

    def __init__(
        self, sessions: Callable[[], SessionStatistics], queue: Callable[[], QueueStatistics], pool: InferencePool
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "faceter_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "faceter_request_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._inference = Histogram(
            "faceter_inference_duration_seconds",
            "Time in the engine of one predict request.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Sessions(sessions, pool))
        self._registry.register(_Queue(queue))

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; see `app.http.middleware.request_log.Observer`."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def observe_inference(self, seconds: float) -> None:
        """Count one predict request's time in the engine."""
        self._inference.observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format; asks Redis."""
        return generate_latest(self._registry)


class _Sessions(Collector):
    def __init__(self, statistics: Callable[[], SessionStatistics], pool: InferencePool) -> None:
        self._statistics = statistics
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        now = self._statistics()
        yield GaugeMetricFamily("faceter_sessions", "Loaded models.", now.sessions)
        yield GaugeMetricFamily("faceter_sessions_bytes", "Memory of the loaded models, as estimated.", now.bytes)
        yield GaugeMetricFamily("faceter_sessions_limit_bytes", "Most memory they may take.", now.limit_bytes)
        yield CounterMetricFamily("faceter_sessions_hits", "Uses of a model that was loaded.", now.hits)
        yield CounterMetricFamily("faceter_sessions_misses", "Uses of a model that had to be loaded.", now.misses)
        yield CounterMetricFamily("faceter_sessions_evictions", "Models put out to make room.", now.evictions)
        yield GaugeMetricFamily("faceter_predictions_active", "Predictions running or waiting.", self._pool.calls)


class _Queue(Collector):
    def __init__(self, statistics: Callable[[], QueueStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("faceter_store_up", "Whether Redis answers.")
        try:
            now = self._statistics()
        except FaceterError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily("faceter_queue_depth", "Jobs waiting.", now.queued)
        yield GaugeMetricFamily(
            "faceter_queue_age_seconds", "How long the next job has waited.", now.oldest_queued_seconds
        )
        yield GaugeMetricFamily("faceter_jobs_running", "Jobs a worker is on.", now.running)
        yield GaugeMetricFamily("faceter_workers", "Workers that are alive.", now.workers)
        durations = HistogramMetricFamily(
            "faceter_job_duration_seconds", "From a job's taking up to its end.", labels=("kind", "status")
        )
        for (kind, status), ended in sorted(now.ended.items()):
            buckets = [(f"{bound:.1f}", float(count)) for bound, count in sorted(ended.at_most.items())]
            durations.add_metric([kind, status], [*buckets, ("+Inf", float(ended.count))], ended.seconds)
        yield durations
