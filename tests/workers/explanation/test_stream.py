"""Samples in order, whatever does them; rows in files."""

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.graded_sets import model_of
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import ModelMetadata
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_dataset
from tests.workers.explanation import scenes
from workers.explanation import stream
from workers.explanation.kinds import samples_of
from workers.explanation.stream import Network, Spill, in_order, runs
from workers.jobs.scratch import ScratchFiles


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(in_order(slow, range(40), threads)) == [item * item for item in range(40)]


def test_few_items_are_ahead_of_what_is_asked_for() -> None:
    done: list[int] = []
    results = in_order(lambda item: done.append(item), range(100), 2)
    next(results)
    time.sleep(0.05)
    assert len(done) <= 6
    results.close()  # type: ignore[attr-defined]


def test_what_goes_wrong_is_said_at_its_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = in_order(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3, 2)).astype(np.float32)
    with ScratchFiles(tmp_path) as files:
        spill = Spill(files.open("rows"), (3, 2), np.dtype(np.float32))
        for row in rows:
            spill.append(row)
        assert np.array_equal(spill.rows(2, 7), rows[2:7])
    with ScratchFiles(tmp_path) as files:
        spill = Spill(files.open("rows"), (3, 2), np.dtype(np.float32))
        assert len(spill) == 9
        spill.keep(4)
        spill.append(rows[8])
        assert np.array_equal(spill.rows(0, 5), rows[[0, 1, 2, 3, 8]])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_bytes", [1, 2**22])
def test_equal_activations_whatever_the_batch_and_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, batch_bytes: int
) -> None:
    monkeypatch.setattr(stream, "_BATCH_BYTES", batch_bytes)
    monkeypatch.setattr(stream, "processor_count", lambda: threads)
    path = tmp_path / "streets.zip"
    path.write_bytes(scenes.scenes(11))
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    request = ExplanationRequest(dataset_id="d", layer="colors")
    with open_dataset(path, DatasetKind.CONCEPTS, Settings(_env_file=None)) as data:
        samples = samples_of(data, DatasetKind.CONCEPTS, model, request)
        found = list(runs(Network(content, ["colors"], model.inputs, "logits"), samples))
        alone = [Network(content, ["colors"], model.inputs, "logits").run(samples, [index])[0] for index in range(11)]
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(one.maps[0], other.maps[0])
        assert one.predicted == other.predicted


def network_on(path: Path, graph: bytes, metadata: ModelMetadata, layer: str, file: bytes, kind: DatasetKind) -> None:
    (path / "data").write_bytes(file)
    model = model_of(graph, metadata)
    request = ExplanationRequest(dataset_id="d", layer=layer)
    with open_dataset(path / "data", kind, Settings(_env_file=None)) as data:
        samples = samples_of(data, kind, model, request)
        Network(graph, [layer], model.inputs, None).run(samples, [0])


def test_a_layer_without_an_axis_of_units_is_refused(tmp_path: Path) -> None:
    graph = scenes.word_network().SerializeToString()
    with pytest.raises(FaceterError, match="no axis of units") as error:
        network_on(
            tmp_path, graph, scenes.word_metadata(), "premise_words", scenes.sentences(5), DatasetKind.TEXT_PAIRS
        )
    assert error.value.kind is ProblemKind.INFERENCE_FAILED


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    graph = scenes.color_network()
    (weight,) = [tensor for tensor in graph.graph.initializer if tensor.name == "weight"]
    weight.raw_data = np.full(12, np.inf, np.float32).tobytes()
    with pytest.raises(FaceterError, match="not finite"):
        network_on(
            tmp_path,
            graph.SerializeToString(),
            scenes.color_metadata(),
            "difference",
            scenes.scenes(2),
            DatasetKind.CONCEPTS,
        )


def test_the_interpreter_that_runs_on_a_gpu_gives_what_onnx_runtime_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pairs.zip"
    path.write_bytes(scenes.sentences(40))
    content = scenes.word_network().SerializeToString()
    model = model_of(content, scenes.word_metadata())
    request = ExplanationRequest(dataset_id="d", layer="hidden")
    with open_dataset(path, DatasetKind.TEXT_PAIRS, Settings(_env_file=None)) as data:
        samples = samples_of(data, DatasetKind.TEXT_PAIRS, model, request)
        expected = Network(content, ["hidden"], model.inputs, "logits").run(samples, range(40))
        monkeypatch.setattr(Network, "_runtime", Network._torch)
        found = Network(content, ["hidden"], model.inputs, "logits").run(samples, range(40))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.maps[0], other.maps[0], rtol=1e-5, atol=1e-6)
        assert one.predicted == other.predicted
