"""Watching, replacing, training and copying tensors of the interpreter by name."""

import copy
import pickle
import weakref
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from workers import onnx_module
from workers.onnx_module import OnnxModule
from workers.operators.node import Node


def test_watched_tensors_follow_the_outputs(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    x = torch.ones(2, 4)
    results = network(x, watch=["hidden", "x", "layer.weight", "shape"])
    assert list(results) == ["y", "hidden", "x", "layer.weight", "shape"]
    weight, bias = network.parameter("layer.weight"), network.parameter("layer.bias")
    torch.testing.assert_close(results["hidden"], torch.relu(x @ weight + bias))
    assert results["x"] is x
    assert results["shape"].tolist() == [-1, 4]


def test_only_needed_nodes_are_run(small: onnx.ModelProto) -> None:
    calls = []

    def note(value: Tensor) -> Tensor:
        calls.append(tuple(value.shape))
        return value

    results = OnnxModule(small)(torch.ones(2, 4), watch=["hidden"], outputs=(), replace={"hidden": note, "back": note})
    assert list(results) == ["hidden"]
    assert calls == [(2, 3)]


def test_all_readers_get_a_replaced_activation(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    results = network(torch.randn(2, 4), watch=["hidden"], replace={"hidden": lambda h: h * 0 + 1})
    assert torch.equal(results["hidden"], torch.ones(2, 3))
    torch.testing.assert_close(results["y"], torch.ones(2, 3) @ network.parameter("layer.weight").t())


def test_a_replacement_of_an_initializer_is_called_once(small: onnx.ModelProto) -> None:
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


def test_replacing_a_constant_recomputes_folded_nodes(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    assert network(torch.ones(2, 4))["y"].shape == (2, 4)
    assert network(torch.ones(2, 4), replace={"four": lambda t: t // 2})["y"].shape == (4, 2)
    assert network(torch.ones(2, 4))["y"].shape == (2, 4)


def test_gradients_pass_replacements_and_transposed_weights(small: onnx.ModelProto) -> None:
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


def test_constant_shapes_are_folded(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    ran = []
    original = onnx_module._call

    def counted(node: Node, *rest: object) -> tuple[Tensor | None, ...]:
        ran.append(node.op_type)
        return original(node, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_module, "_call", counted)
        network(torch.ones(2, 4))
    assert "Concat" not in ran
    assert "Transpose" in ran


def test_tensors_are_freed_after_their_last_use() -> None:
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
    kept = [f"tensor:{name.replace('%', '%25').replace('.', '%2E')}" for name in names]
    assert [name for name, _ in network.named_parameters()] == list(network.state_dict()) == kept
    assert network(torch.zeros(1))["s4"].item() == 11111
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.parameter("a.b/c:0").add_(1)
    assert network(torch.zeros(1))["s4"].item() == 11111
    network.load_state_dict(other.state_dict())
    assert network(torch.zeros(1))["s4"].item() == 11112


def test_non_trainable_inputs_and_scalars_are_buffers() -> None:
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
    assert [name for name, _ in network.named_parameters()] == ["tensor:gamma", "tensor:beta"]
    assert network.tensor("mean").tolist() == [1, 1, 1]
    with pytest.raises(KeyError, match="mean is not a parameter"):
        network.parameter("mean")
    with pytest.raises(KeyError):
        network.parameter("nothing")


def test_copies_and_pickles_are_equal_and_independent(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    x = torch.rand(2, 4)
    wanted = network(x)["y"]
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other(x)["y"], wanted)
        with torch.no_grad():
            other.parameter("layer.bias").add_(1)
        torch.testing.assert_close(network(x)["y"], wanted)
