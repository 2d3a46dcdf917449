"""Concrete shapes for inputs whose sizes the file leaves open."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.engines.input_shapes import InputShapes, UnknownInputShapesError, choose_input_shapes, with_input_shapes
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs
from tests.ultralytics_export import ultralytics_yolov8

Shape = list[int | str | None]


def chosen(model: onnx.ModelProto, metadata: ModelMetadata | None = None, **settings: Any) -> InputShapes:
    content = model.SerializeToString()
    loaded = OnnxRuntimeEngine().load(content, threads=1)
    checked = load_model(content, max_bytes=len(content))
    return choose_input_shapes(loaded, checked, metadata or ModelMetadata(), seconds=20, **settings)


def network(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    weights: dict[str, np.ndarray],
    *,
    dtypes: dict[str, int] | None = None,
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    values = [
        helper.make_tensor_value_info(name, (dtypes or {}).get(name, TensorProto.FLOAT), shape)
        for name, shape in inputs.items()
    ]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", values, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def strided(shape: Shape, strides: int) -> onnx.ModelProto:
    """Return convolutions of stride 2, one after another, and global pooling."""
    nodes, weights = [], {}
    for index in range(strides):
        weights[f"w{index}"] = np.ones((3, 3, 3, 3), np.float32)
        source = "x" if index == 0 else f"t{index - 1}"
        nodes.append(helper.make_node("Conv", [source, f"w{index}"], [f"t{index}"], strides=[2, 2], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("GlobalAveragePool", [f"t{strides - 1}"], ["y"]))
    return network(nodes, {"x": shape}, weights)


def summed(shape: Shape) -> onnx.ModelProto:
    return network([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)], {"x": shape}, {})


def lstm(shape: Shape, features: int = 5) -> onnx.ModelProto:
    """Return an LSTM over [time, batch, features], with its states as further input and output."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 16, features)), "r": rng.normal(size=(1, 16, 4))}
    nodes = [helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["y", "hn", "cn"], hidden_size=4)]
    state: Shape = [1, None, 4]
    return network(
        nodes,
        {"x": shape, "h": state, "c": state},
        {name: value.astype(np.float32) for name, value in weights.items()},
        outputs=("y", "hn", "cn"),
    )


def test_fixed_sizes_are_taken_as_they_are() -> None:
    shapes = chosen(strided(["N", 3, 24, 40], 2))
    assert shapes.shapes == {"x": (1, 3, 24, 40)}
    assert shapes.batched
    assert shapes.chosen == {}, "only the batch is open"


@pytest.mark.parametrize(("strides", "expected"), [(1, 32), (3, 32), (5, 48), (6, 96)])
def test_images_get_the_smallest_size_at_which_no_kernel_is_larger_than_its_input(strides: int, expected: int) -> None:
    shapes = chosen(strided(["N", 3, "height", "width"], strides))
    assert shapes.shapes == {"x": (1, 3, expected, expected)}
    assert shapes.sources == {"x": "inferred"}


@pytest.mark.parametrize("open_size", [-1, 0, "?", None, "p2o.DynamicDimension.7"])
def test_every_way_of_writing_an_unknown_size_is_open(open_size: int | str | None) -> None:
    model = strided([None, 3, "height", "width"], 2)
    for axis, size in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        if axis == 1:
            continue
        size.Clear()
        if isinstance(open_size, int):
            size.dim_value = open_size
        elif open_size is not None:
            size.dim_param = open_size if open_size == "?" else f"{open_size}{axis}"
    shapes = chosen(model)
    assert shapes.shapes == {"x": (1, 3, 32, 32)}
    assert shapes.batched
    [spec] = input_specs(load_model(model.SerializeToString(), max_bytes=10**9))
    assert not any(isinstance(size, int) and size < 1 for size in spec.shape)


def test_an_open_channel_axis_gets_the_size_that_the_weights_demand() -> None:
    transposed = helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
    convolved = helper.make_node("Conv", ["t", "w"], ["y"], group=2)
    model = network([transposed, convolved], {"x": ["N", None, None, None]}, {"w": np.ones((4, 3, 3, 3), np.float32)})
    assert chosen(model).shapes == {"x": (1, 32, 32, 6)}


def test_axes_of_one_name_are_equal_and_expressions_follow() -> None:
    model = network(
        [helper.make_node("Concat", ["x", "z"], ["t"], axis=1), helper.make_node("Add", ["t", "v"], ["y"])],
        {"x": ["N", "steps"], "z": ["N", "steps"], "v": ["N", "2*steps"]},
        {},
    )
    shapes = chosen(model)
    assert shapes.shapes == {"x": (1, 64), "z": (1, 64), "v": (1, 128)}
    said = chosen(model, ModelMetadata(input_shapes={"x": [1, 7]}))
    assert said.shapes == {"x": (1, 7), "z": (1, 7), "v": (1, 14)}
    assert set(said.sources.values()) == {"said"}


@pytest.mark.parametrize(
    "size", ["steps*99999999999999999999", "9**9**9*steps", "steps//0", "max()*steps", "0*steps", "-steps", "(" * 90]
)
def test_an_expression_that_is_no_size_fails_no_upload(size: str) -> None:
    model = network(
        [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["v"], ["z"])],
        {"x": ["N", "steps"], "v": ["N", size]},
        {},
        outputs=("y", "z"),
    )
    assert chosen(model).shapes["x"] == (1, 64)


