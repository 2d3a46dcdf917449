"""Models of further exporters, opsets and types, made here: what no small package carries as an ONNX file."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from faceter.export.inputs import ExportInput
from faceter.export.module import export_module
from tests.ultralytics_export import ultralytics_yolov8

_WIDTH = 8


@dataclass(frozen=True)
class MadeModel:
    """A model that is built when it is needed.

    Args:
        name: Name of the file, with the exporter.
        build: Returns the model.
        metadata: What the user has to say for jobs.
    """

    name: str
    build: Callable[[], onnx.ModelProto]
    metadata: dict[str, Any] = field(default_factory=dict)


class _Branches(nn.Module):
    """A network of two inputs, one a recording, one of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.wave = nn.Conv1d(2, 16, 7, padding=3)
        self.table = nn.Embedding(40, 16)
        self.classify = nn.Linear(32, 5)

    def forward(self, wave: Tensor, codes: Tensor) -> Tensor:
        both = torch.cat([self.wave(wave).relu().mean(2), self.table(codes).mean(1)], 1)
        result: Tensor = self.classify(both)
        return result


def _dynamo() -> onnx.ModelProto:
    torch.manual_seed(0)
    inputs = [ExportInput("wave", ("N", 2, "time")), ExportInput("codes", ("N", "length"), "int64", (0, 39))]
    return export_module(_Branches(), inputs)


def _mlp() -> onnx.ModelProto:
    digits = load_digits()
    x = digits.data.astype(np.float32) / 16
    network: Any = MLPClassifier((64,), max_iter=40, random_state=0)  # type: ignore[no-untyped-call]
    network.fit(x, digits.target)
    model: onnx.ModelProto = to_onnx(network, x[:1], options={"zipmap": False})
    return model


def _keras() -> onnx.ModelProto:
    """Return a network of digits with channels last, by Keras' own exporter on its torch backend."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # after the choice of the backend, which it reads once

    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1))]
    for width, strides in ((16, 1), (32, 2)):
        layers += [keras.layers.Conv2D(width, 3, padding="same", strides=strides), keras.layers.BatchNormalization()]
        layers += [keras.layers.Activation("swish"), keras.layers.DepthwiseConv2D(3, padding="same")]
        layers += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    network = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    digits = load_digits()
    network.fit(digits.images[..., None].astype(np.float32) / 16, digits.target, epochs=10, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        network.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def _convolutions(opset: int, ir: int, dtype: str = "float32") -> Callable[[], onnx.ModelProto]:
    """Return a builder of a small classifier at an opset and IR version."""

    def build() -> onnx.ModelProto:
        rng = np.random.default_rng(0)
        weights = {
            "w": rng.normal(size=(_WIDTH, 3, 3, 3)) / 5,
            "f": rng.normal(size=(5, _WIDTH)),
            "b": rng.normal(size=5),
        }
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["g"]),
            helper.make_node("Flatten", ["g"], ["v"]),
            helper.make_node("Gemm", ["v", "f", "b"], ["y"], transB=1),
        ]
        kind = TensorProto.FLOAT16 if dtype == "float16" else TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info("x", kind, ["N", 3, 16, 16])]
        outputs = [helper.make_tensor_value_info("y", kind, ["N", 5])]
        constants = [numpy_helper.from_array(value.astype(dtype), name) for name, value in weights.items()]
        graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)

    return build


MADE_MODELS = (
    MadeModel("ultralytics_yolov8.onnx (TorchScript)", lambda: ultralytics_yolov8(open_size=True)),
    MadeModel("two_inputs.onnx (torch dynamo)", _dynamo),
    MadeModel("mlp.onnx (scikit-learn)", _mlp),
    MadeModel("digits.onnx (Keras)", _keras),
    *(MadeModel(f"opset{opset}.onnx", _convolutions(opset, ir)) for opset, ir in ((9, 4), (13, 7), (22, 10), (25, 12))),
    MadeModel("float16.onnx", _convolutions(17, 8, "float16")),
)
