import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from app.services.core import Core
from app.services.predictions.model_server import ModelServer
from app.services.predictions.service import PredictionService, PredictOptions
from app.services.predictions.sessions import SessionCache
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.settings import Settings
from faceter.engines.base import Array, Interrupt
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from tests.engines import graphs
from tests.engines.reports import report_of
from tests.graphs.builders import residual_net
from tests.graphs.min_max import min_max_plan


class CountedModel:
    """A loaded model that records whether it was closed."""

    def __init__(self, content: bytes, layout: str) -> None:
        self.content = content
        self.layout = layout
        self.bytes = len(content)
        self.closed = 0
        self.running = 0
        self.inputs: list[TensorSpec] = []
        self.outputs: list[TensorSpec] = []
        self.probability_outputs: frozenset[str] = frozenset()
        self.substitutes_float32 = False

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        assert not self.closed
        return {}

    def close(self) -> None:
        self.closed += 1


class CountingEngine:
    """An engine that loads anything, and records its loads."""

    def __init__(self) -> None:
        self.loaded: list[CountedModel] = []
        self.gate = threading.Event()
        self.gate.set()

    def load(self, content: bytes, *, threads: int, layout: str = "u8s8") -> CountedModel:
        assert self.gate.wait(10)
        if content == b"bad":
            raise FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, "It is bad.")
        model = CountedModel(content, layout)
        self.loaded.append(model)
        return model


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


def cache_of(engine: CountingEngine, limit: int = 100) -> SessionCache:
    return SessionCache(engine, limit_bytes=limit, threads=1, saturates=False)


def use(cache: SessionCache, key: str, size: int = 40) -> None:
    with cache.use(key, lambda: bytes(size)):
        pass


