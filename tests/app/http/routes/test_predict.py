import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import ProblemKind
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.images import open_rgb_image
from faceter.vision.preprocess import preprocess
from tests.app.http.test_problems import problem
from tests.app.uploads import LABELS, METADATA, add_model, image
from tests.engines import graphs


@pytest.fixture
def address(api: httpx.Client) -> str:
    return f"/v1/models/{add_model(api)['id']}/predict"


def images(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"p{i}.png", content)) for i, content in enumerate(contents)]


def scores_by_hand(content: bytes) -> list[float]:
    """Return the expected scores: preprocessing, one inference, softmax."""
    preprocessing = Preprocessing.model_validate(METADATA["preprocessing"])
    array, _ = preprocess(open_rgb_image(content, max_pixels=10**6, name="x"), preprocessing)
    logits = OnnxRuntimeEngine().load(graphs.classifier(), threads=1).run({"image": array[None]})["logits"][0]
    powers = np.exp(logits.astype(np.float64) - logits.max())
    scores: list[float] = (powers / powers.sum()).tolist()
    return scores


def test_one_image(api: httpx.Client, address: str) -> None:
    answer = api.post(address, files=images(image(1))).json()
    (prediction,) = answer["predictions"]
    expected = scores_by_hand(image(1))
    assert prediction["label"] == LABELS[int(np.argmax(expected))]
    assert {item["label"]: item["score"] for item in prediction["top"]} == pytest.approx(
        dict(zip(LABELS, expected, strict=True)), rel=1e-4
    )
    assert [item["score"] for item in prediction["top"]] == sorted(
        (item["score"] for item in prediction["top"]), reverse=True
    )
    assert answer["milliseconds"] > 0
    assert "outputs" not in answer
    assert "detections" not in answer


def test_several_images_are_answered_in_their_order(api: httpx.Client, address: str) -> None:
    contents = [image(seed, form=form) for seed, form in enumerate(["PNG", "JPEG", "WEBP", "BMP", "PNG"])]
    together = api.post(address, files=images(*contents)).json()["predictions"]
    alone = [api.post(address, files=images(content)).json()["predictions"][0] for content in contents]
    assert [item["label"] for item in together] == [item["label"] for item in alone]
    for one, other in zip(together, alone, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)


def test_more_images_than_one_run_takes(api: httpx.Client, address: str) -> None:
    contents = [image(seed) for seed in range(70)]
    prediction = api.post(address, files=images(*contents)).json()["predictions"]
    assert len(prediction) == 70
    assert prediction[69]["score"] == pytest.approx(max(scores_by_hand(contents[69])), rel=1e-4)


def test_an_image_as_the_whole_body(api: httpx.Client, address: str) -> None:
    in_form = api.post(address, files=images(image(1))).json()
    as_body = api.post(address, content=image(1), headers={"Content-Type": "image/png"}).json()
    assert as_body["predictions"] == in_form["predictions"]


def test_tensors(api: httpx.Client, address: str) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    answer = api.post(f"{address}?raw=true", json={"inputs": {"image": array.tolist()}}).json()
    expected = OnnxRuntimeEngine().load(graphs.classifier(), threads=1).run({"image": array})["logits"]
    np.testing.assert_allclose(answer["outputs"]["logits"], expected, rtol=1e-4, atol=1e-5)
    assert [item["index"] for item in answer["predictions"]] == expected.argmax(1).tolist()


def test_top_k_and_raw(api: httpx.Client, address: str) -> None:
    answer = api.post(f"{address}?top_k=1&raw=true", files=images(image())).json()
    assert len(answer["predictions"][0]["top"]) == 1
    assert np.shape(answer["outputs"]["logits"]) == (1, 3)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_answers_any_number_of_images(api: httpx.Client, address: str, batch: int) -> None:
    fixed = f"/v1/models/{add_model(api, graphs.classifier(batch=batch))['id']}/predict?raw=true"
    contents = [image(seed) for seed in range(5)]
    expected = api.post(f"{address}?raw=true", files=images(*contents)).json()["outputs"]["logits"]
    answer = api.post(fixed, files=images(*contents)).json()
    np.testing.assert_allclose(answer["outputs"]["logits"], expected, rtol=1e-4, atol=1e-5)
    assert len(answer["predictions"]) == 5


