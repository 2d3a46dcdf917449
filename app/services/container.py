"""Everything routes need, made once for each application."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Self, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from app.http.idempotency import Idempotency
from app.services.analyses.service import Analyses
from app.services.datasets.service import Datasets
from app.services.evaluations.service import Evaluations
from app.services.explanations.service import Explanations
from app.services.jobs.queue import JobQueue
from app.services.jobs.rerun import Reruns
from app.services.models.service import Models
from app.services.monitoring.prometheus import Metrics
from app.services.predictions.pool import InferencePool
from app.services.predictions.service import Predictor
from app.services.predictions.sessions import SessionCache
from app.services.quantizations.service import Quantizations
from app.services.translators.service import Translators
from app.services.translators.translation import Translation
from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.engines.base import Engine
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.store.library import Library

T = TypeVar("T")

_CHECKS_AT_ONCE = 2
_REAP_SECONDS = 5.0
_SWEEP_EVERY = 720

_log = structlog.get_logger("app.services.container")


@dataclass(frozen=True)
class Services:
    """The parts of a running API, none of which knows of HTTP."""

    settings: Settings
    library: Library
    queue: JobQueue
    sessions: SessionCache
    pool: InferencePool
    predictor: Predictor
    models: Models
    datasets: Datasets
    quantizations: Quantizations
    evaluations: Evaluations
    explanations: Explanations
    analyses: Analyses
    translators: Translators
    translation: Translation
    reruns: Reruns
    idempotency: Idempotency
    metrics: Metrics
    graphs_at_once: CapacityLimiter
    datasets_at_once: CapacityLimiter

    @classmethod
    def of(cls, settings: Settings, engine: Engine | None = None) -> Self:
        """Return the parts that these settings ask for; nothing is connected to yet.

        Args:
            settings: Where things are, what is allowed.
            engine: What runs models; ONNX Runtime if not given.
        """
        engine = engine or OnnxRuntimeEngine()
        library = Library(settings)
        queue = JobQueue(library.redis, settings)
        sessions = SessionCache(
            engine,
            limit_bytes=settings.session_cache_bytes,
            threads=settings.inference_threads,
            saturates=sums_saturate(engine),
        )
        pool = InferencePool(
            workers=settings.inference_workers,
            waiting=settings.max_waiting_predictions,
            seconds=settings.inference_seconds,
        )
        quantizations = Quantizations(library, queue, settings)
        evaluations = Evaluations(library, queue, settings)
        explanations = Explanations(library, queue, settings)
        analyses = Analyses(library, queue, settings)
        translators = Translators(library, queue, engine, settings)
        return cls(
            settings=settings,
            library=library,
            queue=queue,
            sessions=sessions,
            pool=pool,
            predictor=Predictor(sessions, library.blobs.read, settings),
            models=Models(library, queue, sessions, engine, settings),
            datasets=Datasets(library, queue, settings),
            quantizations=quantizations,
            evaluations=evaluations,
            explanations=explanations,
            analyses=analyses,
            translators=translators,
            translation=Translation(translators, library, sessions, engine, settings),
            reruns=Reruns(queue, quantizations, evaluations, explanations, analyses, translators),
            idempotency=Idempotency(library.redis, seconds=settings.idempotency_seconds),
            metrics=Metrics(sessions.statistics, queue.statistics, pool),
            graphs_at_once=CapacityLimiter(_CHECKS_AT_ONCE),
            datasets_at_once=CapacityLimiter(_CHECKS_AT_ONCE),
        )

    async def with_graph(self, function: Callable[[], T]) -> T:
        """Return what ``function`` returns, called in a thread; for work on a whole model, which may take much memory.

        A few go on at a time. Those who wait hold no thread, so that short requests go on beside them.
        """
        return await to_thread.run_sync(function, limiter=self.graphs_at_once)

    async def with_dataset(self, function: Callable[[], T]) -> T:
        """Do the same for work on a whole dataset, which may take minutes; models do not wait for it."""
        return await to_thread.run_sync(function, limiter=self.datasets_at_once)

    async def keep_house(self) -> None:
        """Take up jobs of dead workers, and now and then delete what dead processes left; goes on until canceled."""
        turn = 0
        while True:
            try:
                lost = await run_in_threadpool(self.queue.reap)
                if lost:
                    _log.warning("jobs of lost workers taken up or failed", jobs=lost)
                sweep = self.library.sweep if turn % _SWEEP_EVERY == 0 else self.library.delete_released
                await run_in_threadpool(sweep)
            except FaceterError as error:
                _log.warning("house-keeping put off", reason=error.detail)
            except Exception:
                _log.exception("house-keeping failed")
            turn += 1
            await asyncio.sleep(_REAP_SECONDS)

    def close(self) -> None:
        """Let predictions end, close sessions and connections."""
        self.pool.close()
        self.sessions.close()
        self.library.close()


def services_of(request: Request) -> Services:
    """Return the parts of the application a request came to."""
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(services_of)]
"""What a route asks for to get them."""
