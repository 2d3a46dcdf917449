"""Torch modules to ONNX: BatchNorm kept, outputs equal, and clear words where that cannot be."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from faceter.cli.export_torch import export_command
from faceter.export.errors import ExportError
from faceter.export.module import export


class Residual(nn.Module):
    """Convolutions with BatchNorm around a residual addition; the second norm is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.shared = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.shared(x + self.shared(self.second(x))))
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


class TwoOutputs(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x.sum(1)


class OneBatchSize(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 12)


class Text(nn.Module):
    def forward(self, x: torch.Tensor) -> str:
        return str(x.shape)


def _trained_looking(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2.0)
            nn.init.normal_(layer.bias)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
    return module


@pytest.mark.parametrize("opset", [18, 20])
def test_batch_norm_is_kept_and_outputs_are_equal_at_any_batch_size(opset: int) -> None:
    module = _trained_looking(Residual())
    model = export(module, (1, 3, 8, 8), opset=opset, input_name="image")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == opset
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("BatchNormalization") == 3
    assert not {"Shape", "Expand", "CastLike", "Constant"} & set(kinds)
    assert not any(node.metadata_props for node in model.graph.node)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 4):
        image = torch.randn(batch, 3, 8, 8)
        with torch.no_grad():
            expected = module(image).numpy()
        actual = session.run(["output"], {"image": image.numpy()})[0]
        np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-4, atol=1e-5)


def test_parameters_keep_their_names() -> None:
    model = export(Residual(), (1, 3, 8, 8))
    names = {initializer.name for initializer in model.graph.initializer}
    assert {"first.weight", "norm.weight", "norm.running_mean", "norm.running_var", "head.bias"} <= names


def test_a_static_batch_is_in_the_graph() -> None:
    model = export(OneBatchSize(), (2, 3, 4), dynamic_batch=False)
    assert [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3, 4]


def test_several_outputs_are_numbered() -> None:
    model = export(TwoOutputs(), (1, 3))
    assert [output.name for output in model.graph.output] == ["output_0", "output_1"]


def test_a_module_in_training_mode_is_exported_in_evaluation_mode() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    assert [node.op_type for node in export(module, (1, 1, 4, 4)).graph.node] == ["Conv", "BatchNormalization"]


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (OneBatchSize(), (1, 3, 4), "--static-batch"),
        (Text(), (1, 3), "a tensor, or tensors in tuples, lists or a dictionary, not a str"),
        (Residual(), (1, 4, 8, 8), r"does not take image \(2, 4, 8, 8\): Given groups=1"),
    ],
)
def test_modules_that_cannot_be_exported_are_refused(module: nn.Module, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ExportError, match=words):
        export(module, shape)


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"gone/model\.onnx cannot be written: No such file or directory"):
        export_command("torch.nn:ReLU", ["1,3"], tmp_path / "gone" / "model.onnx")
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(ExportError, match="cannot be written"):
        export_command("torch.nn:ReLU", ["1,3"], tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
