"""Generators written as ONNX: outputs in ONNX Runtime, sizes, operators and names."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from workers.translation.networks import PatchDiscriminator, ResnetGenerator, UnetGenerator, initialize
from workers.translation.onnx_writer import write_generator


def drawn(module: nn.Module) -> nn.Module:
    """Return the module with weights and biases large enough to matter."""
    random = torch.Generator().manual_seed(3)
    initialize(module, random)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.1)
    return module


def resnet() -> ResnetGenerator:
    module = drawn(ResnetGenerator(channels=8, blocks=2))
    assert isinstance(module, ResnetGenerator)
    return module


def unet(depth: int = 6) -> UnetGenerator:
    module = drawn(UnetGenerator(channels=4, depth=depth))
    assert isinstance(module, UnetGenerator)
    return module


def images(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1


@pytest.mark.parametrize("opset", [13, 18, 21])
@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        (resnet(), [(1, 8, 8), (2, 32, 32), (3, 20, 48), (1, 128, 64)]),
        (unet(), [(1, 64, 64), (2, 64, 128), (1, 192, 64)]),
        (unet(2), [(1, 8, 8), (2, 12, 20)]),
    ],
    ids=["resnet", "unet", "unet of two levels"],
)
def test_onnx_runtime_computes_the_same_as_the_module(
    module: ResnetGenerator | UnetGenerator, sizes: list[tuple[int, int, int]], opset: int
) -> None:
    model = write_generator(module.train(), opset=opset)
    assert module.training, "it is not changed"
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    module.eval()
    for count, height, width in sizes:
        x = images(count, height, width)
        with torch.no_grad():
            expected = module(x).numpy()
        found = np.asarray(session.run(None, {"image": x.numpy()})[0])
        assert found.shape == x.shape
        assert np.abs(found).max() > 0.5, "the translation must not be close to zero"
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_weights_of_any_memory_format_are_written() -> None:
    module = resnet()
    plain = write_generator(module)
    assert write_generator(module.to(memory_format=torch.channels_last)) == plain  # type: ignore[call-overload]


def test_batch_height_and_width_are_dynamic_and_named() -> None:
    model = write_generator(resnet())
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("image", "translation")
    for value in (given, made):
        assert [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim] == [
            "batch",
            3,
            "height",
            "width",
        ]


def test_the_operators_are_those_of_the_papers() -> None:
    counts = Counter(node.op_type for node in write_generator(ResnetGenerator(4, blocks=9)).graph.node)
    assert counts == {
        "Pad": 20,
        "Conv": 22,
        "ConvTranspose": 2,
        "InstanceNormalization": 23,
        "Relu": 14,
        "Add": 9,
        "Tanh": 1,
    }
    counts = Counter(node.op_type for node in write_generator(UnetGenerator(4, depth=8)).graph.node)
    assert counts == {
        "Conv": 8,
        "LeakyRelu": 7,
        "InstanceNormalization": 13,
        "Relu": 8,
        "ConvTranspose": 8,
        "Concat": 7,
        "Tanh": 1,
    }


def test_nodes_are_named_after_the_layers() -> None:
    model = write_generator(resnet())
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {"head/pad", "down.1/conv", "blocks.0.second/norm", "up.0/conv_transpose", "tanh"} <= set(names)
    assert "blocks.1.first.weight" in {tensor.name for tensor in model.graph.initializer}


def test_other_modules_and_opsets_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 13"):
        write_generator(resnet(), opset=11)
    with pytest.raises(TypeError, match="PatchDiscriminator cannot be written"):
        write_generator(PatchDiscriminator())  # type: ignore[arg-type]
