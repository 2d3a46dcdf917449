"""Modules of torch, exported here and uploaded: BatchNorm kept, outputs equal, the module unchanged."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from faceter import Client
from faceter.client.torch_models import exported
from faceter.export.errors import ExportError
from tests.app.uploads import METADATA


class Normed(nn.Module):
    """A convolution with BatchNorm, and a second input that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor, offset: torch.Tensor | None = None) -> torch.Tensor:
        features = torch.relu(self.norm(self.convolution(image))).mean((2, 3))
        logits: torch.Tensor = self.head(features)
        return logits if offset is None else logits + offset


class Looked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(ids).mean(1)
        return rows


class Fixed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 12)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(1)
    made = Normed().train()
    with torch.no_grad():
        made(torch.randn(8, 3, 8, 8))
    return made


def test_a_module_is_uploaded_with_its_batch_norm(client: Client, module: nn.Module) -> None:
    before = copy.deepcopy(module.state_dict())
    model = client.models.upload_torch(module, torch.randn(1, 3, 8, 8), metadata=METADATA)
    assert model.name == "Normed"
    assert model.graph().operators["BatchNormalization"] == 1
    assert [spec.shape for spec in model.inputs] == [["batch", 3, 8, 8]]
    assert model.inputs[0].name == "image"
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    batch = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        expected = module.eval()(batch).numpy()
    found = model.predict(batch, raw=True).outputs
    assert found is not None
    np.testing.assert_allclose(found["output"], expected, rtol=1e-4, atol=1e-5)


def test_several_inputs_open_sizes_and_a_name(client: Client, module: nn.Module) -> None:
    examples = {"offset": torch.randn(2, 3), "image": torch.randn(2, 3, 8, 8)}
    sizes = {"image": {0: "n", 2: "h", 3: "w"}, "offset": {0: "n"}}
    model = client.models.upload_torch(module, examples, name="two inputs", open_sizes=sizes)
    assert {spec.name: spec.shape for spec in model.inputs} == {"image": ["n", 3, "h", "w"], "offset": ["n", 3]}
    inputs = {"image": torch.randn(1, 3, 12, 10), "offset": torch.ones(1, 3)}
    with torch.no_grad():
        expected = module.eval()(**inputs).numpy()
    found = model.predict(inputs).outputs
    assert found is not None
    np.testing.assert_allclose(found["output"], expected, rtol=1e-4, atol=1e-5)
    fixed = client.models.upload_torch(module, (torch.randn(1, 3, 8, 8), torch.zeros(1, 3)), open_sizes={})
    assert [spec.shape for spec in fixed.inputs] == [[1, 3, 8, 8], [1, 3]]


def test_whole_numbers_stay_within_the_examples(client: Client) -> None:
    model = client.models.upload_torch(Looked(), torch.tensor([[0, 49, 7]]))
    assert (model.inputs[0].name, model.inputs[0].dtype) == ("ids", "int64")


def test_messages_speak_of_arguments_not_of_options() -> None:
    with pytest.raises(ExportError) as caught:
        exported(Fixed(), torch.randn(2, 12))
    assert "--" not in str(caught.value)
    assert "open_sizes={}" in str(caught.value)
    assert exported(Fixed(), torch.randn(2, 12), open_sizes={})


def test_examples_must_be_tensors_of_the_inputs(module: nn.Module) -> None:
    with pytest.raises(TypeError, match="'image' must be a tensor, not ndarray"):
        exported(module, np.zeros((1, 3, 8, 8)))
    with pytest.raises(ValueError, match="open_sizes names images"):
        exported(module, torch.randn(1, 3, 8, 8), open_sizes={"images": {0: "n"}})
    with pytest.raises(TypeError, match="complex64"):
        exported(module, torch.randn(1, 3, 8, 8).to(torch.complex64))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"onnxscript.*faceter\[export\]"):
        exported(module, torch.randn(1, 3, 8, 8))
