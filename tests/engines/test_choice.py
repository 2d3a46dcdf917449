"""Choosing an engine and a batch size by measuring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.serving import ServingPrecision, ServingReport, ServingSettings
from faceter.engines import choice, openvino
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.engines.choice import REFERENCE, Candidate, candidates, choose, engine_of, host_name
from faceter.engines.onnxruntime import OnnxRuntimeEngine, has_cuda
from tests.engines import graphs

needs_openvino = pytest.mark.skipif(not openvino.is_available(), reason="OpenVINO is not installed")


def chosen(content: bytes, inputs: Any, settings: ServingSettings | None = None, samples: int = 8) -> ServingReport:
    def load(candidate: Candidate) -> LoadedModel:
        return engine_of(candidate).load(content, threads=1)

    return choose(load, inputs, settings or ServingSettings(), threads=1, samples=samples)


def images(samples: int) -> dict[str, Array]:
    return {"image": np.random.default_rng(0).normal(size=(samples, 3, 8, 8)).astype(np.float32)}


def test_every_engine_is_measured_beside_the_reference() -> None:
    report = chosen(graphs.classifier(), images)
    assert report.engines[0].engine == REFERENCE
    assert report.engines[0].milliseconds is not None
    assert report.host == host_name()
    assert [item.samples for item in report.batches] == [1, 2, 4, 8]
    if openvino.is_available():
        other = report.engines[1]
        assert (other.engine, other.precision) == ("openvino", ServingPrecision.EXACT)
        assert other.difference is not None
        assert other.difference <= 1e-4
        assert other.same_class == 1.0
        assert other.excluded is None
    fastest = min(report.engines, key=lambda item: item.milliseconds or np.inf)
    served = next(item for item in report.engines if item.engine == report.engine)
    assert served.milliseconds is not None
    assert fastest.milliseconds is not None
    assert served.milliseconds <= fastest.milliseconds / 0.95


@needs_openvino
def test_lower_precision_is_measured_only_where_the_settings_allow_it(shared_data: Path) -> None:
    content = (shared_data / "cifar10" / "resnet20.onnx").read_bytes()

    def inputs(samples: int) -> dict[str, Array]:
        return {"image": np.random.default_rng(0).normal(size=(samples, 3, 32, 32)).astype(np.float32)}

    exact = chosen(content, inputs)
    assert {item.precision for item in exact.engines} == {ServingPrecision.EXACT}
    fast = chosen(content, inputs, ServingSettings(precision=ServingPrecision.FAST))
    assert [item.precision for item in fast.engines] == [
        ServingPrecision.EXACT,
        ServingPrecision.EXACT,
        ServingPrecision.FAST,
    ]
    assert fast.engines[2].difference is not None
    assert fast.engines[2].excluded is None


class Changed:
    """A model whose outputs are off by a factor, or that fails."""

    def __init__(self, loaded: LoadedModel, factor: float | None) -> None:
        self._loaded = loaded
        self._factor = factor
        self.inputs, self.outputs, self.bytes = loaded.inputs, loaded.outputs, loaded.bytes
        self.probability_outputs = loaded.probability_outputs
        self.substitutes_float32 = False

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        if self._factor is None:
            raise FaceterError(ProblemKind.INFERENCE_FAILED, "It broke.")
        found = self._loaded.run(inputs, outputs)
        return {name: (values * np.float32(self._factor)).astype(values.dtype) for name, values in found.items()}

    def close(self) -> None:
        self._loaded.close()


@pytest.mark.parametrize(
    ("factor", "precision", "served", "why"),
    [
        (1.01, ServingPrecision.EXACT, REFERENCE, "differ by"),
        (np.nan, ServingPrecision.FAST, REFERENCE, "not those of the reference"),
        (None, ServingPrecision.FAST, REFERENCE, "It broke"),
        (1.0, ServingPrecision.EXACT, None, None),
        (1.01, ServingPrecision.FAST, None, None),
    ],
)
def test_an_engine_that_does_not_agree_never_serves(
    monkeypatch: pytest.MonkeyPatch,
    factor: float | None,
    precision: ServingPrecision,
    served: str | None,
    why: str | None,
) -> None:
    other = Candidate("openvino", ServingPrecision.EXACT)
    monkeypatch.setattr(choice, "candidates", lambda _: [Candidate(REFERENCE, ServingPrecision.EXACT), other])

    def load(candidate: Candidate) -> LoadedModel:
        loaded = OnnxRuntimeEngine().load(graphs.classifier(), threads=1)
        return loaded if candidate.engine == REFERENCE else Changed(loaded, factor)

    report = choose(load, images, ServingSettings(precision=precision), threads=1, samples=1)
    assert served is None or report.engine == served
    excluded = report.engines[1].excluded
    assert (excluded is None) == (why is None)
    assert why is None or why in str(excluded)


def test_a_model_with_whole_numbers_as_inputs_stays_with_the_reference() -> None:
    content = graphs.model(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        {"index": (TensorProto.INT64, ["n"])},
        {"y": (TensorProto.FLOAT, ["n"])},
        {"table": np.arange(4, dtype=np.float32)},
    )
    report = chosen(content, lambda samples: {"index": np.ones(samples, np.int64)})
    assert report.engine == REFERENCE
    assert all(item.excluded for item in report.engines[1:])


def test_a_model_whose_inputs_are_not_known_is_served_by_the_reference_one_by_one() -> None:
    report = chosen(graphs.classifier(), lambda _: None)
    assert (report.engine, report.max_batch_size, report.batches) == (REFERENCE, 1, [])


def test_a_model_that_mixes_samples_is_not_batched() -> None:
    content = graphs.model(
        [helper.make_node("CumSum", ["x", "axis"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", 3])},
        {"y": (TensorProto.FLOAT, ["n", 3])},
        {"axis": np.array(0, np.int64)},
    )
    report = chosen(content, lambda samples: {"x": np.random.default_rng(0).normal(size=(samples, 3)).astype("f4")})
    assert (report.max_batch_size, report.batches) == (1, [])


def test_the_batch_size_of_the_metadata_is_taken() -> None:
    assert chosen(graphs.classifier(), images, ServingSettings(max_batch_size=3)).max_batch_size == 3


def test_a_batch_that_saves_time_is_chosen_and_one_that_does_not_is_not() -> None:
    """A matrix that does not fit the caches is read once for a batch; element-wise work grows with the batch."""
    weight = np.random.default_rng(0).normal(size=(4096, 4096)).astype(np.float32)
    matrix = graphs.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", 4096])},
        {"y": (TensorProto.FLOAT, ["n", 4096])},
        {"w": weight},
    )
    report = chosen(matrix, lambda samples: {"x": np.ones((samples, 4096), np.float32)})
    assert report.max_batch_size > 1
    waves = graphs.model(
        [helper.make_node("Sin", ["x"], ["s"]), helper.make_node("Sin", ["s"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", 200_000])},
        {"y": (TensorProto.FLOAT, ["n", 200_000])},
    )
    reports = (chosen(waves, lambda samples: {"x": np.ones((samples, 200_000), np.float32)}) for _ in range(5))
    assert any(report.max_batch_size == 1 for report in reports), "beside other work, one measurement can be wrong"


def test_every_installed_engine_is_a_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_available", lambda: True)
    monkeypatch.setattr(choice, "has_cuda", lambda: True)
    exact, fast = ServingPrecision.EXACT, ServingPrecision.FAST
    assert candidates(ServingSettings(precision=fast)) == [
        Candidate(REFERENCE, exact),
        Candidate("onnxruntime_cuda", exact),
        Candidate("onnxruntime_cuda", fast),
        Candidate("openvino", exact),
        Candidate("openvino", fast),
    ]
    assert Candidate("onnxruntime_cuda", fast) not in candidates(ServingSettings())


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime has CUDA here")
def test_a_gpu_that_cannot_be_used_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_cuda", lambda: True)
    report = chosen(graphs.classifier(), images)
    cuda = next(item for item in report.engines if item.engine == "onnxruntime_cuda")
    assert cuda.milliseconds is None
    assert "cannot use a GPU here" in str(cuda.excluded)
    assert report.engine != "onnxruntime_cuda"


@pytest.mark.skipif(not has_cuda(), reason="ONNX Runtime has no CUDA here")
def test_a_gpu_gives_the_answers_of_the_reference(shared_data: Path) -> None:
    content = (shared_data / "cifar10" / "resnet20.onnx").read_bytes()

    def inputs(samples: int) -> dict[str, Array]:
        return {"image": np.random.default_rng(0).normal(size=(samples, 3, 32, 32)).astype(np.float32)}

    report = chosen(content, inputs, ServingSettings(precision=ServingPrecision.FAST))
    cuda = [item for item in report.engines if item.engine == "onnxruntime_cuda"]
    assert len(cuda) == 2
    assert cuda[0].excluded is None
    assert cuda[0].difference is not None
    assert cuda[0].difference <= 1e-4