def test_a_model_without_task_answers_outputs(api: httpx.Client) -> None:
    model = add_model(api, graphs.adder(), metadata=None)
    body = {"inputs": {"a": [[1, 2]], "b": [[10, 20.5]]}}
    answer = api.post(f"/v1/models/{model['id']}/predict", json=body).json()
    assert answer["outputs"] == {"sum": [[11, 22.5]]}
    assert answer["model_id"] == model["id"]
    assert "predictions" not in answer


def test_outputs_that_are_not_finite_are_null(api: httpx.Client) -> None:
    content = graphs.model(
        [helper.make_node("Log", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"y": (TensorProto.FLOAT, ["n"])},
    )
    model = add_model(api, content, metadata=None)
    answer = api.post(f"/v1/models/{model['id']}/predict", json={"inputs": {"x": [1, 0, -1]}}).json()
    assert answer["outputs"] == {"y": [0, None, None]}


def test_detections_are_in_the_images_own_pixels(api: httpx.Client) -> None:
    content = graphs.model(
        [helper.make_node("Identity", ["boxes_in"], ["boxes"]), helper.make_node("ReduceMax", ["image"], ["most"])],
        {"image": (TensorProto.FLOAT, [1, 3, 8, 8])},
        {"boxes": (TensorProto.FLOAT, [1, 6, 2]), "most": (TensorProto.FLOAT, [1, 1, 1, 1])},
        {"boxes_in": np.array([[[0.5, 0.25], [0.5, 0.5], [0.5, 0.2], [1, 0.2], [0.9, 0.1], [0.05, 0.6]]], np.float32)},
    )
    metadata = {
        "task": "object_detection",
        "preprocessing": {"size": [8, 8]},
        "labels": ["ant", "bee"],
        "detection": {"head": "direct", "boxes": "boxes", "class_offset": 4, "score_threshold": 0.3},
    }
    address = f"/v1/models/{add_model(api, content, metadata=metadata)['id']}/predict"
    (prediction,) = api.post(address, files=images(image(size=(40, 20)))).json()["detections"]
    assert [(item["label"], round(item["score"], 3)) for item in prediction] == [("ant", 0.9), ("bee", 0.6)]
    assert prediction[0]["box"] == pytest.approx([10, 0, 30, 20])
    (fewer,) = api.post(f"{address}?score_threshold=0.7", files=images(image())).json()["detections"]
    assert [item["label"] for item in fewer] == ["ant"]
    tensors = {"inputs": {"image": np.zeros((1, 3, 8, 8)).tolist()}}
    (raw,) = api.post(address, json=tensors).json()["detections"]
    assert raw[0]["box"] == pytest.approx([2, 0, 6, 8])


ZEROS = np.zeros((1, 3, 8, 8)).tolist()

BAD: dict[str, tuple[dict[str, Any], ProblemKind]] = {
    "no body": ({}, ProblemKind.UNSUPPORTED_MEDIA_TYPE),
    "another type": ({"content": b"x", "headers": {"Content-Type": "text/csv"}}, ProblemKind.UNSUPPORTED_MEDIA_TYPE),
    "a form without a file": ({"files": {"nothing": (None, "x")}}, ProblemKind.INVALID_REQUEST),
    "an empty form": (
        {"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        ProblemKind.INVALID_INPUT,
    ),
    "an empty file": ({"files": images(b"")}, ProblemKind.INVALID_IMAGE),
    "junk": ({"files": images(b"junk" * 100)}, ProblemKind.INVALID_IMAGE),
    "a broken image": ({"files": images(image()[:-100])}, ProblemKind.INVALID_IMAGE),
    "an empty body": ({"content": b"", "headers": {"Content-Type": "image/png"}}, ProblemKind.INVALID_IMAGE),
    "no JSON": ({"content": b"{", "headers": {"Content-Type": "application/json"}}, ProblemKind.MALFORMED_BODY),
    "unpaired surrogate": (
        {"content": rb'{"inputs": {"\ud800": 1}}', "headers": {"Content-Type": "application/json"}},
        ProblemKind.MALFORMED_BODY,
    ),
    "a form cut off": (
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            "headers": {"Content-Type": "multipart/form-data; boundary=b"},
        },
        ProblemKind.MALFORMED_BODY,
    ),
    "no inputs": ({"json": {"inputs": {}}}, ProblemKind.INVALID_INPUT),
    "an unknown input": ({"json": {"inputs": {"image": ZEROS, "x": 1}}}, ProblemKind.INVALID_INPUT),
    "another shape": ({"json": {"inputs": {"image": [[1.0]]}}}, ProblemKind.INVALID_INPUT),
    "text": ({"json": {"inputs": {"image": "cat.jpg"}}}, ProblemKind.INVALID_INPUT),
    "NaN": (
        {
            "content": json.dumps({"inputs": {"image": np.full((1, 3, 8, 8), np.nan).tolist()}}).encode(),
            "headers": {"Content-Type": "application/json"},
        },
        ProblemKind.INVALID_INPUT,
    ),
    "too many rows": ({"json": {"inputs": {"image": ZEROS * 257}}}, ProblemKind.INVALID_INPUT),
    "too many images": ({"files": images(*[b"x"] * 257)}, ProblemKind.INVALID_REQUEST),
    "a bad option": ({"params": {"top_k": 0}, "json": {"inputs": {"image": ZEROS}}}, ProblemKind.INVALID_REQUEST),
    "an unknown option": ({"params": {"topk": 1}, "json": {"inputs": {"image": ZEROS}}}, ProblemKind.INVALID_REQUEST),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_requests(api: httpx.Client, address: str, case: str) -> None:
    request, kind = BAD[case]
    problem(api.post(address, **request), kind)
    assert api.post(address, files=images(image())).status_code == 200


def test_the_broken_image_is_named(api: httpx.Client, address: str) -> None:
    response = api.post(address, files=[("file", ("a.png", image())), ("file", ("torn.png", image()[:200]))])
    document = problem(response, ProblemKind.INVALID_IMAGE)
    assert "torn.png" in document.detail
    assert [error.field for error in document.errors] == ["file.1"]
    alone = problem(api.post(address, files=images(b"junk")), ProblemKind.INVALID_IMAGE)
    assert [error.field for error in alone.errors] == ["file"]


def test_an_image_with_too_many_pixels(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"max_pixels": 100}))
    address = f"/v1/models/{add_model(api)['id']}/predict"
    problem(api.post(address, files=images(image(size=(12, 10)))), ProblemKind.IMAGE_TOO_LARGE)


