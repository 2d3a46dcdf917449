"""Activations in order, whatever the batches, threads and engine; rows in files."""

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
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.text_pairs import TextPairsDataset
from tests.workers.explanation import scenes
from workers.explanation import activations
from workers.explanation.activations import OnnxActivationExtractor, stream_activations
from workers.explanation.parallel import map_in_order
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.row_file import RowFile
from workers.jobs.scratch import ScratchFiles


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_items(threads: int) -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(map_in_order(slow, range(40), threads)) == [item * item for item in range(40)]


def test_few_results_wait_in_memory() -> None:
    done: list[int] = []
    results = map_in_order(lambda item: done.append(item), range(100), 2)
    next(results)
    time.sleep(0.05)
    assert len(done) <= 6
    results.close()  # type: ignore[attr-defined]


def test_an_exception_is_raised_at_its_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    results = map_in_order(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_rows_are_read_back_and_truncated(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(9, 3, 2)).astype(np.float32)
    with ScratchFiles(tmp_path) as files:
        file = RowFile(files.open("rows"), (3, 2), np.dtype(np.float32))
        for row in rows:
            file.append(row)
        assert np.array_equal(file.rows(2, 7), rows[2:7])
    with ScratchFiles(tmp_path) as files:
        file = RowFile(files.open("rows"), (3, 2), np.dtype(np.float32))
        assert len(file) == 9
        file.truncate(4)
        file.append(rows[8])
        assert np.array_equal(file.rows(0, 5), rows[[0, 1, 2, 3, 8]])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_bytes", [1, 2**22])
def test_equal_activations_whatever_the_batch_and_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, batch_bytes: int
) -> None:
    monkeypatch.setattr(activations, "_BATCH_BYTES", batch_bytes)
    monkeypatch.setattr(activations, "processor_count", lambda: threads)
    path = tmp_path / "streets.zip"
    path.write_bytes(scenes.scenes(11))
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    request = ExplanationRequest(dataset_id="d", layer="colors")
    with ConceptsDataset.open(path, Settings(_env_file=None)) as data:
        probe = build_probe_dataset(data, DatasetKind.CONCEPTS, model, request)
        found = list(stream_activations(OnnxActivationExtractor(content, model.metadata, ["colors"], "logits"), probe))
        alone = [
            OnnxActivationExtractor(content, model.metadata, ["colors"], "logits").run(probe, [index])[0]
            for index in range(11)
        ]
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(one.maps[0], other.maps[0])
        assert one.predicted == other.predicted


def network_on(path: Path, graph: bytes, metadata: ModelMetadata, layer: str, file: bytes, kind: DatasetKind) -> None:
    (path / "data").write_bytes(file)
    model = model_of(graph, metadata)
    request = ExplanationRequest(dataset_id="d", layer=layer)
    with open_dataset(path / "data", kind, Settings(_env_file=None)) as data:
        probe = build_probe_dataset(data, kind, model, request)
        OnnxActivationExtractor(graph, model.metadata, [layer], None).run(probe, [0])


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


def test_torch_gives_the_activations_of_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pairs.zip"
    path.write_bytes(scenes.sentences(40))
    content = scenes.word_network().SerializeToString()
    model = model_of(content, scenes.word_metadata())
    request = ExplanationRequest(dataset_id="d", layer="hidden")
    with TextPairsDataset.open(path, Settings(_env_file=None)) as data:
        probe = build_probe_dataset(data, DatasetKind.TEXT_PAIRS, model, request)
        expected = OnnxActivationExtractor(content, model.metadata, ["hidden"], "logits").run(probe, range(40))
        monkeypatch.setattr(OnnxActivationExtractor, "_runtime", OnnxActivationExtractor._torch)
        found = OnnxActivationExtractor(content, model.metadata, ["hidden"], "logits").run(probe, range(40))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.maps[0], other.maps[0], rtol=1e-5, atol=1e-6)
        assert one.predicted == other.predicted
