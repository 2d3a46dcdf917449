"""Quantization of networks with open sizes, several inputs, integers and recurrent states."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationReport, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.tensors import TensorsDataset, tensors_file
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.export.inputs import ExportInput
from faceter.export.module import export_module
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import QuantizedModel, quantize

SETTINGS = Settings()


class OpenImages(nn.Module):
    """Convolutions of stride 4 in all; a map of scores, as large as the image lets it be."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 4, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.layers(image)
        return result


class Sequences(nn.Module):
    """A recurrent classifier of each time step."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(6, 12, batch_first=True, bidirectional=True)
        self.classify = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.classify(self.recurrent(x)[0])
        return result


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.both = nn.Conv1d(2, 8, 5, padding=2), nn.Linear(7, 8), nn.Linear(16, 3)

    def forward(self, wave: Tensor, features: Tensor) -> Tensor:
        parts = torch.cat([self.first(wave).relu().mean(2), self.second(features).relu()], 1)
        result: Tensor = self.both(parts)
        return result


class Tokens(nn.Module):
    """An embedding of 50 tokens, masked mean, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.classify = nn.Embedding(50, 16), nn.Linear(16, 24), nn.Linear(24, 3)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(ids) * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        result: Tensor = self.classify(self.hidden(mean).relu())
        return result


