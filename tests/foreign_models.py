"""Models quantized by ONNX Runtime's own tools, in every form these write, and models fused by its optimizer."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tests.graphs.builders import Array

IMAGE, VECTOR = [3, 16, 16], [64]


def _model(nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, Array], opset: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", 1, ["n", *shape])],
        [helper.make_tensor_value_info("y", 1, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)
    onnx.checker.check_model(model, full_check=True)
    return model


def _weights(**shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {name: (rng.normal(size=shape) * 0.2).astype(np.float32) for name, shape in shapes.items()}


def convolutional() -> onnx.ModelProto:
    """Return a classifier of images with each operator that ONNX Runtime has a quantized form of."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4),
        node("Add", ["c2", "r1"], ["a"]),
        node("Sigmoid", ["a"], ["s"]),
        node("Mul", ["a", "s"], ["m"]),
        node("LeakyRelu", ["m"], ["l"], alpha=0.1),
        node("AveragePool", ["l"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["p", "p"], ["cc"], axis=1),
        node("GlobalAveragePool", ["cc"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["z"], transB=1),
        node("Softmax", ["z"], ["y"], axis=1),
    ]
    return _model(nodes, IMAGE, _weights(w1=(8, 3, 3, 3), b1=(8,), w2=(8, 8, 3, 3), w3=(5, 16), b3=(5,)), 17)


def dense() -> onnx.ModelProto:
    """Return two matrix products with a GELU as exporters write it."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w1"], ["a"]),
        node("Add", ["a", "b1"], ["b"]),
        node("Div", ["b", "root"], ["d"]),
        node("Erf", ["d"], ["e"]),
        node("Add", ["e", "one"], ["e1"]),
        node("Mul", ["b", "e1"], ["h"]),
        node("Mul", ["h", "half"], ["c"]),
        node("MatMul", ["c", "w2"], ["y"]),
    ]
    weights = _weights(w1=(64, 32), b1=(32,), w2=(32, 5))
    weights |= {name: np.array(value, np.float32) for name, value in (("root", 2**0.5), ("one", 1), ("half", 0.5))}
    return _model(nodes, VECTOR, weights, 21)


def inputs(model: onnx.ModelProto, rows: int = 3) -> Array:
    """Return seeded samples for a model of this file."""
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(1).normal(size=(rows, *shape)).astype(np.float32)


def _static(model: Callable[[], onnx.ModelProto], **settings: Any) -> Callable[[Path], onnx.ModelProto]:
    def make(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self._batches: Iterator[dict[str, Array]] = iter([{"x": inputs(model(), 8)}])

            def get_next(self) -> dict[Any, Any]:
                return next(self._batches, None)  # type: ignore[arg-type]

        chosen = {name: getattr(QuantType, value) for name, value in settings.items() if name.endswith("_type")}
        form = QuantFormat[settings.get("quant_format", "QDQ")]
        onnx.save(model(), folder / "float.onnx")
        quantize_static(
            folder / "float.onnx",
            folder / "quantized.onnx",
            Reader(),
            quant_format=form,
            per_channel=settings.get("per_channel", False),
            **chosen,
        )
        return onnx.load(folder / "quantized.onnx")

    return make


def _dynamic(model: Callable[[], onnx.ModelProto]) -> Callable[[Path], onnx.ModelProto]:
    def make(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import quantize_dynamic

        onnx.save(model(), folder / "float.onnx")
        quantize_dynamic(folder / "float.onnx", folder / "quantized.onnx")
        return onnx.load(folder / "quantized.onnx")

    return make


def _four_bits(*, symmetric: bool, form: str = "QOperator") -> Callable[[Path], onnx.ModelProto]:
    def make(folder: Path) -> onnx.ModelProto:
        from onnxruntime.quantization import QuantFormat
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(dense(), block_size=16, is_symmetric=symmetric, quant_format=QuantFormat[form])
        quantizer.process()  # type: ignore[no-untyped-call]
        made: onnx.ModelProto = quantizer.model.model
        return made

    return make


QUANTIZED: dict[str, Callable[[Path], onnx.ModelProto]] = {
    "QDQ": _static(convolutional),
    "QDQ per channel, signed": _static(convolutional, per_channel=True, activation_type="QInt8", weight_type="QInt8"),
    "QDQ of 16 bits": _static(convolutional, activation_type="QUInt16"),
    "QDQ of 4 bits": _static(dense, weight_type="QInt4"),
    "operators": _static(convolutional, quant_format="QOperator"),
    "operators per channel": _static(convolutional, quant_format="QOperator", per_channel=True),
    "dynamic matrix products": _dynamic(dense),
    "dynamic convolutions": _dynamic(convolutional),
    "MatMulNBits": _four_bits(symmetric=True),
    "MatMulNBits with zero points": _four_bits(symmetric=False),
    "4-bit blocks in QDQ": _four_bits(symmetric=True, form="QDQ"),
}
"""Makers of quantized models, given a folder for their files."""


def made(name: str, folder: Path) -> onnx.ModelProto:
    """Return a quantized model."""
    logging.disable(logging.WARNING)
    try:
        return QUANTIZED[name](folder)
    finally:
        logging.disable(logging.NOTSET)


def optimized(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return a model as ONNX Runtime's optimizer writes it, with its fused operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")