def test_loaded_once(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    for _ in range(3):
        use(cache, "a")
    statistics = cache.statistics()
    assert len(engine.loaded) == 1
    assert (statistics.sessions, statistics.bytes, statistics.hits, statistics.misses) == (1, 40, 2, 1)


def test_the_least_recently_used_goes_first(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    for key in ("a", "b", "a", "c"):
        use(cache, key)
    first, second, third = engine.loaded
    assert (first.closed, second.closed, third.closed) == (0, 1, 0)
    assert cache.statistics().bytes == 80
    assert cache.statistics().evictions == 1
    use(cache, "a")
    assert len(engine.loaded) == 3


def test_a_model_evicted_in_use_is_closed_after_use(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    with cache.use("a", lambda: bytes(40)) as model:
        use(cache, "b")
        use(cache, "c")
        assert engine.loaded[0].closed == 0
        model.run({})
    assert engine.loaded[0].closed == 1


def test_a_model_larger_than_the_limit_is_used_and_closed(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    with cache.use("a", lambda: bytes(1000)) as model:
        model.run({})
    assert engine.loaded[0].closed == 1
    assert cache.statistics().bytes == cache.statistics().sessions == 0


def test_dropped_models_are_closed(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    use(cache, "a")
    with cache.use("b", lambda: bytes(40)):
        cache.drop("a")
        cache.drop("b")
        cache.drop("unknown")
        assert [model.closed for model in engine.loaded] == [1, 0]
    assert [model.closed for model in engine.loaded] == [1, 1]
    assert cache.statistics().bytes == 0


def test_concurrent_uses_share_one_load(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    engine.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(use, cache, "a") for _ in range(8)]
        engine.gate.set()
        for done in uses:
            done.result()
    assert len(engine.loaded) == 1
    assert engine.loaded[0].closed == 0


def test_a_failed_load_is_raised_in_all_waiting_threads_and_retried(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    engine.gate.clear()

    def bad() -> None:
        with cache.use("a", lambda: b"bad"):
            pytest.fail("it was lent")

    with ThreadPoolExecutor(4) as pool:
        uses = [pool.submit(bad) for _ in range(4)]
        engine.gate.set()
        kinds = {type(done.exception()) for done in uses}
    assert kinds == {FaceterError}
    assert cache.statistics().sessions == 0
    use(cache, "a")
    assert cache.statistics().sessions == 1


def test_a_model_dropped_while_its_load_fails(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    reading, go = threading.Event(), threading.Event()

    def read() -> bytes:
        reading.set()
        assert go.wait(10)
        return b"bad"

    def bad() -> None:
        with cache.use("a", read):
            pytest.fail("it was lent")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(bad)
        assert reading.wait(10)
        cache.drop("a")
        go.set()
        assert isinstance(done.exception(), FaceterError)


def test_close_closes_all(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    use(cache, "a")
    use(cache, "b")
    cache.close()
    assert [model.closed for model in engine.loaded] == [1, 1]


def test_under_concurrency_the_limit_holds_and_each_model_is_closed_once(engine: CountingEngine) -> None:
    cache = cache_of(engine, limit=120)

    def visit(seed: int) -> None:
        random = Random(seed)
        for _ in range(200):
            key = random.choice("abcdef")
            if random.random() < 0.1:
                cache.drop(key)
            with cache.use(key, lambda: bytes(40)) as model:
                model.run({})
            assert cache.statistics().bytes <= 120

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(visit, seed) for seed in range(8)]:
            done.result()
    assert cache.statistics().bytes == 40 * cache.statistics().sessions
    cache.close()
    assert {model.closed for model in engine.loaded} == {1}
    assert cache.statistics().misses == len(engine.loaded)


def test_with_the_real_engine() -> None:
    cache = SessionCache(OnnxRuntimeEngine(), limit_bytes=10**9, threads=1, saturates=False)
    one = np.ones((1, 2), np.float32)
    with cache.use("adder", graphs.adder) as model:
        assert model.run({"a": one, "b": one})["sum"].tolist() == [[2, 2]]
    assert cache.statistics().bytes > 0
    cache.close()


def test_loaded_in_the_layout_of_the_report(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    for report in (report_of("u8s8-blocks"), None, report_of("u8s8-blocks"), report_of("u8s8")):
        with cache.use("a", lambda: bytes(40), report):
            pass
    assert [model.layout for model in engine.loaded] == ["u8s8-blocks", "u8s8"]
    assert cache.statistics().bytes == 80


def test_a_dropped_model_is_closed_in_every_layout(engine: CountingEngine) -> None:
    cache = cache_of(engine)
    for key, layout in (("a", "u8s8"), ("a", "u8u8"), ("b", "u8s8")):
        with cache.use(key, lambda: bytes(40), report_of(layout)):
            pass
    cache.drop("a")
    assert [model.closed for model in engine.loaded] == [1, 1, 0]
    assert cache.statistics().bytes == 40


@pytest.mark.parametrize(("bits", "expected"), [(8, "u8u8"), (4, "u8s8-blocks")])
def test_on_a_host_whose_sums_saturate_weights_of_8_bits_are_unsigned(
    bits: int, expected: str, engine: CountingEngine
) -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    content = pack_weights(write_qdq(min_max_plan(residual_net(), weight_bits=bits, image=image))).SerializeToString()
    cache = SessionCache(engine, limit_bytes=10**9, threads=1, saturates=True)
    with cache.use("a", lambda: content, report_of("u8s8-blocks")):
        pass
    [model] = engine.loaded
    assert model.layout == expected


def test_predictions_are_made_in_the_layout_of_the_report(
    engine: CountingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(
        id="mdl_0",
        name="net",
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=40,
        metadata=ModelMetadata(),
        inputs=[TensorSpec(name="x", dtype="float32", shape=["batch", 2])],
        outputs=[],
        opset=17,
        parameters=1,
        quantization=report_of("u8s8-by-4", "u8s8"),
    )
    settings = Settings(_env_file=None, data_dir=tmp_path, measure_serving=False)
    core, sessions = Core.of(settings), cache_of(engine)
    server = ModelServer(core.library, sessions, core.pool, core.monitoring, settings)
    core = replace(core, sessions=sessions, model_server=server)
    monkeypatch.setattr(core.library.blobs, "read", lambda sha256: bytes(40))
    predictor = PredictionService(core)
    predictor.predict_json(model, b'{"inputs": {"x": [[1, 2]]}}', PredictOptions(), Interrupt())
    assert [model.layout for model in engine.loaded] == ["u8s8-by-4"]
