"""Predictions that want more than there is: they fail alone, and the API process goes on within its memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.settings import Settings
from tests.app.uploads import add_model, image
from tests.end_to_end.test_api_process import ApiProcess
from tests.engines import graphs

pytestmark = pytest.mark.end_to_end

_MIB = 2**20
_SIDE = 75_000
_Tensors = dict[str, tuple[int, graphs.Shape]]


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[ApiProcess]:
    """An API that allows predictions half a gigabyte."""
    limits = {"prediction_bytes": 512 * _MIB, "session_cache_bytes": 256 * _MIB, "max_batch": _SIDE}
    process = ApiProcess(settings.model_copy(update=limits), tmp_path / "api.log")
    yield process
    process.close()


def resident_bytes(process: ApiProcess) -> int:
    """Return the memory of the API process."""
    pages = Path(f"/proc/{process.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def outer_product() -> bytes:
    """Return a graph whose result has N² values for N inputs."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["row"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "row"], ["product"]),
        helper.make_node("ReduceSum", ["product"], ["y"], keepdims=0),
    ]
    return graphs.model(nodes, {"x": (TensorProto.FLOAT, ["N", 1])}, {"y": (TensorProto.FLOAT, [])}, {})


def wide() -> bytes:
    """Return a graph that repeats its input as often as the input says."""
    nodes = [helper.make_node("Expand", ["x", "count"], ["y"])]
    inputs: _Tensors = {"x": (TensorProto.FLOAT, [1]), "count": (TensorProto.INT64, [1])}
    return graphs.model(nodes, inputs, {"y": (TensorProto.FLOAT, ["N"])}, {})


def predicted(
    client: httpx.Client, id: str, inputs: dict[str, Any], accept: str = "application/json"
) -> httpx.Response:
    return client.post(f"/v1/models/{id}/predict", json={"inputs": inputs}, headers={"Accept": accept})


def test_a_run_that_needs_too_much_memory_fails_alone(process: ApiProcess) -> None:
    client = process.client
    hostile = add_model(client, outer_product(), metadata="{}")["id"]
    honest = add_model(client)["id"]
    rss = resident_bytes(process)
    for _ in range(3):
        refused = predicted(client, hostile, {"x": np.ones((_SIDE, 1)).tolist()})
        assert refused.status_code == 422, refused.text
        assert refused.json()["type"] == "/problems/inference-failed"
        assert "FACETER_PREDICTION_BYTES" in refused.json()["detail"]
        answer = client.post(f"/v1/models/{honest}/predict", content=image(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 200
    assert predicted(client, hostile, {"x": [[1.0], [2.0]]}).json()["outputs"]["y"] == 9.0
    assert resident_bytes(process) - rss < 600 * _MIB


def test_outputs_too_large_for_json_are_for_the_binary_formats(process: ApiProcess) -> None:
    model = add_model(process.client, wide(), metadata="{}")["id"]
    inputs = {"x": [1.0], "count": [20_000_000]}
    refused = predicted(process.client, model, inputs)
    assert refused.status_code == 406
    assert "20,000,000 values" in refused.json()["detail"]
    assert len(predicted(process.client, model, inputs, "application/x-npy").content) > 80_000_000
    sent = [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]
    sent.append({"name": "count", "datatype": "INT64", "shape": [1], "data": [20_000_000]})
    assert process.client.post(f"/v2/models/{model}/infer", json={"inputs": sent}).status_code == 406


def test_images_at_a_size_beyond_memory_are_refused(process: ApiProcess) -> None:
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    inputs: _Tensors = {"x": (TensorProto.FLOAT, ["N", 3, "H", "W"])}
    outputs: _Tensors = {"y": (TensorProto.FLOAT, ["N", 3, 1, 1])}
    metadata = {"preprocessing": {"size": [4096, 4096]}}
    content = graphs.model([node], inputs, outputs, {})
    model = add_model(process.client, content, metadata=json.dumps(metadata))["id"]
    path = f"/v1/models/{model}/predict"
    refused = process.client.post(path, content=image(), headers={"Content-Type": "image/png"})
    assert refused.status_code == 422
    assert "4096 × 4096" in refused.json()["detail"]
