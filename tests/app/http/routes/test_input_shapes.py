"""Input shapes over HTTP: on upload, in requests for jobs, and for predictions."""

import io
import json
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from faceter.contracts.errors import ProblemKind
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model, post_model

Document = dict[str, Any]
PREPROCESSING = {"size": [32, 32]}


def open_images() -> bytes:
    """Return two convolutions of stride 2 over images of any size."""
    weights = {"w0": np.ones((4, 3, 3, 3), np.float32) / 27, "w1": np.ones((2, 4, 3, 3), np.float32) / 36}
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["t"], "first", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["t"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w1"], ["y"], "second", strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    return _model(nodes, ["N", 3, "h", "w"], weights)


def baked_reshape() -> bytes:
    """Return a network whose open sizes fit one size only, which no trial finds."""
    weights: dict[str, np.ndarray] = {
        "shape": np.array([-1, 3 * 11 * 13], np.int64),
        "w": np.ones((3 * 11 * 13, 2), np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    return _model(nodes, ["N", 3, "h", "w"], weights)


def _model(nodes: list[onnx.NodeProto], shape: list[int | str], weights: dict[str, np.ndarray]) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", [image], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = onnx.shape_inference.infer_shapes(model).SerializeToString()
    return content


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 40, 90)).save(file, "PNG")
    return file.getvalue()


def test_a_record_tells_the_shapes_that_were_found(api: httpx.Client) -> None:
    model = add_model(api, open_images(), metadata=None)
    assert model["input_shapes"] == {"image": [1, 3, 32, 32]}
    assert model["metadata_sources"] == {"input_shapes.image": "inferred"}
    assert model["inputs"][0]["shape"] == ["N", 3, "h", "w"]


def test_shapes_of_the_metadata_are_run_on_upload(api: httpx.Client) -> None:
    model = add_model(api, baked_reshape(), metadata={"input_shapes": {"image": [1, 3, 11, 13]}})
    assert model["input_shapes"] == {"image": [1, 3, 11, 13]}
    for shape, field, words in (
        ([1, 3, 12, 13], "metadata.input_shapes", "fails on zeros of its input shapes"),
        ([1, 4, 11, 13], "metadata.input_shapes.image", "fixes axis 1"),
    ):
        response = post_model(api, baked_reshape(), metadata={"input_shapes": {"image": shape}})
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == field
        assert words in response.json()["detail"]
    assert (
        "Say other `input_shapes`"
        in post_model(api, baked_reshape(), metadata={"input_shapes": {"image": [1, 3, 12, 13]}}).json()["detail"]
    )


def test_a_model_whose_sizes_no_trial_finds_is_kept_and_jobs_ask_for_them(api: httpx.Client) -> None:
    model = add_model(api, baked_reshape(), metadata=None)
    assert model["input_shapes"] == {}
    url = f"/v1/models/{model['id']}/quantizations"
    refused = problem(api.post(url, json={"method": "rq"}), ProblemKind.INVALID_REQUEST)
    assert refused.errors[0].field == "input_shapes"
    assert '"input_shapes": {"image": [1, 3, 32, 32]}' in refused.detail
    accepted = api.post(url, json={"method": "rq", "input_shapes": {"image": [1, 3, 11, 13]}})
    assert accepted.status_code == 202, accepted.text


@pytest.mark.parametrize(
    ("shapes", "field"),
    [
        ({"image": [1, 3, 8]}, "input_shapes.image"),
        ({"other": [1, 3, 8, 8]}, "input_shapes.other"),
        ({"image": [1, 5, 8, 8]}, "input_shapes.image"),
        ({"image": [1, 3, 0, 8]}, "input_shapes.image.2"),
    ],
)
def test_shapes_of_a_request_are_checked_before_the_job(api: httpx.Client, shapes: Document, field: str) -> None:
    model = add_model(api, open_images(), metadata=None)
    response = api.post(f"/v1/models/{model['id']}/quantizations", json={"method": "rq", "input_shapes": shapes})
    assert problem(response, ProblemKind.INVALID_REQUEST).errors[0].field == field


def test_images_are_predicted_at_the_shape_of_the_request(api: httpx.Client) -> None:
    model = add_model(api, open_images(), metadata={"preprocessing": PREPROCESSING})
    url, image = f"/v1/models/{model['id']}/predict", {"Content-Type": "image/png"}
    usual = api.post(url, content=png(50, 40), headers=image).json()["outputs"]["y"]
    assert np.shape(usual) == (1, 2, 8, 8)
    shapes = json.dumps({"image": [1, 3, 64, 48]})
    larger = api.post(url, content=png(50, 40), headers=image, params={"input_shapes": shapes}).json()["outputs"]["y"]
    assert np.shape(larger) == (1, 2, 16, 12)
    for wrong in ({"image": [1, 1, 64, 48]}, {"photo": [1, 3, 64, 48]}, {"image": [1, 3, 2**31, 2**31]}):
        response = api.post(url, content=png(50, 40), headers=image, params={"input_shapes": json.dumps(wrong)})
        assert problem(response, ProblemKind.INVALID_REQUEST).errors[0].field.startswith("input_shapes")
    response = api.post(url, content=png(5, 5), headers=image, params={"input_shapes": "{"})
    (error,) = problem(response, ProblemKind.INVALID_REQUEST).errors
    assert (error.field, "JSON" in error.message) == ("input_shapes", True)
