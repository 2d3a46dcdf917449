"""Signals through the whole pipeline: calibrated on, tuned on, graded on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.signals import SignalsDataset, signals_file
from faceter.export.module import export
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs
from tests.workers.architectures import ConvNet1d, export_of
from tests.workers.quantization.networks import accuracy, one_thread, outputs_of, request_for
from workers.model_input import as_model_input
from workers.quantization.calibration_inputs import calibration_batches, tuning_inputs
from workers.quantization.comparison_inputs import dataset_inputs
from workers.quantization.datasets import JobDatasets, validate_evaluation_dataset
from workers.quantization.pipeline import QuantizedModel, quantize

SETTINGS = Settings(_env_file=None)
CLASSES = ["slow", "middle", "fast"]
CHANNELS, LENGTH = 2, 96
METADATA = ModelMetadata(task=Task.SIGNAL_CLASSIFICATION, labels=CLASSES)


def waves(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return noisy waves [N, 2, 96] of one of three frequencies, the second channel lagging behind the first."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    frequency = np.array([3.0, 7.0, 14.0])[labels] * rng.uniform(0.8, 1.2, count)
    phase = 2 * np.pi * (rng.uniform(size=(count, 1, 1)) + np.array([0, 0.2])[:, None])
    angles = 2 * np.pi * frequency[:, None, None] * np.arange(LENGTH) / LENGTH
    noise = rng.normal(0, 1.2, (count, CHANNELS, LENGTH))
    return (np.sin(angles + phase) + noise).astype(np.float32), labels.astype(np.int64)


def trained(signals: NDArray[np.float32], labels: NDArray[np.int64]) -> nn.Module:
    """Return a small convolutional network that tells the waves apart."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv1d(CHANNELS, 16, 9, 2, 4, bias=False), nn.BatchNorm1d(16), nn.ReLU()),
        *(nn.Conv1d(16, 24, 5, 2, 2, bias=False), nn.BatchNorm1d(24), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 3)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    x, y = torch.from_numpy(signals), torch.from_numpy(labels)
    for step in range(60):
        chosen = torch.arange(64) + 64 * step % (len(x) - 64)
        loss = functional.cross_entropy(network(x[chosen]), y[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@dataclass(frozen=True)
class Waves:
    """A trained network, and a labelled dataset of waves it has not seen."""

    model: onnx.ModelProto
    data: SignalsDataset
    signals: NDArray[np.float32]
    labels: NDArray[np.int64]


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    with one_thread():
        return export(trained(*waves(1024, 1)), [1, CHANNELS, LENGTH], input_name="signal")


@pytest.fixture
def held_out(network: onnx.ModelProto, tmp_path: Path) -> Iterator[Waves]:
    signals, labels = waves(300, 2)
    path = tmp_path / "waves.npz"
    path.write_bytes(signals_file(signals, labels, CLASSES))
    with SignalsDataset.open(path, SETTINGS) as data:
        yield Waves(network, data, signals, labels)


def record() -> Dataset:
    return Dataset(
        id="dts_test",
        name="waves",
        kind=DatasetKind.SIGNALS,
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=1,
        samples=300,
    )


def run_on(model: onnx.ModelProto, metadata: ModelMetadata, data: JobDatasets, **fields: object) -> QuantizedModel:
    with one_thread():
        return quantize(model.SerializeToString(), metadata, request_for(**fields), data, SETTINGS)


def evaluating(data: SignalsDataset) -> JobDatasets:
    return JobDatasets(evaluation=data, records={"evaluation_dataset": record()})


@pytest.mark.parametrize("method", ["rq", "dfq", "aciq"])
def test_accuracy_on_signals(held_out: Waves, method: str) -> None:
    made = run_on(held_out.model, METADATA, evaluating(held_out.data), method=method, evaluation_dataset_id="dts_test")
    (quality,) = made.report.quality
    assert (quality.metric, quality.samples) == ("top1", 300)
    whole = accuracy(outputs_of(held_out.model, held_out.signals, "signal"), held_out.labels)
    assert whole > 0.9
    assert quality.before == pytest.approx(whole)
    model = load_model(made.exported.content, max_bytes=SETTINGS.max_model_bytes)
    answers = accuracy(outputs_of(model, held_out.signals, "signal"), held_out.labels)
    assert quality.after == pytest.approx(answers, abs=0.01)
    assert quality.after > whole - 0.03
    assert made.report.agreement.source == "evaluation"
    assert made.report.agreement.top1 is not None
    assert made.report.agreement.top1 > 0.95


def test_labels_follow_the_models_order(held_out: Waves) -> None:
    """The same network with other names for its outputs is right only where names say so."""
    metadata = METADATA.model_copy(update={"labels": ["fast", "middle", "slow"]})
    (quality,) = run_on(held_out.model, metadata, evaluating(held_out.data), method="rq").report.quality
    outputs = outputs_of(held_out.model, held_out.signals, "signal")
    assert quality.before == pytest.approx(accuracy(outputs, 2 - held_out.labels))
    assert quality.before < 0.5


def test_calibrated_ranges_are_those_of_the_signals(held_out: Waves) -> None:
    made = run_on(
        held_out.model, METADATA, JobDatasets(calibration=held_out.data), method="rq", calibration_dataset_id="dts_test"
    )
    assert made.report.agreement.source == "calibration"
    assert made.report.agreement.samples == 300
    assert made.report.quality == []
    (entry,) = [tensor for tensor in made.report.tensors if tensor.tensor == "signal"]
    low, high = entry.clip
    assert low == pytest.approx(held_out.signals.min(), abs=0.1)
    assert high == pytest.approx(held_out.signals.max(), abs=0.1)


def test_tuning_on_signals(held_out: Waves) -> None:
    made = run_on(
        held_out.model,
        METADATA,
        JobDatasets(calibration=held_out.data),
        method="ft",
        weight_bits=4,
        activation_bits=4,
        max_steps=3,
        calibration_dataset_id="dts_test",
    )
    assert made.report.tuning is not None
    assert made.report.tuning.steps == 3


def test_calibration_batches_are_seeded_rows_of_the_file(held_out: Waves) -> None:
    specs = input_specs(held_out.model)
    first, second, other = (calibration_batches(held_out.data, METADATA, specs, seed) for seed in (0, 0, 1))
    rows = np.concatenate([batch["signal"] for batch in first])
    np.testing.assert_array_equal(rows, held_out.signals, err_msg="there are fewer than 512, so all are taken")
    np.testing.assert_array_equal(rows, np.concatenate([batch["signal"] for batch in second]))
    assert len(other) == len(first)
    np.testing.assert_array_equal(tuning_inputs(held_out.data, METADATA, specs, 0), held_out.signals)


def test_more_signals_than_are_calibrated_on(tmp_path: Path, network: onnx.ModelProto) -> None:
    signals = np.zeros((600, CHANNELS, LENGTH), np.float32) + np.arange(600, dtype=np.float32)[:, None, None]
    path = tmp_path / "a.npz"
    path.write_bytes(signals_file(signals))
    with SignalsDataset.open(path, SETTINGS) as data:
        chosen = [
            np.concatenate([batch["signal"][:, 0, 0] for batch in batches])
            for batches in (calibration_batches(data, METADATA, input_specs(network), seed) for seed in (0, 0, 1))
        ]
    assert all(len(set(rows.tolist())) == 512 for rows in chosen)
    assert chosen[0].tolist() == chosen[1].tolist() != chosen[2].tolist()


def test_a_batch_that_is_fixed_is_filled(held_out: Waves) -> None:
    with one_thread():
        model = export(nn.Conv1d(CHANNELS, 3, LENGTH), [8, CHANNELS, LENGTH], input_name="signal", dynamic_batch=False)
    specs = input_specs(model)
    assert [len(batch["signal"]) for batch in calibration_batches(held_out.data, METADATA, specs, 0)] == [8] * 38
    batches = list(dataset_inputs(held_out.data, "evaluation", METADATA, specs).batches)
    assert [batch.count for batch in batches] == [8] * 37 + [4]
    assert all(len(batch.inputs["signal"]) == 8 for batch in batches)
    labels = [batch.labels for batch in batches if batch.labels is not None]
    assert np.concatenate(labels).tolist() == held_out.labels.tolist()


def test_half_precision_inputs(held_out: Waves) -> None:
    (spec,) = input_specs(held_out.model)
    halves = [spec.model_copy(update={"dtype": "float16"})]
    (batch,) = as_model_input(held_out.data, METADATA, halves, "calibration_dataset_id").batches(5, range(5))
    assert batch.inputs["signal"].dtype == np.float16
    np.testing.assert_array_equal(batch.inputs["signal"], held_out.signals[:5].astype(np.float16))


def test_signals_of_another_shape(held_out: Waves) -> None:
    specs = input_specs(export_of(ConvNet1d))
    calls: dict[str, Callable[[], object]] = {
        "calibration_dataset_id": lambda: calibration_batches(held_out.data, METADATA, specs, 0),
        "evaluation_dataset_id": lambda: dataset_inputs(held_out.data, "evaluation", METADATA, specs),
    }
    for field, call in calls.items():
        with pytest.raises(FaceterError, match=r"\[2, 96\].*2, 128\]") as caught:
            call()
        assert caught.value.kind is ProblemKind.DATASET_MISMATCH
        assert [error.field for error in caught.value.errors] == [field]


def outputs(classes: int) -> list[TensorSpec]:
    return [TensorSpec(name="scores", dtype="float32", shape=["n", classes])]


def test_signals_that_cannot_measure_accuracy_are_refused(held_out: Waves) -> None:
    datasets = evaluating(held_out.data)
    images = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=Preprocessing(size=[8, 8]))
    for metadata, kind in [
        (images, ProblemKind.WRONG_DATASET_KIND),
        (METADATA.model_copy(update={"labels": ["a", "b", "c"]}), ProblemKind.DATASET_MISMATCH),
        (METADATA.model_copy(update={"labels": None}), ProblemKind.DATASET_MISMATCH),
    ]:
        with pytest.raises(FaceterError) as caught:
            validate_evaluation_dataset(datasets, metadata, outputs(4))
        assert caught.value.kind is kind
        assert [error.field for error in caught.value.errors] == ["evaluation_dataset_id"]
    validate_evaluation_dataset(datasets, METADATA, outputs(3))
    validate_evaluation_dataset(datasets, ModelMetadata(), outputs(4))


def test_signals_without_labels_are_refused(tmp_path: Path, network: onnx.ModelProto) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(signals_file(waves(40, 3)[0]))
    with SignalsDataset.open(path, SETTINGS) as data:
        with pytest.raises(FaceterError, match="has no labels"):
            run_on(network, METADATA, evaluating(data), method="rq")
        report = run_on(network, ModelMetadata(), evaluating(data), method="rq").report
    assert (report.quality, report.agreement.samples, report.agreement.source) == ([], 40, "evaluation")
