"""What serves each model: the engine and batch size that were measured to be fastest, until then the reference."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import structlog
from pydantic import ValidationError
from redis.exceptions import LockError

from app.services.monitoring.prometheus import Monitoring
from app.services.predictions.batching import BatchingModel
from app.services.predictions.pool import InferencePool
from app.services.predictions.sessions import SessionCache
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model
from faceter.contracts.serving import EngineName, ServingPrecision, ServingReport, ServingSettings
from faceter.contracts.settings import Settings
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel, WrappedModel
from faceter.engines.choice import REFERENCE, Candidate, choose, engine_of, host_name
from faceter.engines.probes import probe_inputs
from faceter.graphs.layouts import PLAIN
from faceter.host import processor_count
from faceter.store.connection import store_errors
from faceter.store.library import Library
from faceter.store.tenants import DEFAULT_TENANT, acting_for, current_tenant

_LOOK_AGAIN_SECONDS: Final = 5.0
_FRESH_SECONDS: Final = 60.0
"""How long a process takes a report for the latest; another may have measured again."""
_LOCK_SECONDS: Final = 300
_REPORT_SECONDS: Final = 90 * 24 * 3600
_KEPT: Final = "faceter:kept-models"
_DEFAULTS: Final = ServingSettings()

_log = structlog.get_logger("app.predictions.model_server")


class ModelServer:
    """Loads models to serve them, and measures in the background what serves each best.

    A report of a measurement is kept in Redis for each host, so that its other processes and later starts use it.

    Args:
        library: Files of models, and Redis.
        sessions: Cache of loaded models.
        pool: Is told how many runs of a model may be at the same time.
        monitoring: Records the size of batches.
        settings: Threads of a run, and whether to measure.
    """

    def __init__(
        self,
        library: Library,
        sessions: SessionCache,
        pool: InferencePool,
        monitoring: Monitoring,
        settings: Settings,
    ) -> None:
        self._library = library
        self._sessions = sessions
        self._pool = pool
        self._monitoring = monitoring
        self._settings = settings
        self._reports: dict[tuple[str, ServingSettings], tuple[ServingReport | None, float]] = {}
        self._measuring: dict[str, Future[ServingReport | None]] = {}
        self._kept: dict[str, str] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="measuring")
        self._host = hashlib.sha256(f"{host_name()}, {settings.inference_threads}".encode()).hexdigest()[:16]

    @contextmanager
    def serving(self, model: Model, engine: EngineName | None = None) -> Iterator[LoadedModel]:
        """Context manager with a model loaded by what serves it, which stays loaded during the block.

        Args:
            model: Its record.
            engine: Engine to take, whatever was measured; it then runs requests one by one.

        Raises:
            FaceterError: The errors of reading and loading.
        """
        settings = _settings_of(model)
        candidate = self.chosen(model, engine)
        report = self.report(model)
        size = 1 if engine else settings.max_batch_size or (report.max_batch_size if report else 1)
        self._pool.set_instances(model.id, None if settings.instances is None else settings.instances * size)
        with self._loaded(model, candidate, size) as loaded:
            yield loaded if engine or candidate.engine == REFERENCE else _ReferenceOnFailure(loaded, self, model)

    def chosen(self, model: Model, engine: EngineName | None = None) -> Candidate:
        """Return the engine that serves a model; the reference while it is measured, which this begins.

        Args:
            model: Its record.
            engine: Engine to take, whatever was measured.
        """
        if engine is not None:
            return Candidate(engine, _settings_of(model).precision)
        report = self.report(model)
        if report is None:
            self._measure_later(model)
            return Candidate(REFERENCE, ServingPrecision.EXACT)
        return Candidate(report.engine, report.precision)

    def engine(self, candidate: Candidate, model: Model, content: bytes) -> tuple[Engine, str]:
        """Return the engine of a candidate, and the layout in which it runs a model's file best."""
        if candidate.engine == REFERENCE:
            return self._sessions.engine, self._sessions.layout(content, model.quantization)
        return engine_of(candidate), PLAIN

    def report(self, model: Model) -> ServingReport | None:
        """Return what was measured of a model on this host; None if nothing was yet. Rarely reads Redis."""
        key = (model.sha256, _settings_of(model))
        report, read_at = self._reports.get(key, (None, -_LOOK_AGAIN_SECONDS))
        if time.monotonic() - read_at < (_LOOK_AGAIN_SECONDS if report is None else _FRESH_SECONDS):
            return report
        try:
            report = self._stored(model)
        except FaceterError:  # the store is away; the reference serves
            report = None
        self._reports[key] = (report, time.monotonic())
        return report

    def load(self, model: Model) -> ServingReport | None:
        """Measure what serves a model, also if that was measured before, and load it.

        Returns:
            The report; None if the settings turn measuring off.

        Raises:
            FaceterError: The errors of reading and loading.
        """
        if self._settings.measure_serving:
            with store_errors():
                self._library.redis.delete(self._key(model))
            self._reports.pop((model.sha256, _settings_of(model)), None)
        if self.report(model) is None and (measuring := self._measure_later(model)) is not None:
            measuring.result()
        with self.serving(model):
            return self.report(model)

    def keep(self, model: Model) -> None:
        """Keep a model loaded: every process loads it, also after a restart."""
        with store_errors():
            self._library.redis.sadd(_KEPT, _kept_name(model))
        self._kept[_kept_name(model)] = model.sha256

    def release(self, model: Model) -> None:
        """Drop a model from memory; a model in use is dropped after its last use."""
        with store_errors():
            self._library.redis.srem(_KEPT, _kept_name(model))
        self._kept.pop(_kept_name(model), None)
        self._sessions.drop(model.sha256)

    def follow_kept(self) -> None:
        """Load the models that are to be kept, and drop those that no longer are, in this process.

        Raises:
            FaceterError: `STORE_UNAVAILABLE`.
        """
        with store_errors():
            kept = {_text(id) for id in self._library.redis.smembers(_KEPT)}
        for name in set(self._kept) - kept:
            self._sessions.drop(self._kept.pop(name))
        for name in kept - set(self._kept):
            id, _, tenant = name.partition("@")
            try:
                with acting_for(tenant or DEFAULT_TENANT):
                    model = self._library.models.get(id)
                with self.serving(model):
                    self._kept[name] = model.sha256
            except FaceterError as error:
                _log.warning("a model was not loaded", model=id, reason=error.detail)
                if error.kind is ProblemKind.NOT_FOUND:
                    self._library.redis.srem(_KEPT, name)

    def close(self) -> None:
        """Wait for a measurement in progress."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _loaded(self, model: Model, candidate: Candidate, size: int) -> Iterator[LoadedModel]:
        engine, precision = candidate.engine, candidate.precision
        if engine == REFERENCE and size == 1:
            with self._sessions.use(model.sha256, lambda: self._read(model), model.quantization) as loaded:
                yield loaded
            return
        settings = _settings_of(model)
        key = (model.sha256, engine, precision.value, str(size), str(settings.batch_delay_ms), str(settings.instances))

        def load() -> LoadedModel:
            single = self._load(model, candidate)
            return single if size == 1 else self._batching(single, size, settings)

        with self._sessions.cached(key, load) as loaded:
            yield loaded

    def _batching(self, loaded: LoadedModel, size: int, settings: ServingSettings) -> BatchingModel:
        return BatchingModel(
            loaded,
            size,
            runs=settings.instances or max(1, processor_count() // self._settings.inference_threads),
            delay_seconds=settings.batch_delay_ms / 1000,
            observe=self._monitoring.observe_batch,
        )

    def _load(self, model: Model, candidate: Candidate) -> LoadedModel:
        content = self._read(model)
        engine, layout = self.engine(candidate, model, content)
        return engine.load(content, threads=self._settings.inference_threads, layout=layout)

    def _read(self, model: Model) -> bytes:
        return self._library.blobs.read(model.sha256)

    def _measure_later(self, model: Model) -> "Future[ServingReport | None] | None":
        """Measure a model in the background, unless that is going on; None if the settings turn it off."""
        if not self._settings.measure_serving:
            return None
        with self._lock:
            if model.sha256 not in self._measuring:
                self._measuring[model.sha256] = self._threads.submit(self._measure, model)
            return self._measuring[model.sha256]

    def _measure(self, model: Model) -> ServingReport | None:
        try:
            report = self._measured(model)
            if report is not None:
                size = _settings_of(model).max_batch_size or report.max_batch_size
                with self._loaded(model, Candidate(report.engine, report.precision), size):
                    self._reports[model.sha256, _settings_of(model)] = (report, time.monotonic())
            return report
        except FaceterError as error:
            _log.warning("a model was not measured", model=model.id, reason=error.detail)
            return None
        except Exception:
            _log.exception("measuring a model failed", model=model.id)
            return None
        finally:
            with self._lock:
                self._measuring.pop(model.sha256, None)

    def _measured(self, model: Model) -> ServingReport | None:
        """Return the stored report, or measure and store it; one process of a host measures a model at a time."""
        key = self._key(model)
        lock = self._library.redis.lock(f"{key}:lock", timeout=_LOCK_SECONDS, blocking_timeout=_LOCK_SECONDS)
        with store_errors():
            try:
                with lock:
                    report = self._stored(model)
                    if report is None:
                        report = choose(
                            lambda candidate: self._load(model, candidate),
                            lambda samples: probe_inputs(model, samples),
                            _settings_of(model),
                            threads=self._settings.inference_threads,
                            samples=self._settings.concurrent_predictions,
                        )
                        self._library.redis.set(key, report.model_dump_json(), ex=_REPORT_SECONDS)
                    return report
            except LockError:
                return None

    def _stored(self, model: Model) -> ServingReport | None:
        with store_errors():
            text = self._library.redis.get(self._key(model))
        try:
            return None if text is None else ServingReport.model_validate_json(text)
        except ValidationError:
            return None

    def _key(self, model: Model) -> str:
        settings = hashlib.sha256(_settings_of(model).model_dump_json().encode()).hexdigest()[:8]
        return f"faceter:serving:{self._host}:{model.sha256}:{settings}"


class _ReferenceOnFailure(WrappedModel):
    """A model in another engine than the reference, which runs what that engine cannot.

    Args:
        loaded: The model.
        server: Loads the reference.
        model: The model's record.
    """

    def __init__(self, loaded: LoadedModel, server: ModelServer, model: Model) -> None:
        super().__init__(loaded)
        self._server = server
        self._model = model

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once; see `faceter.engines.base.LoadedModel.run`."""
        try:
            return self.loaded.run(inputs, outputs, interrupt=interrupt)
        except FaceterError:
            if interrupt is not None and interrupt.triggered:
                raise
            with self._server.serving(self._model, REFERENCE) as reference:
                return reference.run(inputs, outputs, interrupt=interrupt)

    def close(self) -> None:
        """Free nothing: the cache closes the model."""


def _settings_of(model: Model) -> ServingSettings:
    return model.metadata.serving or _DEFAULTS


def _kept_name(model: Model) -> str:
    """Return the name of a model of the current tenant in the set of those to keep."""
    tenant = current_tenant()
    return model.id if tenant == DEFAULT_TENANT else f"{model.id}@{tenant}"


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
