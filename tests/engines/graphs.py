"""Small ONNX graphs that tests upload, load and run."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, Shape]],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 20,
) -> bytes:
    """Return a model of these nodes as a file."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return bytes(made.SerializeToString())


def classifier(*, batch: int | str = "batch", size: int = 8, classes: int = 3, seed: int = 0) -> bytes:
    """Return an image classifier: a convolution, ReLU, global pooling and a linear layer, without BatchNorm."""
    generator = np.random.default_rng(seed)
    return model(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
            helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
            helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], name="linear", transB=1),
        ],
        {"image": (TensorProto.FLOAT, [batch, 3, size, size])},
        {"logits": (TensorProto.FLOAT, [batch, classes])},
        {
            "w1": generator.normal(size=(4, 3, 3, 3)).astype(np.float32),
            "b1": generator.normal(size=4).astype(np.float32),
            "w2": generator.normal(size=(classes, 4)).astype(np.float32),
            "b2": generator.normal(size=classes).astype(np.float32),
        },
    )


def adder(dtype: int = TensorProto.FLOAT, shape: Shape = ("batch", 2), opset: int = 20) -> bytes:
    """Return a model that adds its two inputs `a` and `b` into `sum`."""
    return model(
        [helper.make_node("Add", ["a", "b"], ["sum"], name="add")],
        {"a": (dtype, shape), "b": (dtype, shape)},
        {"sum": (dtype, shape)},
        opset=opset,
    )


def endless(times: int | None = None) -> bytes:
    """Return a model whose loop runs as often as its input `times` says, or a number of times beside its input."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["x", "x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]),
        ],
    )
    if times is not None:
        return model(
            [helper.make_node("Loop", ["times", "true", "start"], ["end"], body=body)],
            {"start": (TensorProto.FLOAT, [1])},
            {"end": (TensorProto.FLOAT, [1])},
            {"true": np.array(True), "times": np.array(times)},
        )
    return model(
        [helper.make_node("Loop", ["times", "true", "start"], ["end"], body=body)],
        {"times": (TensorProto.INT64, [])},
        {"end": (TensorProto.FLOAT, [1])},
        {"true": np.array(True), "start": np.ones(1, np.float32)},
    )


def unrunnable() -> bytes:
    """Return a model that ONNX's checker passes and ONNX Runtime has no kernel for (float64 into Acosh)."""
    return model(
        [helper.make_node("Acosh", ["a"], ["y"], name="acosh")],
        {"a": (TensorProto.DOUBLE, ["batch", 2])},
        {"y": (TensorProto.DOUBLE, ["batch", 2])},
    )


def fails_when_run() -> bytes:
    """Return a model that loads and fails on every input (it gathers at an index beyond the end)."""
    return model(
        [
            helper.make_node("Shape", ["a"], ["shape"]),
            helper.make_node("ReduceSum", ["shape"], ["nine"], keepdims=0),
            helper.make_node("Gather", ["a", "nine"], ["y"], axis=1),
        ],
        {"a": (TensorProto.FLOAT, ["batch", 2])},
        {"y": (TensorProto.FLOAT, ["batch"])},
    )


def of_terabytes() -> bytes:
    """Return a small model that makes a tensor of 4 TiB while it is loaded."""
    return model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
            helper.make_node("Add", ["x", "zero"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, ["batch", 2])},
        {"y": (TensorProto.FLOAT, ["batch", 2])},
        {"shape": np.array([2**20, 2**20], np.int64)},
    )