def test_said_shapes_leave_the_batch_free() -> None:
    shapes = chosen(summed(["batch", 100, "time"]), ModelMetadata(input_shapes={"x": [1, 100, 600]}))
    assert not shapes.batched, "the sum is over all samples"
    [spec] = shapes.specs(input_specs(summed(["batch", 100, "time"])))
    assert spec.shape == [1, 100, 600]
    free = chosen(strided(["batch", 3, "h", "w"], 2), ModelMetadata(input_shapes={"x": [1, 3, 40, 56]}))
    [spec] = free.specs(input_specs(strided(["batch", 3, "h", "w"], 2)))
    assert spec.shape == ["batch", 3, 40, 56]


@pytest.mark.parametrize(
    ("shapes", "field", "words"),
    [
        ({"z": [1, 3, 8, 8]}, "metadata.input_shapes.z", "no input 'z'"),
        ({"x": [1, 3, 8]}, "metadata.input_shapes.x", "4 axes"),
        ({"x": [1, 4, 8, 8]}, "metadata.input_shapes.x", "fixes axis 1 of the input 'x' at 3"),
    ],
)
def test_shapes_that_contradict_the_file_name_the_input(shapes: dict[str, list[int]], field: str, words: str) -> None:
    with pytest.raises(FaceterError, match=words) as raised:
        chosen(strided(["N", 3, "h", "w"], 2), ModelMetadata(input_shapes=shapes))
    assert raised.value.kind is ProblemKind.METADATA_MISMATCH
    assert raised.value.errors[0].field == field


def test_axes_of_one_name_cannot_be_given_two_sizes() -> None:
    model = network([helper.make_node("Add", ["x", "z"], ["y"])], {"x": ["N", "steps"], "z": ["N", "steps"]}, {})
    with pytest.raises(FaceterError, match="'steps' has one size"):
        chosen(model, ModelMetadata(input_shapes={"x": [1, 4], "z": [1, 5]}))


def test_said_shapes_are_really_run() -> None:
    model = network(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["N", "features"]}, {"w": np.ones((6, 2), np.float32)}
    )
    assert chosen(model).shapes == {"x": (1, 6)}
    with pytest.raises(FaceterError, match="fixes axis 1 of the input 'x' at 6") as raised:
        chosen(model, ModelMetadata(input_shapes={"x": [1, 5]}), field="input_shapes")
    assert raised.value.errors[0].field == "input_shapes.x"
    halves = network([helper.make_node("Split", ["x"], ["y", "z"], axis=1)], {"x": ["N", "n"]}, {}, outputs=("y", "z"))
    with pytest.raises(FaceterError, match="fails on zeros of its input shapes") as raised:
        chosen(halves, ModelMetadata(input_shapes={"x": [1, 5]}), field="input_shapes")
    assert raised.value.kind is ProblemKind.MODEL_NOT_RUNNABLE
    assert raised.value.errors[0].field == "input_shapes"


def test_sizes_that_no_trial_finds_are_asked_for_with_an_example() -> None:
    sized = numpy_helper.from_array(np.array([1, 3, 11, 13], np.int64), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    model = network(nodes, {"x": ["N", 3, "h", "w"]}, {"shape": numpy_helper.to_array(sized)})
    with pytest.raises(UnknownInputShapesError, match=r'"input_shapes": \{"x": \[1, 3, 32, 32\]\}'):
        chosen(model)
    assert chosen(model, ModelMetadata(input_shapes={"x": [1, 3, 11, 13]})).shapes == {"x": (1, 3, 11, 13)}


def test_recurrent_states_get_batch_1_and_a_sequence_is_no_batch() -> None:
    shapes = chosen(lstm(["time", None, 5]))
    assert shapes.shapes == {"x": (64, 1, 5), "h": (1, 1, 4), "c": (1, 1, 4)}
    assert not shapes.batched
    assert [spec.shape for spec in shapes.specs(input_specs(lstm(["time", None, 5])))] == [
        [64, 1, 5],
        [1, 1, 4],
        [1, 1, 4],
    ]


def test_the_size_of_images_is_that_of_the_preprocessing_and_of_a_request() -> None:
    model = strided(["N", 3, "h", "w"], 2)
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[40, 72]))
    shapes = chosen(model, metadata)
    assert shapes.shapes == {"x": (1, 3, 40, 72)}
    assert shapes.sources == {"x": "said"}
    larger = with_input_shapes(metadata, input_specs(model), {"x": [1, 3, 64, 80]})
    assert larger.preprocessing is not None
    assert larger.preprocessing.size == [64, 80]
    assert chosen(model, larger).shapes == {"x": (1, 3, 64, 80)}


def test_constant_inputs_are_fed_their_value() -> None:
    """A rate that selects between two weights of different width fails at zeros, and runs at its value."""
    nodes = [
        helper.make_node("Div", ["one", "sr"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["row"]),
        helper.make_node("Add", ["x", "row"], ["y"]),
    ]
    weights: dict[str, np.ndarray] = {"one": np.array(5, np.int64), "table": np.ones((3, 4), np.float32)}
    model = network(nodes, {"x": ["N", 4], "sr": []}, weights, dtypes={"sr": TensorProto.INT64})
    assert chosen(model, ModelMetadata(constant_inputs={"sr": 4})).shapes["x"] == (1, 4)


def test_a_size_whose_tensors_exceed_the_limit_is_never_run() -> None:
    with pytest.raises(FaceterError, match="more than 1,000 values"):
        chosen(strided(["N", 3, "h", "w"], 2), most_values=1000)


def test_an_export_of_ultralytics_with_open_sides() -> None:
    shapes = chosen(ultralytics_yolov8(open_size=True))
    [(_, shape)] = shapes.shapes.items()
    assert shape[:2] == (1, 3)
    assert shape[2] == shape[3] <= 224
    assert shapes.batched
