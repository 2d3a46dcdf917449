import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.errors import ProblemKind
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.quantizations import Tuning
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.http.test_problems import problem
from tests.app.uploads import LABELS, METADATA, add_model, post_model, stored_blobs
from tests.engines import graphs
from tests.engines.reports import report_of

CURVES = json.dumps([{"step": 1, "losses": {"kl": 0.5}}]).encode()

Watch = Callable[[], AbstractContextManager[None]]


def test_upload(api: httpx.Client) -> None:
    content = graphs.classifier()
    response = post_model(api, content)
    assert response.status_code == 201
    model = Model.model_validate_json(response.text)
    assert response.headers["location"] == f"/v1/models/{model.id}"
    assert (model.name, model.sha256, model.bytes) == ("tiny", hashlib.sha256(content).hexdigest(), len(content))
    assert model.metadata.labels == LABELS
    assert [spec.name for spec in model.inputs] == ["image"]
    assert model.outputs[0].shape == ["batch", 3]
    assert (model.opset, model.parameters) == (20, 4 * 27 + 4 + 3 * 4 + 3)
    assert api.get(response.headers["location"]).json() == response.json()
    for link in ("self", "content", "graph"):
        assert api.get(model.links[link]).status_code == 200


def test_a_check_tells_what_an_upload_would_and_stores_nothing(api: httpx.Client, unchanged: Watch) -> None:
    content = graphs.classifier()
    data = {"name": "tiny", "metadata": json.dumps(METADATA)}
    with unchanged():
        checked = api.post("/v1/models/check", files={"file": ("m.onnx", content)}, data=data)
        assert checked.status_code == 200
        refused = api.post("/v1/models/check", files={"file": ("m.onnx", b"no model")})
        assert problem(refused, ProblemKind.INVALID_MODEL)
    stored = post_model(api, content).json()
    assert checked.json() == {name: stored[name] for name in checked.json()}


def tuned(library: Library) -> Model:
    """Store a model as a tuning job does."""
    weights, curves = library.store_blob(graphs.classifier()), library.store_blob(CURVES)
    tuning = Tuning(
        path="inputs distilled from BatchNorm statistics",
        steps=1,
        seconds=1,
        phases=[],
        ended_by="request",
        kept_step=1,
        synthetic_dataset_id="dts_inputs",
    )
    return library.add(
        Model(
            id=new_id("mdl"),
            name="naïve net",
            created_at=utc_now(),
            sha256=weights.sha256,
            bytes=weights.bytes,
            metadata=ModelMetadata(),
            inputs=[],
            outputs=[],
            opset=20,
            parameters=1,
            quantization=report_of("plain").model_copy(update={"tuning": tuning}),
            files={"curves.json": StoredFile(sha256=curves.sha256, bytes=curves.bytes, media_type="application/json")},
        )
    )


def test_the_curves_of_a_tuned_model(api: httpx.Client, library: Library, settings: Settings) -> None:
    model = api.get(f"/v1/models/{tuned(library).id}").json()
    assert model["links"]["synthetic_dataset"] == "/v1/datasets/dts_inputs"
    address = model["links"]["curves.json"]
    assert address == f"{model['links']['self']}/files/curves.json"
    response = api.get(address)
    assert response.content == CURVES
    assert response.headers["content-type"] == "application/json"
    assert "na_ve net-curves.json" in response.headers["content-disposition"]
    etag = response.headers["etag"]
    assert etag == f'"{hashlib.sha256(CURVES).hexdigest()}"'
    assert api.get(address, headers={"If-None-Match": etag}).status_code == 304
    part = api.get(address, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, CURVES[2:6])
    assert api.head(address).headers["content-length"] == str(len(CURVES))
    assert api.delete(model["links"]["self"]).status_code == 204
    problem(api.get(address), ProblemKind.NOT_FOUND)
    assert not stored_blobs(settings.data_dir / "blobs")


