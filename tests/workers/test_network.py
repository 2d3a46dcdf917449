"""The interpreter as a module: equal to ONNX Runtime, differentiable, to be watched and changed."""

import copy
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.operators import unsupported
from tests.workers import architectures
from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime
from workers import network as network_module
from workers.network import OnnxModule
from workers.operators.node import Node

SHAPES = {
    architectures.MobileNetV2: (3, 32, 32),
    architectures.VisionTransformer: (3, 32, 32),
    architectures.UNet: (3, 32, 32),
    architectures.ConvNet1d: (2, 128),
}

Pair = tuple[nn.Module, onnx.ModelProto, tuple[int, ...]]


@pytest.fixture(scope="module", params=SHAPES, ids=lambda architecture: architecture.__name__)
def pair(request: pytest.FixtureRequest) -> Pair:
    """A torch module, its export, and the shape of one input."""
    torch.manual_seed(architectures.SEED)
    module = architectures.seeded(request.param())
    shape = SHAPES[request.param]
    return module, architectures.exported(module, [torch.randn(2, *shape)]), shape


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    """``relu(x · weight + bias)``, its sum over a shape worked out from constants, and a product with its transpose."""
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["product"]),
        helper.make_node("Add", ["product", "layer.bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Transpose", ["layer.weight"], ["transposed"], perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "transposed"], ["back"]),
        helper.make_node("Concat", ["minus_one", "four"], ["shape"], axis=0),
        helper.make_node("Reshape", ["back", "shape"], ["y"]),
    ]
    weight = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(weight, "layer.weight"),
            numpy_helper.from_array(np.array([0.1, -0.2, 0.3], np.float32), "layer.bias"),
            numpy_helper.from_array(np.array([-1]), "minus_one"),
            numpy_helper.from_array(np.array([4]), "four"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


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
    assert compared == len(network.parameters_by_name())


def test_an_optimized_export_is_run_too() -> None:
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


def test_watched_tensors_are_answered_after_the_outputs(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    x = torch.ones(2, 4)
    results = network(x, watch=["hidden", "x", "layer.weight", "shape"])
    assert list(results) == ["y", "hidden", "x", "layer.weight", "shape"]
    weight, bias = network.parameter("layer.weight"), network.parameter("layer.bias")
    torch.testing.assert_close(results["hidden"], torch.relu(x @ weight + bias))
    assert results["x"] is x
    assert results["shape"].tolist() == [-1, 4]


def test_only_what_is_wanted_is_computed(small: onnx.ModelProto) -> None:
    calls = []

    def note(value: Tensor) -> Tensor:
        calls.append(tuple(value.shape))
        return value

    results = OnnxModule(small)(torch.ones(2, 4), watch=["hidden"], outputs=(), replace={"hidden": note, "back": note})
    assert list(results) == ["hidden"]
    assert calls == [(2, 3)]


def test_a_replaced_activation_is_what_all_later_nodes_see(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    results = network(torch.randn(2, 4), watch=["hidden"], replace={"hidden": lambda h: h * 0 + 1})
    assert torch.equal(results["hidden"], torch.ones(2, 3))
    torch.testing.assert_close(results["y"], torch.ones(2, 3) @ network.parameter("layer.weight").t())


def test_a_replaced_initializer_is_replaced_once_for_all_its_readers(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    calls = []

    def double(weight: Tensor) -> Tensor:
        calls.append(weight)
        return weight * 2

    x = torch.rand(2, 4)
    got = network(x, replace={"layer.weight": double})["y"]
    weight, bias = network.parameter("layer.weight") * 2, network.parameter("layer.bias")
    torch.testing.assert_close(got, torch.relu(x @ weight + bias) @ weight.t())
    assert len(calls) == 1


def test_replacing_a_constant_undoes_what_was_folded_from_it(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    assert network(torch.ones(2, 4))["y"].shape == (2, 4)
    assert network(torch.ones(2, 4), replace={"four": lambda t: t // 2})["y"].shape == (4, 2)
    assert network(torch.ones(2, 4))["y"].shape == (2, 4)


def test_gradients_flow_through_replacements_and_transposed_weights(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    scale = torch.tensor(2.0, requires_grad=True)
    x = torch.rand(2, 4, requires_grad=True)
    network(x, replace={"layer.weight": lambda w: w * scale})["y"].sum().backward()
    weight = network.parameter("layer.weight")
    assert scale.grad is not None
    assert scale.grad != 0
    assert x.grad is not None
    assert weight.grad is not None
    reference = weight.detach().clone().requires_grad_()
    bias = network.parameter("layer.bias").detach()
    total = (torch.relu(x.detach() @ (2 * reference) + bias) @ (2 * reference).t()).sum()
    (wanted,) = torch.autograd.grad(total, reference)
    torch.testing.assert_close(weight.grad, wanted)


def test_shapes_worked_out_from_constants_are_folded(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    ran = []
    original = network_module._call

    def counted(node: Node, *rest: object) -> tuple[Tensor | None, ...]:
        ran.append(node.op_type)
        return original(node, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_module, "_call", counted)
        network(torch.ones(2, 4))
    assert "Concat" not in ran
    assert "Transpose" in ran


def test_tensors_are_let_go_after_their_last_use() -> None:
    count = 12
    nodes = [helper.make_node("Sin", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("t0", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info(f"t{count}", TensorProto.FLOAT, ["n"])],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def note(value: Tensor) -> Tensor:
        nonlocal most
        alive.append(weakref.ref(value))
        most = max(most, sum(reference() is not None for reference in alive))
        return value

    with torch.no_grad():
        network(torch.ones(1000), replace={f"t{i}": note for i in range(1, count + 1)})
    assert len(alive) == count
    assert most <= 3


def test_names_with_dots_slashes_and_percent_signs() -> None:
    names = ["a.b/c:0", "a%2Eb/c:0", "training", "forward", "weight."]
    nodes = [helper.make_node("Add", ["x" if i == 0 else f"s{i - 1}", name], [f"s{i}"]) for i, name in enumerate(names)]
    graph = helper.make_graph(
        nodes,
        "names",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(f"s{len(names) - 1}", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array([10.0**i], np.float32), name) for i, name in enumerate(names)],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert list(network.parameters_by_name()) == names
    assert network(torch.zeros(1))["s4"].item() == 11111
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.parameter("a.b/c:0").add_(1)
    assert network(torch.zeros(1))["s4"].item() == 11111
    network.load_state_dict(other.state_dict())
    assert network(torch.zeros(1))["s4"].item() == 11112


def test_settings_and_single_numbers_are_not_trained() -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mean", "variance"], ["b"]),
        helper.make_node("Clip", ["b", "low", "high"], ["c"]),
        helper.make_node("Mul", ["c", "half"], ["y"]),
    ]
    constants: dict[str, Any] = {name: np.ones(3, np.float32) for name in ("gamma", "beta", "mean", "variance")}
    constants |= {"low": np.float32(0), "high": np.float32(6), "half": np.float32(0.5)}
    graph = helper.make_graph(
        nodes,
        "settings",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert list(network.parameters_by_name()) == ["gamma", "beta"]
    assert network.tensor("mean").tolist() == [1, 1, 1]
    with pytest.raises(KeyError, match="mean is not a parameter"):
        network.parameter("mean")
    with pytest.raises(KeyError):
        network.parameter("nothing")


def test_a_batch_normalization_does_not_train_in_training_mode(pair: Pair) -> None:
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


def test_no_shape_is_fetched_from_the_device(pair: Pair) -> None:
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


def test_copies_and_pickles_are_equal_and_apart(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    x = torch.rand(2, 4)
    wanted = network(x)["y"]
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(x)["y"], wanted)
        with torch.no_grad():
            other.parameter("layer.bias").add_(1)
        torch.testing.assert_close(network(x)["y"], wanted)


def test_a_function_of_the_model_is_written_out() -> None:
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


def _of_nodes(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", kind, [2])],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize(
    ("node", "operator", "name"),
    [
        (helper.make_node("SequenceConstruct", ["x"], ["y"], name="the list"), "SequenceConstruct", "the list"),
        (helper.make_node("RandomNormalLike", ["x"], ["noise"]), "RandomNormalLike", "noise"),
        (helper.make_node("Relu", ["x"], ["y"], domain="com.example"), "com.example.Relu", "y"),
    ],
)
def test_an_unsupported_operator_is_named_with_its_node(node: onnx.NodeProto, operator: str, name: str) -> None:
    model = _of_nodes(helper.make_node("Abs", ["x"], ["z"]), node)
    assert unsupported(model) == [(operator, name)]
    with pytest.raises(FaceterError, match=operator) as caught:
        OnnxModule(model)
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR
    assert repr(name) in caught.value.detail
    assert caught.value.extra == {"operator": operator, "node": name}


def test_control_flow_is_unsupported() -> None:
    branch = helper.make_graph([helper.make_node("Abs", ["x"], ["b"])], "branch", [], [onnx.ValueInfoProto(name="b")])
    node = helper.make_node("If", ["c"], ["y"], name="fork", then_branch=branch, else_branch=branch)
    model = _of_nodes(helper.make_node("Cast", ["x"], ["c"], to=TensorProto.BOOL), node)
    assert unsupported(model) == [("If", "fork")]
    with pytest.raises(FaceterError, match="fork"):
        OnnxModule(model)


def test_more_than_three_spatial_axes_are_unsupported() -> None:
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1] * 4, name="wide")],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * 6)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1] * 6)],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(FaceterError, match="'wide' has 4 spatial axes") as caught:
        network(torch.ones([1] * 6))
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_quantized_graph_gives_onnxruntimes_codes(bits: int) -> None:
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
    assert OnnxModule(model).parameters_by_name() == {}


def test_text_is_unsupported() -> None:
    with pytest.raises(FaceterError, match="STRING") as caught:
        OnnxModule(_of_nodes(helper.make_node("Identity", ["x"], ["y"]), kind=TensorProto.STRING))
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR


def test_wrong_inputs_are_named(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    with pytest.raises(FaceterError, match="needs an input 'x'") as caught:
        network({})
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    with pytest.raises(FaceterError, match="has no input 'z'"):
        network({"x": torch.ones(1, 4), "z": torch.ones(1)})


def test_a_single_tensor_needs_a_single_input() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "two",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(FaceterError, match="2 inputs by name: a, b"):
        network(torch.ones(1))


def test_unknown_tensors_cannot_be_watched_or_replaced(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    with pytest.raises(ValueError, match="no tensor 'nothing'"):
        network(torch.ones(1, 4), watch=["nothing"])
    with pytest.raises(ValueError, match="no tensor 'nothing'"):
        network(torch.ones(1, 4), replace={"nothing": torch.relu})


def test_a_failing_node_is_named(small: onnx.ModelProto) -> None:
    with pytest.raises(RuntimeError) as caught:
        OnnxModule(small)(torch.ones(1, 5))
    assert any("MatMul node 'product'" in note for note in caught.value.__notes__)
