from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.settings import Settings
from tests.app.http.test_problems import problem
from tests.app.uploads import LABELS, METADATA, add_dataset, add_model, detection, images
from tests.engines import graphs

Watch = Callable[[], AbstractContextManager[None]]


def ask(api: httpx.Client, model: dict[str, Any], **request: Any) -> httpx.Response:
    return api.post(f"/v1/models/{model['id']}/quantizations", json=request)


def test_a_request_submits_a_job(api: httpx.Client) -> None:
    model, dataset = add_model(api), add_dataset(api, images(LABELS))
    request = {
        "method": "aciq",
        "weight_bits": 4,
        "activation_bits": 5,
        "weight_granularity": "tensor",
        "calibration_dataset_id": dataset["id"],
        "evaluation_dataset_id": dataset["id"],
        "seed": 7,
        "name": "small",
    }
    response = ask(api, model, **request)
    assert response.status_code == 202
    job = Job.model_validate_json(response.text)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status, job.specification.uses[0]) == ("quantization", "queued", model["id"])
    assert job.specification.request.model_dump(mode="json", exclude_unset=True).items() >= request.items()
    assert api.get(response.headers["location"]).json() == response.json()


def test_everything_has_a_default(api: httpx.Client) -> None:
    request = ask(api, add_model(api)).json()["specification"]["request"]
    assert (request["method"], request["weight_bits"], request["activation_bits"]) == ("auto", 8, 8)
    assert (request["max_minutes"], request["max_steps"], request["target"], request["resume"]) == (
        None,
        None,
        None,
        True,
    )


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"weight_bits": 1}, "weight_bits"),
        ({"weight_bits": 9}, "weight_bits"),
        ({"activation_bits": 0}, "activation_bits"),
        ({"activation_bits": "eight"}, "activation_bits"),
        ({"activation_bits": 4.5}, "activation_bits"),
        ({"weight_granularity": "row"}, "weight_granularity"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a" * 201}, "name"),
        ({"bits": 4}, "bits"),
        ({"calibration_dataset_id": "dts_unknown"}, "calibration_dataset_id"),
        ({"evaluation_dataset_id": "dts_unknown"}, "evaluation_dataset_id"),
        ({"calibration_dataset_id": ""}, "calibration_dataset_id"),
        ({"evaluation_dataset_id": ""}, "evaluation_dataset_id"),
        ({"method": "ft"}, "calibration_dataset_id"),
        ({"method": "ft", "calibration_dataset_id": None}, "calibration_dataset_id"),
        ({"max_minutes": 0}, "max_minutes"),
        ({"max_minutes": -3}, "max_minutes"),
        ({"max_minutes": "six"}, "max_minutes"),
        ({"max_minutes": 1e9}, "max_minutes"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": -1}, "max_steps"),
        ({"max_steps": 1.5}, "max_steps"),
        ({"max_steps": 10**9}, "max_steps"),
        ({"max_steps": 10, "max_minutes": 1}, "max_steps"),
        ({"method": "rq", "max_minutes": 1}, "max_minutes"),
        ({"method": "dfq", "max_steps": 1}, "max_steps"),
        ({"method": "aciq", "target": {"max_drop": 1}}, "target"),
        ({"target": {"max_drop": 1}, "weight_bits": 8}, "weight_bits"),
        ({"target": {"max_bytes": 99}, "activation_bits": 4}, "activation_bits"),
        ({"target": {}}, "target"),
        ({"target": {"max_drop": 1, "max_bytes": 99}}, "target"),
        ({"target": {"max_drop": 0}}, "target.max_drop"),
        ({"target": {"max_drop": 101}}, "target.max_drop"),
        ({"target": {"max_bytes": 0}}, "target.max_bytes"),
        ({"target": 4}, "target"),
        ({"resume": "perhaps"}, "resume"),
    ],
)
def test_bad_requests_name_the_field_and_make_no_job(
    api: httpx.Client, unchanged: Watch, request_: dict[str, Any], field: str
) -> None:
    model = add_model(api)
    with unchanged():
        document = problem(ask(api, model, **request_), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == [field]


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e400"])
@pytest.mark.parametrize("body", ['{"max_minutes": %s}', '{"target": {"max_drop": %s}}'])
def test_infinite_numbers_are_refused(api: httpx.Client, unchanged: Watch, body: str, number: str) -> None:
    address = f"/v1/models/{add_model(api)['id']}/quantizations"
    with unchanged():
        response = api.post(address, content=body % number, headers={"Content-Type": "application/json"})
        problem(response, ProblemKind.INVALID_REQUEST)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"max_minutes": 0}, "max_minutes: Input should be greater than 0"),
        ({"max_minutes": 721}, "limit of this server is 720 minutes"),
        ({"max_steps": 1_000_001}, "limit of this server is 1,000,000 steps"),
        ({"method": "ft"}, "use auto"),
        ({"method": "rq", "max_steps": 9}, "zeroq, gdfq, zaq, ft or auto"),
        ({"target": {}}, "give either max_drop or max_bytes"),
    ],
)
def test_errors_say_what_to_do(api: httpx.Client, request_: dict[str, Any], words: str) -> None:
    assert words in problem(ask(api, add_model(api), **request_), ProblemKind.INVALID_REQUEST).detail