def test_images_for_a_model_without_image_input(api: httpx.Client) -> None:
    address = f"/v1/models/{add_model(api, graphs.adder(), metadata=None)['id']}/predict"
    assert "preprocessing" in problem(api.post(address, files=images(image())), ProblemKind.INVALID_INPUT).detail


def test_an_unknown_model(api: httpx.Client) -> None:
    problem(api.post("/v1/models/mdl_x/predict", files=images(image())), ProblemKind.NOT_FOUND)


def test_inference_that_fails_on_an_input(api: httpx.Client) -> None:
    content = graphs.model(
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        {"index": (TensorProto.INT64, ["n"])},
        {"y": (TensorProto.FLOAT, ["n"])},
        {"table": np.arange(4, dtype=np.float32)},
    )
    address = f"/v1/models/{add_model(api, content, metadata=None)['id']}/predict"
    problem(api.post(address, json={"inputs": {"index": [4]}}), ProblemKind.INFERENCE_FAILED)
    assert api.post(address, json={"inputs": {"index": [3]}}).json()["outputs"] == {"y": [3]}


def test_an_endless_inference_is_stopped_and_others_continue(
    start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    api = start_server(settings.model_copy(update={"inference_seconds": 0.5, "inference_workers": 2}))
    endless = f"/v1/models/{add_model(api, graphs.endless(), metadata=None)['id']}/predict"
    quick = f"/v1/models/{add_model(api)['id']}/predict"
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(api.post, endless, json={"inputs": {"times": 2**60}})
        assert api.post(quick, files=images(image())).status_code == 200
        assert api.get("/healthz").status_code == 200
        assert "longer" in problem(stuck.result(), ProblemKind.INFERENCE_FAILED).detail


def test_excess_predictions_are_overloaded(
    start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    limits = {"inference_seconds": 1.0, "inference_workers": 1, "max_waiting_predictions": 1}
    api = start_server(settings.model_copy(update=limits))
    address = f"/v1/models/{add_model(api, graphs.endless(), metadata=None)['id']}/predict"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: api.post(address, json={"inputs": {"times": 2**60}}), range(6)))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert refused
    for answer in refused:
        problem(answer, ProblemKind.OVERLOADED)
        assert answer.headers["retry-after"] == "1"
    for answer in answers:
        if answer not in refused:
            problem(answer, ProblemKind.INFERENCE_FAILED)