def test_an_unknown_file_lists_the_existing_ones(api: httpx.Client, library: Library) -> None:
    address = f"/v1/models/{tuned(library).id}/files"
    problem(api.get(f"{address}/..%2Fcontent"), ProblemKind.NOT_FOUND)
    for name in ("trade-off.png", "CURVES.JSON", "%F0%9F%A6%A4", "%00"):
        assert "It has curves.json." in problem(api.get(f"{address}/{name}"), ProblemKind.NOT_FOUND).detail
    document = problem(api.get(f"/v1/models/{add_model(api)['id']}/files/curves.json"), ProblemKind.NOT_FOUND)
    assert "no further files" in document.detail
    problem(api.get("/v1/models/mdl_unknown/files/curves.json"), ProblemKind.NOT_FOUND)


def test_upload_without_name_or_metadata(api: httpx.Client) -> None:
    model = add_model(api, name=None, metadata=None)
    assert model["name"] == "tiny"
    assert model["metadata"]["task"] == "other"


def test_metadata_as_a_file_part(api: httpx.Client) -> None:
    files: dict[str, Any] = {
        "file": ("a.onnx", graphs.classifier()),
        "metadata": ("blob", json.dumps(METADATA).encode(), "application/json"),
    }
    assert api.post("/v1/models", files=files).json()["metadata"]["labels"] == LABELS


def test_the_same_file_is_one_blob_until_its_last_model_goes(api: httpx.Client, settings: Settings) -> None:
    first, second = add_model(api, name="a"), add_model(api, name="b")
    assert first["id"] != second["id"]
    assert first["sha256"] == second["sha256"]
    blobs = settings.data_dir / "blobs"
    assert len(stored_blobs(blobs)) == 1
    assert api.delete(f"/v1/models/{first['id']}").status_code == 204
    assert api.get(f"/v1/models/{second['id']}/content").status_code == 200
    assert api.delete(f"/v1/models/{second['id']}").status_code == 204
    assert not stored_blobs(blobs)
    problem(api.get(f"/v1/models/{first['id']}"), ProblemKind.NOT_FOUND)


def foreign_domain() -> bytes:
    model = onnx.load_model_from_string(graphs.adder())
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return bytes(model.SerializeToString())


def external_data() -> bytes:
    model = onnx.load_model_from_string(graphs.classifier())
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    return bytes(model.SerializeToString())