def test_tuning_may_not_take_longer_than_a_job(
    start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    api = start_server(settings.model_copy(update={"job_timeout_seconds": 600, "max_tuning_steps": 50}))
    model = add_model(api)
    assert "10 minutes" in problem(ask(api, model, max_minutes=10.5), ProblemKind.INVALID_REQUEST).detail
    assert "50 steps" in problem(ask(api, model, max_steps=51), ProblemKind.INVALID_REQUEST).detail
    assert ask(api, model, max_minutes=10).status_code == 202
    assert ask(api, model, max_steps=50).status_code == 202


@pytest.mark.parametrize("target", [{"max_drop": 1}, {"max_bytes": 1000}])
def test_a_target_instead_of_bits(api: httpx.Client, target: dict[str, Any]) -> None:
    request = ask(api, add_model(api), target=target, max_minutes=1).json()["specification"]["request"]
    assert request["target"] == {"max_drop": None, "max_bytes": None} | target


def with_batch_norm(axis: str = "width") -> bytes:
    """Return a convolution with BatchNormalization for images whose width may vary if ``axis`` is not a number."""
    return graphs.model(
        [
            helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "var"], ["n"]),
            helper.make_node("GlobalAveragePool", ["n"], ["p"]),
            helper.make_node("Flatten", ["p"], ["logits"]),
        ],
        {"image": (TensorProto.FLOAT, ["batch", 3, 8, int(axis) if axis.isdigit() else axis])},
        {"logits": (TensorProto.FLOAT, ["batch", 3])},
        {
            "w": np.ones((3, 3, 3, 3), np.float32),
            **{name: np.ones(3, np.float32) for name in ("gamma", "beta", "mean", "var")},
        },
    )


@pytest.mark.parametrize("method", ["zeroq", "gdfq"])
def test_methods_that_need_batch_norm(api: httpx.Client, unchanged: Watch, method: str) -> None:
    model = add_model(api)
    with unchanged():
        document = problem(ask(api, model, method=method), ProblemKind.METHOD_NOT_APPLICABLE)
    assert [error.field for error in document.errors] == ["method"]
    assert "BatchNormalization" in document.detail
    assert "rq, dfq, aciq, zaq, ft or auto" in document.detail
    assert (document.model_extra or {})["methods"] == ["rq", "dfq", "aciq", "zaq", "ft", "auto"]
    assert ask(api, add_model(api, with_batch_norm("8")), method=method).status_code == 202


@pytest.mark.parametrize("task", ["object_detection", "other", "image_translation"])
def test_gdfq_is_for_classifiers(api: httpx.Client, unchanged: Watch, task: str) -> None:
    model = add_model(api, with_batch_norm("8"), metadata={**METADATA, "task": task})
    with unchanged():
        document = problem(ask(api, model, method="gdfq"), ProblemKind.METHOD_NOT_APPLICABLE)
    assert task in document.detail
    works = (document.model_extra or {})["methods"]
    assert works == ["rq", "dfq", "aciq", "zeroq", "zaq", "ft", "auto"]
    for method in set(works) - {"ft"}:
        assert ask(api, model, method=method).status_code == 202


@pytest.mark.parametrize("method", ["auto", "zeroq", "gdfq", "zaq"])
def test_tuning_takes_open_sizes(api: httpx.Client, method: str) -> None:
    metadata = {"task": "image_classification", "labels": LABELS}
    model = add_model(api, with_batch_norm("width"), metadata=metadata)
    assert set(model["input_shapes"]) == {"image"}
    assert ask(api, model, method=method).status_code == 202
    assert ask(api, add_model(api, with_batch_norm("width")), method=method).status_code == 202
    assert ask(api, add_model(api, with_batch_norm("8"), metadata=metadata), method=method).status_code == 202


def signal_classifier(length: int | str | None) -> bytes:
    """Return a classifier of signals [batch, 1, length]."""
    return graphs.model(
        [
            helper.make_node("Conv", ["signal", "w"], ["c"]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["logits"]),
        ],
        {"signal": (TensorProto.FLOAT, ["batch", 1, length])},
        {"logits": (TensorProto.FLOAT, ["batch", 2])},
        {"w": np.ones((2, 1, 5), np.float32)},
    )


