"""Builders of small graphs, and ONNX Runtime to run them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.layouts import UNSIGNED, apply_layout, has_wide_codes

Array = NDArray[Any]


class GraphBuilder:
    """Adds nodes one after the other, with generated names."""

    def __init__(self, shape: Sequence[int | str], *, name: str = "x", seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))]
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.last = name

    def constant(self, value: Array | np.generic, name: str | None = None) -> str:
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int, name: str | None = None) -> str:
        size = np.prod(shape[1:]) if len(shape) > 1 else 1
        return self.constant((self.rng.normal(size=shape) / np.sqrt(size)).astype(np.float32), name)

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs) or [self.last], [name], f"n{len(self.nodes)}", **attributes)
        )
        self.last = name
        return name

    def conv(self, outputs: int, inputs: int, kernel: int = 3, *, source: str | None = None, **attributes: Any) -> str:
        groups = attributes.get("group", 1)
        index = len(self.nodes)
        weight = self.weight(outputs, inputs // groups, kernel, kernel, name=f"w{index}")
        bias = self.weight(outputs, name=f"b{index}")
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.add("Conv", source or self.last, weight, bias, **attributes)

    def batch_norm(self, channels: int) -> str:
        values = [
            self.rng.uniform(0.5, 2, channels),
            self.rng.normal(size=channels),
            self.rng.normal(size=channels),
            self.rng.uniform(0.5, 2, channels),
        ]
        names = [self.constant(value.astype(np.float32)) for value in values]
        return self.add("BatchNormalization", self.last, *names, epsilon=1e-3)

    def build(self, *outputs: str, opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or (self.last,)]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, values, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model, full_check=True)
        return model


def residual_net(seed: int = 0) -> onnx.ModelProto:
    """Conv-BN-ReLU blocks, a residual addition, a strided depthwise block, ReLU6, global pooling and a classifier."""
    net = GraphBuilder(["batch", 3, 16, 16], name="image", seed=seed)
    net.conv(8, 3)
    net.batch_norm(8)
    trunk = net.add("Relu")
    net.conv(8, 8)
    net.batch_norm(8)
    net.add("Relu")
    branch = net.conv(8, 8)
    net.add("Add", branch, trunk)
    net.add("Relu")
    net.conv(8, 8, group=8, strides=[2, 2])
    net.add("Clip", net.last, net.constant(np.zeros((), np.float32)), net.constant(np.full((), 6, np.float32)))
    net.conv(12, 8, 1)
    net.add("Relu")
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 12, name="classifier"), net.weight(5), output="logits", transB=1)
    return net.build()


def run(model: onnx.ModelProto, *outputs: str, **inputs: Array) -> list[Array]:
    """Run a model without graph optimization; return the named outputs, or all."""
    session = _session(model, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    return [np.asarray(value) for value in session.run(list(outputs) or None, inputs)]


def run_optimized(model: onnx.ModelProto, **inputs: Array) -> list[Array]:
    """Run a model with all graph optimizations, as it is served: where sums saturate with unsigned weights."""
    if has_wide_codes(model) and sums_saturate(OnnxRuntimeEngine()):
        model = apply_layout(model, UNSIGNED)
    session = _session(model, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    return [np.asarray(value) for value in session.run(None, inputs)]


def optimized_operators(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """Count the operators of a model after ONNX Runtime's graph optimization."""
    path = folder / "optimized.onnx"
    _session(model, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, path)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def with_outputs(model: onnx.ModelProto, names: Sequence[str], elem_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """Return the model with further tensors as outputs."""
    more = onnx.ModelProto()
    more.CopyFrom(model)
    have = {value.name for value in (*model.graph.output, *model.graph.input)}
    more.graph.output.extend(helper.make_tensor_value_info(name, elem_type, None) for name in names if name not in have)
    return more


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _session(model: onnx.ModelProto, level: Any, path: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    if path is not None:
        options.optimized_model_filepath = str(path)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
