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
from tests.app.test_problems import problem
from tests.app.uploads import LABELS, METADATA, add_dataset, add_model, detection, images
from tests.engines import graphs

Watch = Callable[[], AbstractContextManager[None]]


def ask(api: httpx.Client, model: dict[str, Any], **request: Any) -> httpx.Response:
    return api.post(f"/v1/models/{model['id']}/quantizations", json=request)


def test_a_request_becomes_a_job(api: httpx.Client) -> None:
    model, dataset = add_model(api), add_dataset(api, images(LABELS))
    request = {
        "method": "aciq",
        "weight_bits": 4,
        "activation_bits": 5,
        "weight_granularity": "tensor",
        "calibration_dataset": dataset["id"],
        "evaluation_dataset": dataset["id"],
        "seed": 7,
        "name": "small",
    }
    response = ask(api, model, **request)
    assert response.status_code == 202
    job = Job.model_validate_json(response.text)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status, job.specification.model_id) == ("quantization", "queued", model["id"])
    assert job.specification.request.model_dump(mode="json") == request
    assert api.get(response.headers["location"]).json() == response.json()


def test_everything_has_a_default(api: httpx.Client) -> None:
    job = ask(api, add_model(api)).json()
    assert job["specification"]["request"]["method"] == "rq"
    assert job["specification"]["request"]["weight_bits"] == 8


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
        ({"calibration_dataset": "dts_unknown"}, "calibration_dataset"),
        ({"evaluation_dataset": "dts_unknown"}, "evaluation_dataset"),
        ({"calibration_dataset": ""}, "calibration_dataset"),
        ({"evaluation_dataset": ""}, "evaluation_dataset"),
    ],
)
def test_bad_requests_name_the_field_and_make_no_job(
    api: httpx.Client, unchanged: Watch, request_: dict[str, Any], field: str
) -> None:
    model = add_model(api)
    with unchanged():
        document = problem(ask(api, model, **request_), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == [field]


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


def test_data_sets_that_do_not_fit(api: httpx.Client, unchanged: Watch) -> None:
    model = add_model(api)
    unlabelled, boxes = add_dataset(api, images())["id"], add_dataset(api, detection(["cat"]), "detection")["id"]
    strangers = add_dataset(api, images(["cat", "fox"]))["id"]
    with unchanged():
        problem(ask(api, model, evaluation_dataset=boxes), ProblemKind.WRONG_DATASET_KIND)
        problem(ask(api, model, evaluation_dataset=unlabelled), ProblemKind.DATASET_MISMATCH)
        document = problem(ask(api, model, evaluation_dataset=strangers), ProblemKind.DATASET_MISMATCH)
    assert "fox" in document.detail
    assert [error.field for error in document.errors] == ["evaluation_dataset"]
    assert ask(api, model, calibration_dataset=unlabelled).status_code == 202


def test_the_number_of_classes_counts_where_there_are_no_labels(api: httpx.Client) -> None:
    model = add_model(api, metadata={key: value for key, value in METADATA.items() if key != "labels"})
    two, three = (add_dataset(api, images(LABELS[:number]))["id"] for number in (2, 3))
    problem(ask(api, model, evaluation_dataset=two), ProblemKind.DATASET_MISMATCH)
    assert ask(api, model, evaluation_dataset=three).status_code == 202


@pytest.mark.parametrize("use", ["calibration_dataset", "evaluation_dataset"])
def test_data_sets_for_a_model_that_takes_no_pictures(api: httpx.Client, use: str) -> None:
    metadata = {"task": "image-classification", "labels": LABELS}
    model = add_model(api, metadata=metadata)
    dataset = add_dataset(api, images(LABELS))["id"]
    document = problem(ask(api, model, **{use: dataset}), ProblemKind.DATASET_MISMATCH)
    assert "preprocessing" in document.detail


def test_a_task_without_accuracy_takes_any_pictures_to_show_agreement(api: httpx.Client) -> None:
    model = add_model(api, metadata={**METADATA, "task": "other", "labels": None})
    assert ask(api, model, evaluation_dataset=add_dataset(api, images())["id"]).status_code == 202


def test_a_detector_whose_boxes_cannot_be_read(api: httpx.Client) -> None:
    model = add_model(api, metadata={**METADATA, "task": "object-detection", "labels": None})
    dataset = add_dataset(api, detection(["cat"]), "detection")["id"]
    document = problem(ask(api, model, evaluation_dataset=dataset), ProblemKind.DATASET_MISMATCH)
    assert "detection" in document.detail


def test_more_jobs_than_may_wait(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"max_queued_jobs": 1}))
    model = add_model(api)
    assert ask(api, model).status_code == 202
    response = ask(api, model)
    problem(response, ProblemKind.OVERLOADED)
    assert int(response.headers["retry-after"]) > 0
