"""The interpreter: equality with ONNX Runtime, gradients, precisions."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from faceter.graphs.operators import unsupported
from tests.workers import architectures
from tests.workers.architectures import SHAPES, export_of, seeded_module
from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime
from workers.onnx_module import OnnxModule

Pair = tuple[nn.Module, onnx.ModelProto, tuple[int, ...]]


@pytest.fixture(params=SHAPES, ids=lambda architecture: architecture.__name__)
def pair(request: pytest.FixtureRequest) -> Pair:
    """A torch module, its export, and the shape of one input."""
    return seeded_module(request.param), export_of(request.param), SHAPES[request.param]


@pytest.mark.parametrize("batch", [1, 5])
def test_equal_to_onnxruntime_at_any_batch(pair: Pair, batch: int) -> None:
    _, model, shape = pair
    x = np.random.default_rng(batch).standard_normal((batch, *shape)).astype(np.float32)
    assert_equal_to_onnxruntime(model, {model.graph.input[0].name: x})


def test_gradients_are_those_of_the_torch_module(pair: Pair) -> None:
    module, model, shape = pair
    module, network = copy.deepcopy(module).double(), OnnxModule(model).double()
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = torch.randn(module(x).shape, generator=torch.Generator().manual_seed(2))
    (module(x) * target).sum().backward()
    (network(x)[network.outputs[0]] * target).sum().backward()
    compared = 0
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        got = network.parameter(name).grad
        assert got is not None, name
        size = max(1.0, parameter.grad.abs().max().item())
        torch.testing.assert_close(got, parameter.grad, rtol=1e-5, atol=1e-6 * size, msg=name)
        compared += 1
    assert compared == len(list(network.parameters()))


def test_an_optimized_export() -> None:
    torch.manual_seed(architectures.SEED)
    module = architectures.seeded(architectures.UNet())
    model = architectures.exported(module, [torch.randn(2, 3, 32, 32)], opset=18, optimize=True)
    x = np.random.default_rng(7).standard_normal((3, 3, 32, 32)).astype(np.float32)
    assert_equal_to_onnxruntime(model, {model.graph.input[0].name: x})


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("path", "inputs"),
    [
        ("cifar10/resnet20.onnx", {"image": lambda r: r.standard_normal((4, 3, 32, 32)).astype(np.float32)}),
        ("detection/fastestdet.onnx", {"input.1": lambda r: r.random((1, 3, 352, 352)).astype(np.float32)}),
        (
            "nli/snli_mlp.onnx",
            {"premise": lambda r: r.integers(0, 900, (6, 40)), "hypothesis": lambda r: r.integers(0, 900, (6, 24))},
        ),
    ],
)
def test_shared_models(shared_data: Path, path: str, inputs: dict[str, Callable[[np.random.Generator], Any]]) -> None:
    random = np.random.default_rng(3)
    assert_equal_to_onnxruntime(onnx.load(shared_data / path), {name: make(random) for name, make in inputs.items()})


def test_train_does_not_update_batch_norm_statistics(pair: Pair) -> None:
    module, model, shape = pair
    network = OnnxModule(model).train()
    x = torch.randn(2, *shape)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        torch.testing.assert_close(network(x)[network.outputs[0]], module(x), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(pair: Pair, dtype: torch.dtype) -> None:
    module, model, shape = pair
    network = OnnxModule(model)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad(), torch.autocast("cpu", dtype):
        got = network(x)[network.outputs[0]].float()
    with torch.no_grad():
        exact = module(x)
    assert (got - exact).norm() < 0.05 * exact.norm()


def test_double_precision_after_conversion(pair: Pair) -> None:
    _, model, shape = pair
    network = OnnxModule(model)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        single = network(x)[network.outputs[0]]
        double = network.double()(x.double())[network.outputs[0]]
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-5)


def test_shapes_are_computed_on_the_cpu(pair: Pair) -> None:
    module, model, shape = pair
    network = OnnxModule(model).to("meta")
    y = network(torch.empty(3, *shape, device="meta"))[network.outputs[0]]
    assert y.is_meta
    assert y.shape == module(torch.zeros(3, *shape)).shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu(pair: Pair) -> None:
    _, model, shape = pair
    network = OnnxModule(model)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        wanted = network(x)[network.outputs[0]]
        got = network.to("cuda")(x.cuda())[network.outputs[0]].cpu()
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())


def test_local_functions_are_inlined() -> None:
    square = helper.make_function(
        "own", "Square", ["a"], ["b"], [helper.make_node("Mul", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph(
        [helper.make_node("Square", ["x"], ["y"], domain="own")],
        "functions",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[square], opset_imports=imports, ir_version=8)
    assert unsupported(model) == []
    assert OnnxModule(model)(torch.tensor([2.0, 3.0]))["y"].tolist() == [4, 9]


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_quantized_graph_has_the_codes_of_onnxruntime(bits: int) -> None:
    random = np.random.default_rng(bits)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "zero"], ["x_codes"]),
        helper.make_node("Clip", ["x_codes", "low", "high"], ["x_clipped"]),
        helper.make_node("DequantizeLinear", ["x_clipped", "x_scale", "zero"], ["x_float"]),
        helper.make_node("DequantizeLinear", ["codes", "w_scale", "w_zero"], ["weight"], axis=0),
        helper.make_node("Conv", ["x_float", "weight"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["rectified"]),
        helper.make_node("QuantizeLinear", ["rectified", "y_scale", "zero"], ["y_codes"]),
        helper.make_node("Min", ["y_codes", "high"], ["y"]),
    ]
    levels = 2**bits - 1
    constants: dict[str, Any] = {
        "x_scale": np.float32(4 / levels),
        "zero": np.uint8(levels // 2),
        "low": np.uint8(0),
        "high": np.uint8(levels),
        "codes": random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (6, 3, 3, 3)).astype(np.int8),
        "w_scale": (random.random(6) * 0.1 + 0.01).astype(np.float32),
        "w_zero": np.zeros(6, np.int8),
        "y_scale": np.float32(0.05),
    }
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("x_clipped", "y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert_equal_to_onnxruntime(model, {"x": random.standard_normal((4, 3, 8, 8)).astype(np.float32)})
    assert list(OnnxModule(model).parameters()) == []