BAD_FILES = {
    "empty": (b"", ProblemKind.INVALID_MODEL),
    "truncated": (graphs.classifier()[:-40], ProblemKind.INVALID_MODEL),
    "not ONNX": (b"\x89PNG\r\n\x1a\n" + bytes(100), ProblemKind.INVALID_MODEL),
    "a name that is not text": (graphs.adder().replace(b"sum", b"\xff\xfe\xfd"), ProblemKind.INVALID_MODEL),
    "text": (b"import torch\n" * 20, ProblemKind.INVALID_MODEL),
    "custom domain": (foreign_domain(), ProblemKind.CUSTOM_OPERATORS),
    "external data": (external_data(), ProblemKind.EXTERNAL_DATA),
    "old opset": (graphs.adder(opset=5), ProblemKind.UNSUPPORTED_OPSET),
    "a tensor of terabytes": (graphs.of_terabytes(), ProblemKind.MODEL_NOT_RUNNABLE),
    "no kernel": (graphs.unrunnable(), ProblemKind.MODEL_NOT_RUNNABLE),
    "fails when run": (graphs.fails_when_run(), ProblemKind.MODEL_NOT_RUNNABLE),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused_and_leave_nothing(api: httpx.Client, unchanged: Watch, case: str) -> None:
    content, kind = BAD_FILES[case]
    add_model(api)
    with unchanged():
        problem(post_model(api, content, metadata=None), kind)


BAD_METADATA: dict[str, tuple[Any, ProblemKind, str]] = {
    "not JSON": ("{task:", ProblemKind.INVALID_METADATA, "metadata"),
    "not an object": ("[1]", ProblemKind.INVALID_METADATA, "metadata"),
    "endless nesting": ("[" * 100_000, ProblemKind.INVALID_METADATA, "metadata"),
    "a number of many digits": ('{"task": ' + "9" * 5000 + "}", ProblemKind.INVALID_METADATA, "metadata"),
    "unpaired surrogate": ('{"labels": ["\\ud800"]}', ProblemKind.INVALID_METADATA, "metadata"),
    "unknown task": ({"task": "cooking"}, ProblemKind.INVALID_METADATA, "metadata.task"),
    "unknown field": ({"tusk": "other"}, ProblemKind.INVALID_METADATA, "metadata.tusk"),
    "size of three": (
        {"preprocessing": {"size": [8, 8, 3]}},
        ProblemKind.INVALID_METADATA,
        "metadata.preprocessing.size",
    ),
    "size zero": ({"preprocessing": {"size": [0, 8]}}, ProblemKind.INVALID_METADATA, "metadata.preprocessing.size.0"),
    "NaN": (
        '{"preprocessing": {"size": [8, 8], "scale": NaN}}',
        ProblemKind.INVALID_METADATA,
        "metadata.preprocessing.scale",
    ),
    "other size": (
        {**METADATA, "preprocessing": {"size": [9, 9]}},
        ProblemKind.METADATA_MISMATCH,
        "metadata.preprocessing.size",
    ),
    "other channels": (
        {**METADATA, "preprocessing": {"size": [8, 8], "channel_order": "gray"}},
        ProblemKind.METADATA_MISMATCH,
        "metadata.preprocessing.channel_order",
    ),
    "too many labels": ({**METADATA, "labels": [*LABELS, "fox"]}, ProblemKind.METADATA_MISMATCH, "metadata.labels"),
    "no such output": ({**METADATA, "output": "x"}, ProblemKind.METADATA_MISMATCH, "metadata.output"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_bad_metadata_is_refused_and_leaves_nothing(api: httpx.Client, unchanged: Watch, case: str) -> None:
    metadata, kind, field = BAD_METADATA[case]
    with unchanged():
        document = problem(post_model(api, metadata=metadata), kind)
    assert field in [error.field for error in document.errors]


def test_an_oversized_file(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"max_model_bytes": 500}))
    problem(post_model(api), ProblemKind.PAYLOAD_TOO_LARGE)
    assert api.get("/v1/models").json()["items"] == []
    assert not stored_blobs(settings.data_dir / "blobs")


def test_an_endless_model_is_stopped(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"inference_seconds": 0.3}))
    document = problem(post_model(api, graphs.endless(2**60), metadata=None), ProblemKind.MODEL_NOT_RUNNABLE)
    assert "longer" in document.detail


