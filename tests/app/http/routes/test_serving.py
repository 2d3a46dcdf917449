"""What serves a model: measured, reported, kept loaded, and forced by a request."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.serving import ServingPrecision, ServingReport
from faceter.contracts.settings import Settings
from faceter.engines import openvino
from faceter.engines.agreement import FAST_DIFFERENCE
from tests.app.conftest import StartServer
from tests.app.http.test_problems import problem
from tests.app.translator_fixtures import GENERATOR_METADATA, pixels
from tests.app.uploads import METADATA, add_model, image, post_model
from tests.engines import graphs
from tests.translation import generators
from tests.workers.processes import eventually

needs_openvino = pytest.mark.skipif(not openvino.is_available(), reason="OpenVINO is not installed")
IMAGE = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
FAST_VALUES = 127.5 * FAST_DIFFERENCE
"""Largest difference of a pixel that `fast` allows."""
BODY = {"inputs": {"image": IMAGE.tolist()}}


@pytest.fixture
def measuring(start_server: StartServer, settings: Settings) -> httpx.Client:
    return start_server(settings.model_copy(update={"measure_serving": True}))


def served(api: httpx.Client, id: str) -> ServingReport | None:
    serving = api.get(f"/v1/models/{id}").json()["serving"]
    return None if serving is None else ServingReport.model_validate(serving)


def loaded(api: httpx.Client) -> int:
    found = re.search(r"^faceter_sessions (\d+)", api.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def logits(api: httpx.Client, id: str, **query: str) -> np.ndarray[Any, Any]:
    answer = api.post(f"/v1/models/{id}/predict", json=BODY, params={"raw": "true", **query})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["outputs"]["logits"])


def test_a_model_is_measured_after_its_first_request_and_answers_stay_the_same(measuring: httpx.Client) -> None:
    id = add_model(measuring)["id"]
    assert served(measuring, id) is None
    first = logits(measuring, id)
    eventually(lambda: served(measuring, id))
    report = served(measuring, id)
    assert report is not None
    assert report.engines[0].engine == "onnxruntime"
    assert report.engines[0].milliseconds
    assert "cores" in report.host
    for _ in range(5):
        assert np.abs(logits(measuring, id) - first).max() <= 1e-4 * max(1, np.abs(first).max())


def test_loading_measures_and_another_process_of_the_host_uses_that(
    measuring: httpx.Client, start_server: StartServer, settings: Settings
) -> None:
    id = add_model(measuring)["id"]
    answer = measuring.post(f"/v1/models/{id}/load")
    assert answer.status_code == 200, answer.text
    report = ServingReport.model_validate(answer.json()["serving"])
    assert served(measuring, id) == report
    other = start_server(settings.model_copy(update={"measure_serving": False}))
    assert served(other, id) == report
    again = ServingReport.model_validate(measuring.post(f"/v1/models/{id}/load").json()["serving"])
    assert again.measured_at > report.measured_at
    assert served(measuring, id) == again


def test_a_model_that_was_loaded_is_loaded_in_every_process_until_it_is_unloaded(
    start_server: StartServer, settings: Settings
) -> None:
    first = start_server(settings)
    id = add_model(first)["id"]
    assert first.post(f"/v1/models/{id}/load").status_code == 200
    assert loaded(first) == 1
    second = start_server(settings)
    eventually(lambda: loaded(second) == 1)
    assert first.post(f"/v1/models/{id}/unload").status_code == 200
    assert loaded(first) == 0
    eventually(lambda: loaded(second) == 0)
    assert logits(second, id).shape == (1, 3)


def test_a_deleted_model_is_no_longer_kept(start_server: StartServer, settings: Settings) -> None:
    api = start_server(settings)
    id = add_model(api)["id"]
    api.post(f"/v1/models/{id}/load")
    assert api.delete(f"/v1/models/{id}").status_code == 204
    assert loaded(api) == 0
    for action in ("load", "unload"):
        problem(api.post(f"/v1/models/{id}/{action}"), ProblemKind.NOT_FOUND)


@needs_openvino
def test_a_request_may_name_its_engine(api: httpx.Client) -> None:
    id = add_model(api)["id"]
    reference, other = (logits(api, id, engine=engine) for engine in ("onnxruntime", "openvino"))
    assert np.abs(reference - other).max() <= 1e-4
    answer = api.post(f"/v1/models/{id}/predict", json=BODY, params={"engine": "tensorrt"})
    assert problem(answer, ProblemKind.INVALID_REQUEST).errors[0].field == "engine"


@needs_openvino
def test_an_engine_that_cannot_load_a_model_is_a_clear_error_if_it_was_asked_for(api: httpx.Client) -> None:
    id = add_model(api, graphs.endless(), metadata=None)["id"]
    answer = api.post(f"/v1/models/{id}/predict", json={"inputs": {"times": 1}}, params={"engine": "openvino"})
    problem(answer, ProblemKind.MODEL_NOT_RUNNABLE)
    assert api.post(f"/v1/models/{id}/predict", json={"inputs": {"times": 1}}).status_code == 200


@needs_openvino
@pytest.mark.parametrize("tile", [None, 32])
def test_a_translator_is_served_by_the_engines_of_its_generators(measuring: httpx.Client, tile: int | None) -> None:
    metadata = {**GENERATOR_METADATA, "serving": {"precision": "fast"}}
    id = add_model(measuring, generators.resnet(), metadata=metadata)["id"]
    address = f"/v1/translators/{measuring.post('/v1/translators', json={'a2b_id': id}).json()['id']}/translate"

    def translated(**query: str) -> np.ndarray[Any, Any]:
        options = query if tile is None else {**query, "tile": str(tile)}
        answer = measuring.post(address, params=options, files={"file": ("p.png", image(1, (72, 64)))})
        assert answer.status_code == 200, answer.text
        return pixels(answer.content).astype(float)

    reference = translated(engine="onnxruntime")
    assert reference.std() > 10
    assert np.abs(translated(engine="openvino") - reference).max() <= FAST_VALUES
    np.testing.assert_array_equal(translated(), reference)
    eventually(lambda: served(measuring, id))
    assert np.abs(translated() - reference).max() <= FAST_VALUES
    report = served(measuring, id)
    assert report is not None
    candidates = {(item.engine, item.precision): item for item in report.engines}
    fast = candidates["openvino", ServingPrecision.FAST]
    assert fast.excluded is None
    assert fast.difference is not None
    assert fast.difference <= FAST_DIFFERENCE
    answer = measuring.post(address, params={"engine": "tensorrt"}, files={"file": ("p.png", image())})
    assert problem(answer, ProblemKind.INVALID_REQUEST).errors[0].field == "engine"


def test_requests_at_once_run_as_batches_where_the_metadata_say_so(api: httpx.Client) -> None:
    serving = {"max_batch_size": 8, "batch_delay_ms": 200, "instances": 1}
    model = add_model(api, metadata={**METADATA, "serving": serving})
    assert model["metadata"]["serving"] == {**serving, "precision": "exact"}
    expected = logits(api, add_model(api)["id"])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: logits(api, model["id"]), range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    text = api.get("/metrics").text
    samples, runs = (
        float(re.findall(rf"^faceter_batch_samples_{part} (\S+)", text, re.MULTILINE)[0]) for part in ("sum", "count")
    )
    assert samples == 8, text
    assert runs < 8


@pytest.mark.parametrize(
    ("serving", "field", "words"),
    [
        ({"max_batch_size": 0}, "metadata.serving.max_batch_size", "greater"),
        ({"precision": "half"}, "metadata.serving.precision", "exact"),
        ({"batch_delay_ms": -1}, "metadata.serving.batch_delay_ms", "greater"),
        ({"instances": 1000}, "metadata.serving.instances", "64"),
        ({"workers": 2}, "metadata.serving.workers", "no field"),
    ],
)
def test_settings_that_cannot_be_are_refused(api: httpx.Client, serving: Any, field: str, words: str) -> None:
    answer = post_model(api, graphs.classifier(), metadata={**METADATA, "serving": serving})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert words in error["message"]


def test_batches_of_a_model_with_a_fixed_batch_are_refused(api: httpx.Client) -> None:
    answer = post_model(api, graphs.endless(), metadata={"serving": {"max_batch_size": 4}})
    assert problem(answer, ProblemKind.METADATA_MISMATCH).errors[0].field == "metadata.serving.max_batch_size"
    assert json.loads(answer.text)["detail"].endswith("or leave out `serving.max_batch_size`.")