@pytest.mark.parametrize(
    ("length", "shapes"), [(64, {}), ("length", {"signal": [1, 1, 64]}), (None, {"signal": [1, 1, 64]})]
)
def test_signals_may_have_any_length(api: httpx.Client, length: int | str | None, shapes: dict[str, Any]) -> None:
    model = add_model(api, signal_classifier(length), metadata={"task": "signal_classification"})
    assert model["input_shapes"] == shapes
    assert ask(api, model).status_code == 202


def test_fine_tuning_on_images(api: httpx.Client) -> None:
    dataset = add_dataset(api, images())["id"]
    assert ask(api, add_model(api), method="ft", calibration_dataset_id=dataset, max_steps=5).status_code == 202


def test_an_unknown_model(api: httpx.Client, unchanged: Watch) -> None:
    with unchanged():
        problem(ask(api, {"id": "mdl_unknown"}), ProblemKind.NOT_FOUND)


def quantized() -> bytes:
    return graphs.model(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        {"x": (TensorProto.FLOAT, ["n", 2])},
        {"y": (TensorProto.FLOAT, ["n", 2])},
        {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)},
    )


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (quantized(), ProblemKind.ALREADY_QUANTIZED, "quantized"),
        (graphs.adder(), ProblemKind.NOTHING_TO_QUANTIZE, "nothing"),
    ],
)
def test_models_that_cannot_be_quantized(
    api: httpx.Client, unchanged: Watch, content: bytes, kind: ProblemKind, words: str
) -> None:
    model = add_model(api, content, metadata=None)
    with unchanged():
        assert words in problem(ask(api, model), kind).detail


def test_an_operator_that_is_not_known_is_named_and_predict_still_works(api: httpx.Client, unchanged: Watch) -> None:
    model = add_model(api, graphs.endless(), metadata=None)
    with unchanged():
        document = problem(ask(api, model), ProblemKind.UNSUPPORTED_OPERATOR)
    assert "Loop" in document.detail
    answer = api.post(f"/v1/models/{model['id']}/predict", json={"inputs": {"times": 3}})
    assert answer.json()["outputs"] == {"end": [8]}
    assert api.get(f"/v1/models/{model['id']}/graph").json()["unsupported_operators"] == ["Loop"]


def test_datasets_that_do_not_fit(api: httpx.Client, unchanged: Watch) -> None:
    model = add_model(api)
    unlabelled, boxes = add_dataset(api, images())["id"], add_dataset(api, detection(["cat"]), "detection")["id"]
    strangers = add_dataset(api, images(["cat", "fox"]))["id"]
    with unchanged():
        problem(ask(api, model, evaluation_dataset_id=boxes), ProblemKind.WRONG_DATASET_KIND)
        problem(ask(api, model, evaluation_dataset_id=unlabelled), ProblemKind.DATASET_MISMATCH)
        document = problem(ask(api, model, evaluation_dataset_id=strangers), ProblemKind.DATASET_MISMATCH)
    assert "fox" in document.detail
    assert [error.field for error in document.errors] == ["evaluation_dataset_id"]
    assert ask(api, model, calibration_dataset_id=unlabelled).status_code == 202


def test_the_number_of_classes_counts_where_there_are_no_labels(api: httpx.Client) -> None:
    model = add_model(api, metadata={key: value for key, value in METADATA.items() if key != "labels"})
    two, three = (add_dataset(api, images(LABELS[:number]))["id"] for number in (2, 3))
    problem(ask(api, model, evaluation_dataset_id=two), ProblemKind.DATASET_MISMATCH)
    assert ask(api, model, evaluation_dataset_id=three).status_code == 202


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_datasets_for_a_model_that_takes_no_images(api: httpx.Client, use: str) -> None:
    metadata = {"task": "image_classification", "labels": LABELS}
    model = add_model(api, metadata=metadata)
    dataset = add_dataset(api, images(LABELS))["id"]
    document = problem(ask(api, model, **{use: dataset}), ProblemKind.DATASET_MISMATCH)
    assert "preprocessing" in document.detail


def test_a_task_without_accuracy_takes_any_images_to_show_agreement(api: httpx.Client) -> None:
    model = add_model(api, metadata={**METADATA, "task": "other", "labels": None})
    assert ask(api, model, evaluation_dataset_id=add_dataset(api, images())["id"]).status_code == 202


def test_a_detector_whose_boxes_cannot_be_read(api: httpx.Client) -> None:
    model = add_model(api, metadata={**METADATA, "task": "object_detection", "labels": None})
    dataset = add_dataset(api, detection(["cat"]), "detection")["id"]
    document = problem(ask(api, model, evaluation_dataset_id=dataset), ProblemKind.DATASET_MISMATCH)
    assert "detection" in document.detail


def test_more_jobs_than_the_queue_limit(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"max_queued_jobs": 1}))
    model = add_model(api)
    assert ask(api, model).status_code == 202
    response = ask(api, model)
    problem(response, ProblemKind.OVERLOADED)
    assert int(response.headers["retry-after"]) > 0