class Stateful(nn.Module):
    """A step of a recurrent network that is given its state, [layers, batch, units], and returns the next."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.out = nn.GRU(5, 8, 2), nn.Linear(8, 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, following = self.recurrent(x, state)
        return self.out(y), following


@pytest.fixture(scope="module")
def images() -> bytes:
    return exported(OpenImages(), ExportInput("image", ("N", 3, "h", "w")))


@pytest.fixture(scope="module")
def sequences() -> bytes:
    return exported(Sequences(), ExportInput("x", ("N", "time", 6)))


@pytest.fixture(scope="module")
def two_inputs() -> bytes:
    return exported(TwoInputs(), ExportInput("wave", ("N", 2, 40)), ExportInput("features", ("N", 7)))


@pytest.fixture(scope="module")
def tokens() -> bytes:
    ids = ExportInput("ids", ("N", "length"), "int64", (0, 49))
    return exported(Tokens(), ids, ExportInput("attention_mask", ("N", "length"), "int64", (1, 1)))


@pytest.fixture(scope="module")
def stateful() -> bytes:
    return exported(Stateful(), ExportInput("x", ("steps", 1, 5)), ExportInput("state", (2, 1, 8)))


def exported(module: nn.Module, *inputs: ExportInput) -> bytes:
    torch.manual_seed(0)
    content: bytes = export_module(module, inputs).SerializeToString()
    return content


def quantized(content: bytes, metadata: ModelMetadata | None = None, **request: Any) -> QuantizedModel:
    return quantize(content, metadata or ModelMetadata(), QuantizationRequest(**request), JobDatasets(), SETTINGS)


def agrees(report: QuantizationReport, error: float) -> bool:
    return report.agreement.relative_error < error


@pytest.mark.parametrize("method", ["rq", "dfq", "aciq"])
@pytest.mark.parametrize("network", ["images", "sequences", "two_inputs", "tokens", "stateful"])
def test_every_kind_of_inputs_is_quantized_and_agrees(
    network: str, method: str, request: pytest.FixtureRequest
) -> None:
    made = quantized(request.getfixturevalue(network), method=method)
    assert agrees(made.report, 0.1), made.report.agreement
    assert made.report.tensors


@pytest.mark.parametrize("network", ["images", "sequences", "two_inputs", "tokens", "stateful"])
def test_every_kind_of_inputs_is_tuned(network: str, request: pytest.FixtureRequest) -> None:
    made = quantized(request.getfixturevalue(network), method="auto", max_steps=6, weight_bits=4)
    tuning = made.report.tuning
    assert tuning is not None
    assert tuning.steps == 6
    assert agrees(made.report, 0.5)


def test_the_report_says_at_which_shapes_and_the_model_stays_open(images: bytes) -> None:
    made = quantized(images, method="rq")
    assert made.report.input_shapes == {"image": [1, 3, 32, 32]}
    assert any("image [1, 3, 32, 32], the smallest sizes at which it runs" in text for text in made.report.warnings)
    model = OnnxRuntimeEngine().load(made.exported.content, threads=1)
    original = OnnxRuntimeEngine().load(images, threads=1)
    image = np.random.default_rng(0).normal(size=(3, 3, 52, 76)).astype(np.float32)
    [before], [after] = original.run({"image": image}).values(), model.run({"image": image}).values()
    assert after.shape == before.shape == (3, 4, 13, 19)
    assert np.linalg.norm(after - before) < 0.1 * np.linalg.norm(before)


def test_shapes_of_the_request_win_over_those_of_the_metadata(images: bytes, sequences: bytes) -> None:
    said = ModelMetadata(input_shapes={"x": [1, 30, 6]})
    assert quantized(sequences, said, method="rq").report.input_shapes == {"x": [1, 30, 6]}
    made = quantized(sequences, said, method="rq", input_shapes={"x": [1, 44, 6]})
    assert made.report.input_shapes == {"x": [1, 44, 6]}
    assert not any("smallest sizes" in text for text in made.report.warnings), "they were given"
    photos = ModelMetadata(preprocessing=Preprocessing(size=[24, 24]))
    made = quantized(images, photos, method="rq", input_shapes={"image": [1, 3, 40, 56]})
    assert made.report.input_shapes == {"image": [1, 3, 40, 56]}
    assert quantized(images, photos, method="rq").report.input_shapes == {"image": [1, 3, 24, 24]}


def test_shapes_that_the_model_does_not_take(sequences: bytes) -> None:
    with pytest.raises(FaceterError, match="fixes axis 2 of the input 'x' at 6"):
        quantized(sequences, method="rq", input_shapes={"x": [1, 30, 7]})


def test_methods_that_optimize_inputs_say_that_tokens_cannot_be(tokens: bytes) -> None:
    with pytest.raises(FaceterError, match="needs a model whose inputs are floats"):
        quantized(tokens, method="zaq", max_steps=4)


def test_equal_seeds_give_equal_files(two_inputs: bytes) -> None:
    first, second = (
        quantized(two_inputs, method="auto", max_steps=6, weight_bits=4, seed=3).exported.content for _ in range(2)
    )
    assert first == second
    assert onnx.load_model_from_string(first).graph.input[0].name == "wave"


@pytest.mark.parametrize("method", ["rq", "ft"])
def test_several_inputs_are_calibrated_tuned_and_evaluated_on_tensors(
    two_inputs: bytes, method: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "wave": rng.normal(2.0, 0.5, size=(40, 2, 40)).astype(np.float32),
        "features": rng.normal(size=(40, 7)).astype(np.float32),
    }
    [scores] = OnnxRuntimeEngine().load(two_inputs, threads=1).run(arrays).values()
    path = tmp_path / "tensors.npz"
    path.write_bytes(tensors_file(arrays, labels=scores.argmax(1).tolist()))
    metadata = ModelMetadata(task="signal_classification")
    with TensorsDataset.open(path, SETTINGS) as data:
        steps = {"max_steps": 6} if method == "ft" else {}
        request = QuantizationRequest(method=method, **steps)
        made = quantize(two_inputs, metadata, request, JobDatasets(data, data), SETTINGS)
    assert made.report.agreement.source == "evaluation"
    [accuracy] = made.report.quality
    assert (accuracy.metric, accuracy.before, accuracy.samples) == ("top1", 1.0, 40)
    assert accuracy.after >= 0.9
    [wave] = [item for item in made.report.tensors if item.tensor == "wave"]
    assert 2 < wave.clip[1] < 5, "the range of the data, not of noise"


def test_whole_numbers_are_calibrated_on_tensors(tokens: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 50, (24, 30)), np.ones((24, 30), np.int64)
    path = tmp_path / "tensors.npz"
    path.write_bytes(tensors_file({"ids": ids, "attention_mask": mask}))
    with TensorsDataset.open(path, SETTINGS) as data:
        made = quantize(tokens, ModelMetadata(), QuantizationRequest(method="rq"), JobDatasets(data), SETTINGS)
    assert made.report.input_shapes == {"ids": [1, 30], "attention_mask": [1, 30]}, "those of the data"
    assert made.report.agreement.source == "calibration"
    assert agrees(made.report, 0.05)