BAD_FORMS: dict[str, tuple[dict[str, Any], ProblemKind, str | None]] = {
    "no file": ({"files": {"name": (None, "x")}}, ProblemKind.INVALID_REQUEST, "file"),
    "file as text": ({"files": {"file": (None, "x")}}, ProblemKind.INVALID_REQUEST, "file"),
    "two files": ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))]}, ProblemKind.INVALID_REQUEST, "file"),
    "unknown part": (
        {"files": {"file": ("a.onnx", graphs.adder())}, "data": {"labels": "x"}},
        ProblemKind.INVALID_REQUEST,
        "labels",
    ),
    "a name of control characters": (
        {"files": {"file": ("a.onnx", graphs.adder())}, "data": {"name": "a\x00b"}},
        ProblemKind.INVALID_REQUEST,
        "name",
    ),
    "a long name": (
        {"files": {"file": ("a.onnx", graphs.adder())}, "data": {"name": "a" * 201}},
        ProblemKind.INVALID_REQUEST,
        "name",
    ),
    "not a form": ({"json": {}}, ProblemKind.UNSUPPORTED_MEDIA_TYPE, None),
    "no boundary": (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        ProblemKind.MALFORMED_BODY,
        None,
    ),
    "torn": (
        {"content": b"--b\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        ProblemKind.MALFORMED_BODY,
        None,
    ),
    "garbage": (
        {"content": b"garbage", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        ProblemKind.MALFORMED_BODY,
        None,
    ),
    "a huge part name": (
        {"files": {"n" * 1_000_000: ("a", b"x")}},
        ProblemKind.MALFORMED_BODY,
        None,
    ),
    "many parts": (
        {"files": {"file": ("a", b"x")}, "data": {f"n{i}": "x" for i in range(2000)}},
        ProblemKind.MALFORMED_BODY,
        None,
    ),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_bad_forms_are_refused_and_leave_nothing(api: httpx.Client, unchanged: Watch, case: str) -> None:
    request, kind, field = BAD_FORMS[case]
    with unchanged():
        document = problem(api.post("/v1/models", **request), kind)
    if field is not None:
        assert [error.field for error in document.errors] == [field]


def test_lists_are_newest_first_and_stable(api: httpx.Client) -> None:
    ids = [add_model(api, name=f"m{i}")["id"] for i in range(5)]
    first = api.get("/v1/models?limit=2").json()
    assert [item["id"] for item in first["items"]] == [ids[4], ids[3]]
    add_model(api, name="later")
    second = api.get(f"/v1/models?limit=2&cursor={first['next_cursor']}").json()
    assert [item["id"] for item in second["items"]] == [ids[2], ids[1]]
    last = api.get(f"/v1/models?limit=2&cursor={second['next_cursor']}").json()
    assert [item["id"] for item in last["items"]] == [ids[0]]
    assert last["next_cursor"] is None


def test_filters(api: httpx.Client) -> None:
    one = add_model(api, name="ResNet")["id"]
    other = add_model(api, graphs.adder(), name="adder", metadata=None)["id"]

    def ids(query: str) -> list[str]:
        return [item["id"] for item in api.get(f"/v1/models?{query}").json()["items"]]

    assert ids("name=resn") == [one]
    assert ids("task=other") == [other]
    assert ids("quantized=false") == [other, one]
    assert ids("quantized=true") == []
    assert ids("derived_from_id=mdl_x") == []


def test_summaries_are_light(api: httpx.Client) -> None:
    add_model(api)
    (item,) = api.get("/v1/models").json()["items"]
    assert item["task"] == "image_classification"
    assert "metadata" not in item
    assert "inputs" not in item


def test_graph(api: httpx.Client) -> None:
    model = add_model(api)
    graph = api.get(f"/v1/models/{model['id']}/graph").json()
    assert graph["operators"] == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert graph["layers"][0]["macs"] == 4 * 27 * 64
    assert graph["parameters"] == model["parameters"]


@pytest.mark.parametrize("path", ["", "/content", "/graph"])
def test_unknown_models(api: httpx.Client, path: str) -> None:
    assert "mdl_unknown" in problem(api.get(f"/v1/models/mdl_unknown{path}"), ProblemKind.NOT_FOUND).detail


def test_deleting_an_unknown_model(api: httpx.Client) -> None:
    problem(api.delete("/v1/models/mdl_unknown"), ProblemKind.NOT_FOUND)


def test_names_that_are_joined_letters(api: httpx.Client) -> None:
    name = "\N{CAT FACE}\N{ZERO WIDTH JOINER}\N{BLACK LARGE SQUARE} \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert add_model(api, name=name)["name"] == name


def test_an_unusable_file_name_is_reported(api: httpx.Client) -> None:
    response = api.post("/v1/models", files={"file": (f"{'a' * 300}.onnx", graphs.classifier())})
    document = problem(response, ProblemKind.INVALID_REQUEST)
    assert "the file name cannot be used" in document.detail
    assert [error.field for error in document.errors] == ["name"]


@pytest.mark.parametrize("content", [graphs.unrunnable(), graphs.fails_when_run()], ids=["cannot load", "cannot run"])
def test_a_model_that_does_not_run_is_the_fault_of_the_file(api: httpx.Client, content: bytes) -> None:
    document = problem(post_model(api, content, metadata=None), ProblemKind.MODEL_NOT_RUNNABLE)
    assert [error.field for error in document.errors] == ["file"]
