"""Models as people have them: served, described, and refused by jobs with a remedy before these start."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store import job_steps
from tests import foreign_models
from tests.app.http.test_problems import problem
from tests.app.uploads import post_model
from tests.engines.test_types import convolution
from tests.graphs import control_flow, scikit_models
from tests.graphs.builders import GraphBuilder, residual_net
from tests.graphs.test_stored_shapes import edited_batch
from tests.store.jobs.worker_side import claimed
from workers.jobs.error_reports import error_report


def uploaded(api: httpx.Client, model: onnx.ModelProto, **metadata: Any) -> dict[str, Any]:
    response = post_model(api, model.SerializeToString(), metadata=metadata or None)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def predicted(api: httpx.Client, model: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    response = api.post(model["actions"]["predict"], json={"inputs": inputs})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def refused(api: httpx.Client, model: dict[str, Any], kind: ProblemKind) -> str:
    return problem(api.post(model["actions"]["quantize"], json={"method": "rq"}), kind).detail


X = np.ones((2, 4)).tolist()


def test_a_branch_by_an_input_is_refused_with_the_value_to_give(api: httpx.Client) -> None:
    model = uploaded(api, control_flow.by_sampling_rate())
    assert len(predicted(api, model, x=X, sr=16000)["outputs"]["y"]) == 2
    assert '{"constant_inputs": {"sr": 16000}}' in refused(api, model, ProblemKind.UNSUPPORTED_OPERATOR)


def test_with_that_value_it_is_one_graph_for_jobs(api: httpx.Client) -> None:
    model = uploaded(api, control_flow.by_sampling_rate(), constant_inputs={"sr": 16000})
    assert [spec["name"] for spec in model["inputs"]] == ["x", "sr"]
    graph = api.get(model["links"]["graph"]).json()
    assert graph["unsupported_operators"] == []
    assert "MatMul" in graph["operators"]
    assert api.post(model["actions"]["quantize"], json={"method": "rq"}).status_code == 202


def test_a_branch_by_the_data_is_refused_before_the_job(api: httpx.Client) -> None:
    model = uploaded(api, control_flow.by_data())
    detail = refused(api, model, ProblemKind.UNSUPPORTED_OPERATOR)
    assert "the operator If (node 'which')" in detail
    assert "Export the branch" in detail


@pytest.mark.parametrize(
    ("constants", "said"), [({"rate": 1}, "no input 'rate'"), ({"x": 1}, "only single numbers"), ({"sr": 0.5}, "int64")]
)
def test_constant_inputs_that_do_not_fit_are_refused(api: httpx.Client, constants: dict[str, Any], said: str) -> None:
    response = post_model(
        api, control_flow.by_sampling_rate().SerializeToString(), metadata={"constant_inputs": constants}
    )
    answer = problem(response, ProblemKind.METADATA_MISMATCH)
    assert said in answer.detail
    assert answer.errors[0].field == f"metadata.constant_inputs.{next(iter(constants))}"


def test_weights_that_are_nan_are_warned_of_and_not_quantized(api: httpx.Client) -> None:
    network = residual_net()
    weight = next(tensor for tensor in network.graph.initializer if tensor.name == "classifier")
    weight.CopyFrom(numpy_helper.from_array(np.full((5, 12), np.nan, np.float32), "classifier"))
    model = uploaded(api, network)
    assert any("'classifier'" in line for line in model["warnings"])
    assert "'classifier'" in refused(api, model, ProblemKind.INVALID_MODEL)


def test_stale_shapes_are_corrected_and_named(api: httpx.Client) -> None:
    model = uploaded(api, edited_batch())
    assert model["outputs"][0]["shape"] == [4, 8, 1, 1]
    assert any("contradict its graph" in line for line in model["warnings"])


def test_a_type_without_kernels_is_served_in_float32(api: httpx.Client) -> None:
    model = uploaded(api, convolution(TensorProto.BFLOAT16))
    assert model["inputs"][0]["dtype"] == "bfloat16"
    assert any("bfloat16" in line and "float32" in line for line in model["warnings"])
    outputs = predicted(api, model, x=np.ones((1, 1, 4, 4)).tolist())["outputs"]
    assert np.shape(outputs["y"]) == (1, 2, 2, 2)


@pytest.mark.parametrize("name", ["QDQ", "operators", "dynamic matrix products", "MatMulNBits"])
def test_models_quantized_elsewhere_are_served_and_not_quantized_again(
    api: httpx.Client, name: str, tmp_path: Path
) -> None:
    network = foreign_models.made(name, tmp_path)
    model = uploaded(api, network)
    outputs = predicted(api, model, x=foreign_models.inputs(network, 2).tolist())["outputs"]
    assert np.shape(outputs["y"]) == (2, 5)
    assert api.get(model["links"]["graph"]).json()["parameters"] == model["parameters"] > 800
    assert "is already quantized: it has " in refused(api, model, ProblemKind.ALREADY_QUANTIZED)


def test_text_labels_and_maps_are_answered_as_json(api: httpx.Client) -> None:
    model = uploaded(api, scikit_models.multilayer_perceptron(text=True))
    x, _ = scikit_models.samples()
    label, scores = predicted(api, model, X=x[:2].tolist())["outputs"].values()
    assert label == [max(row, key=row.get) for row in scores]
    assert [sorted(row) for row in scores] == [["cat", "dog", "emu"]] * 2
    assert api.post(model["actions"]["quantize"], json={"method": "rq"}).status_code == 202


def quantized_softmax() -> onnx.ModelProto:
    """Return a classifier whose 1,000 probabilities are 0.6 for class 7 and too small for a code for the others."""
    bias = np.zeros(1000, np.float32)
    bias[7] = np.log(0.6 / (0.4 / 999))
    net = GraphBuilder(["n", 8, 1])
    net.add("Flatten")
    net.add("Gemm", net.last, net.constant(np.zeros((8, 1000), np.float32)), net.constant(bias))
    net.add("Softmax")
    scale, zero = net.constant(np.float32(1 / 255)), net.constant(np.uint8(0))
    net.add("QuantizeLinear", net.last, scale, zero)
    net.add("DequantizeLinear", net.last, scale, zero)
    return net.build()


def test_probabilities_of_another_tool_are_not_taken_for_logits(api: httpx.Client) -> None:
    model = uploaded(api, quantized_softmax(), task="signal_classification")
    (prediction,) = predicted(api, model, x=np.zeros((1, 8, 1)).tolist())["predictions"]
    assert prediction["index"] == 7
    assert prediction["score"] == pytest.approx(0.6, abs=0.01)


def test_the_report_of_an_internal_error_is_downloaded(api: httpx.Client, shared_settings: Settings) -> None:
    model = uploaded(api, residual_net())
    job = api.post(model["actions"]["quantize"], json={"method": "rq"}).json()
    with Redis.from_url(str(shared_settings.redis_url)) as redis:
        execution = claimed(redis, job["id"])
        error = IndexError("list index out of range")
        report = error_report(error, job["id"], job["specification"], "measuring")
        job_steps.fail(redis, execution, FaceterError(ProblemKind.INTERNAL_ERROR, "no").problem(), "", report)
        assert JobQueue(redis, shared_settings).error_report(job["id"]) == report
    ended = api.get(job["links"]["self"]).json()
    answer = api.get(ended["links"]["error_report"])
    assert answer.headers["content-disposition"] == f'attachment; filename="{job["id"]}-error-report.json"'
    assert json.loads(answer.text)["error"] == "IndexError: list index out of range"
    other = api.post(model["actions"]["quantize"], json={"method": "rq"}).json()
    assert "error_report" not in other["links"]
    problem(api.get(f"{other['links']['self']}/error-report.json"), ProblemKind.NOT_FOUND)