def test_concurrent_requests_get_their_own_responses_during_evictions(
    start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    one = OnnxRuntimeEngine().load(graphs.classifier(), threads=1).bytes
    api = start_server(settings.model_copy(update={"session_cache_bytes": int(one * 2.5)}))
    contents = [graphs.classifier(seed=seed) for seed in range(4)]
    ids = [add_model(api, content)["id"] for content in contents]
    array = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = [OnnxRuntimeEngine().load(content, threads=1).run({"image": array})["logits"] for content in contents]
    body = {"inputs": {"image": array.tolist()}}

    def ask(turn: int) -> bool:
        which = turn % 4
        answer = api.post(f"/v1/models/{ids[which]}/predict?raw=true", json=body)
        return np.allclose(answer.json()["outputs"]["logits"], expected[which], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(120)))
    metrics = api.get("/metrics").text
    evictions = next(line for line in metrics.splitlines() if line.startswith("faceter_sessions_evictions_total"))
    assert float(evictions.split()[1]) > 0


def test_a_deleted_model_is_not_found(api: httpx.Client) -> None:
    model = add_model(api)
    address = f"/v1/models/{model['id']}"
    assert api.post(f"{address}/predict", files=images(image())).status_code == 200
    assert "faceter_sessions 1.0" in api.get("/metrics").text
    api.delete(address)
    problem(api.post(f"{address}/predict", files=images(image())), ProblemKind.NOT_FOUND)
    assert "faceter_sessions 0.0" in api.get("/metrics").text


def test_resnet20_classifies_images(api: httpx.Client, shared_data: Path) -> None:
    import zipfile

    labels = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    preprocessing = {"size": [32, 32], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    metadata = {"task": "image_classification", "preprocessing": preprocessing, "labels": labels}
    model = add_model(api, (shared_data / "cifar10" / "resnet20.onnx").read_bytes(), metadata=metadata)
    with zipfile.ZipFile(shared_data / "cifar10" / "test.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".jpeg")))[::50]
        contents = [archive.read(name) for name in names]
    prediction = api.post(f"/v1/models/{model['id']}/predict?top_k=1", files=images(*contents)).json()["predictions"]
    right = [answer["label"] == name.split("/")[-2] for answer, name in zip(prediction, names, strict=True)]
    assert len(right) == 100
    assert sum(right) >= 80
