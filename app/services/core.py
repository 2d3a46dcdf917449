"""Shared state of the services, created once per application, and their base class."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from anyio import CapacityLimiter, to_thread

from app.services.access.access import Access
from app.services.datasets.open_datasets import OpenDatasets
from app.services.jobs.queue import JobQueue
from app.services.models.check_lanes import QUICK_CHECKS, QUICK_FILE_BYTES
from app.services.monitoring.prometheus import Monitoring
from app.services.monitoring.system import storage_state
from app.services.predictions.model_server import ModelServer
from app.services.predictions.pool import InferencePool, PoolLimits
from app.services.predictions.sessions import SessionCache
from faceter.contracts.settings import Settings
from faceter.engines.base import Engine
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.engines.shared_weights import SharedWeights
from faceter.store.library import Library
from faceter.store.reserve import Reserve
from faceter.tracing.configuration import open_tracer
from faceter.tracing.spans import Tracer

S = TypeVar("S", bound="Service")
T = TypeVar("T")

_CONCURRENT_CHECKS = 2


@dataclass(frozen=True)
class Core:
    """Store, queue, engine, limits and tracer of a running API."""

    settings: Settings
    library: Library
    queue: JobQueue
    engine: Engine
    sessions: SessionCache
    pool: InferencePool
    monitoring: Monitoring
    tracer: Tracer
    model_server: ModelServer
    open_datasets: OpenDatasets
    reserve: Reserve
    access: Access
    model_limiter: CapacityLimiter
    upload_limiter: CapacityLimiter
    dataset_limiter: CapacityLimiter
    _services: dict[type["Service"], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, engine: Engine | None = None) -> Self:
        """Return the core for settings, without connecting to anything yet.

        Args:
            settings: Locations and limits.
            engine: The inference engine; ONNX Runtime by default.
        """
        engine = engine or OnnxRuntimeEngine(SharedWeights(settings.weights_dir))
        library = Library(settings)
        queue = JobQueue(library.redis, settings)
        sessions = SessionCache(
            engine,
            limit_bytes=settings.session_cache_bytes,
            threads=settings.inference_threads,
            saturates=sums_saturate(engine),
        )
        monitoring = Monitoring(sessions.statistics, queue.statistics, lambda: storage_state(library))
        pool = InferencePool(
            PoolLimits(
                workers=settings.concurrent_predictions,
                waiting=settings.max_waiting_predictions,
                waiting_per_model=settings.max_waiting_per_model,
                waiting_bytes=settings.max_waiting_bytes,
                seconds=settings.inference_seconds,
            ),
            monitoring.observe_wait,
        )
        monitoring.watch_pool(pool.statistics)
        return cls(
            settings=settings,
            library=library,
            queue=queue,
            engine=engine,
            sessions=sessions,
            pool=pool,
            monitoring=monitoring,
            tracer=open_tracer(),
            model_server=ModelServer(library, sessions, pool, monitoring, settings),
            open_datasets=OpenDatasets(settings),
            access=Access(library.redis, settings),
            reserve=Reserve(settings.data_dir / "reserve", settings.reserve_bytes),
            model_limiter=CapacityLimiter(_CONCURRENT_CHECKS),
            upload_limiter=CapacityLimiter(QUICK_CHECKS),
            dataset_limiter=CapacityLimiter(_CONCURRENT_CHECKS),
        )

    def service(self, type_: type[S]) -> S:
        """Return the single instance of a service class, created on first use."""
        service: S = self._services.get(type_) or self._services.setdefault(type_, type_(self))
        return service

    async def with_model(self, function: Callable[[], T]) -> T:
        """Call a function that loads a whole model in a thread; few run concurrently, to limit memory.

        Waiting requests occupy no thread, so that short requests are not blocked.
        """
        return await to_thread.run_sync(function, limiter=self.model_limiter)

    async def with_upload(self, function: Callable[[], T], bytes: int) -> T:
        """Call a function that checks an uploaded model; small files do not wait for large ones.

        Args:
            function: Reads the file, and checks it in a process of its own.
            bytes: Size of the file.
        """
        limiter = self.upload_limiter if bytes <= QUICK_FILE_BYTES else self.model_limiter
        return await to_thread.run_sync(function, limiter=limiter)

    async def with_dataset(self, function: Callable[[], T]) -> T:
        """Call a function that reads a whole dataset, which may take minutes; see `with_model`."""
        return await to_thread.run_sync(function, limiter=self.dataset_limiter)

    def close(self) -> None:
        """Stop predictions, close sessions and connections, export the last spans."""
        self.pool.close()
        self.model_server.close()
        self.sessions.close()
        self.open_datasets.close()
        self.library.close()
        self.tracer.close()


class Service:
    """Base class of the services. Methods block and must be called in a thread.

    Args:
        core: Store, queue, engine and limits.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.settings = core.settings
        self.library = core.library
        self.queue = core.queue
