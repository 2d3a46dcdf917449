"""The API as a separate process, with a real worker and a real Valkey server."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from app.services.maintenance import _REAP_SECONDS
from faceter.contracts.settings import LogFormat, Settings
from faceter.datasets.signals import signals_file
from faceter.graphs.quantized_operators import is_quantized
from tests.app.http.routes.test_quantizations import signal_classifier
from tests.app.uploads import LABELS, add_dataset, add_model, image, images
from tests.workers.explanation import scenes
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import ROOT, WorkerProcess, eventually

pytestmark = pytest.mark.end_to_end

_CODE = """
import sys
from app.main import run_api
from faceter.contracts.settings import Settings
run_api(Settings.model_validate_json(sys.argv[1]))
"""


class ApiProcess:
    """One API process and a client of it."""

    def __init__(self, settings: Settings, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = settings.model_copy(update={"port": port, "log_format": LogFormat.JSON})
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, settings.model_dump_json()],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        eventually(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.ConnectError:
            return False

    def close(self) -> None:
        """Kill the process if it still runs."""
        self.client.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def process(settings: Settings, tmp_path: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(settings, tmp_path / "api.log")
    yield process
    process.close()


@pytest.fixture
def api(process: ApiProcess) -> httpx.Client:
    return process.client


def test_from_an_upload_to_a_served_quantized_model(api: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    model, dataset = add_model(api), add_dataset(api, images(LABELS, each=4))
    address = f"/v1/models/{model['id']}"
    request = {"method": "aciq", "weight_bits": 4, "activation_bits": 8, "evaluation_dataset_id": dataset["id"]}
    job = api.post(f"{address}/quantizations", json=request).json()
    assert job["status"] == "queued"

    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:
        events = _events(api, job["links"]["events"])
        assert api.get("/readyz").status_code == 200
        assert [name for name, _ in events][-1] == "end"
        ended = events[-1][1]
        assert ended["status"] == "succeeded", (ended, worker.log_text())
    assert ended == api.get(job["links"]["self"]).json()
    fractions = [data["fraction"] for name, data in events if name == "progress"]
    assert fractions == sorted(fractions)

    small = api.get(ended["links"]["result"]).json()
    assert small["id"] == ended["result"]["id"]
    assert small["derived_from_id"] == model["id"]
    assert small["quantization"]["settings"]["weight_bits"] == 4
    assert ended["provenance"]["inputs"]["model"] == model["sha256"]
    (listed,) = api.get("/v1/models?quantized=true").json()["items"]
    assert (listed["id"], listed["quantization"]["method"]) == (small["id"], "aciq")

    content = api.get(small["links"]["content"]).content
    assert is_quantized(onnx.load_model_from_string(content))
    answers = [
        api.post(link, files={"file": ("a.png", image(3))}).json()["predictions"][0]
        for link in (model["actions"]["predict"], small["actions"]["predict"])
    ]
    assert {item["label"] for item in answers[1]["top"]} == set(LABELS)
    assert answers[1]["score"] == pytest.approx(answers[0]["score"], abs=0.2)

    again = api.post(f"{small['links']['self']}/quantizations", json={})
    assert again.json()["type"] == "/problems/already-quantized"
    assert api.delete(address).status_code == 204
    assert api.get(small["links"]["self"]).json()["derived_from_id"] == model["id"]
    assert api.post(small["actions"]["predict"], files={"file": ("a.png", image())}).status_code == 200
    jobs = api.get("/metrics").text
    assert 'faceter_job_duration_seconds_count{kind="quantization",status="succeeded"} 1.0' in jobs


def test_signals_too(api: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    signals, classes = np.random.default_rng(0).normal(size=(40, 1, 64)), ["calm", "lively"]
    metadata = {"task": "signal_classification", "labels": classes}
    model = add_model(api, signal_classifier(64), metadata=metadata)
    dataset = add_dataset(api, signals_file(signals, np.arange(40) % 2, classes), "signals")["id"]
    request = {"method": "rq", "calibration_dataset_id": dataset, "evaluation_dataset_id": dataset}
    job = api.post(f"/v1/models/{model['id']}/quantizations", json=request).json()
    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:
        ended = _events(api, job["links"]["events"])[-1][1]
        assert ended["status"] == "succeeded", (ended, worker.log_text())

    small = api.get(ended["links"]["result"]).json()
    (quality,) = small["quantization"]["quality"]
    assert (quality["metric"], quality["samples"]) == ("top1", 40)
    answers = [
        api.post(link, json={"inputs": {"signal": signals.tolist()}}).json()["predictions"]
        for link in (model["actions"]["predict"], small["actions"]["predict"])
    ]
    right = [
        sum(answer["label"] == classes[row % 2] for row, answer in enumerate(answered)) / 40 for answered in answers
    ]
    assert right == pytest.approx([quality["before"], quality["after"]])


def test_units_are_explained(api: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    metadata = scenes.color_metadata().model_dump(mode="json")
    model = add_model(api, scenes.color_network().SerializeToString(), metadata=metadata)
    dataset = add_dataset(api, scenes.scenes(12), "concepts")["id"]
    request = {"dataset_id": dataset, "layer": "colors", "threshold": 0.2, "derived_concepts": ["color"]}
    job = api.post(model["actions"]["explain"], json=request).json()
    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:
        ended = _events(api, job["links"]["events"])[-1][1]
        assert ended["status"] == "succeeded", (ended, worker.log_text())
    explanation = api.get(ended["links"]["result"]).json()
    assert explanation["id"] == ended["result"]["id"]
    assert api.get(explanation["links"]["layers.png"]).headers["content-type"] == "image/png"
    best, *_ = api.get(explanation["links"]["units"], params={"sort": "-score"}).json()["items"]
    assert best["score"] > 0.5
    unit = api.get(f"{explanation['links']['units']}/{best['unit']}").json()
    assert api.get(unit["links"]["image"]).content.startswith(b"\x89PNG")
    found = api.get(model["links"]["units"], params={"concept": best["concept"]}).json()["items"]
    assert best["unit"] in [item["unit"] for item in found]


def test_an_explanation_is_analysed(api: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    metadata = scenes.color_metadata().model_dump(mode="json")
    model = add_model(api, scenes.color_network().SerializeToString(), metadata=metadata)
    dataset = add_dataset(api, scenes.scenes(12), "concepts")["id"]
    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:

        def done(address: str, request: dict[str, Any]) -> dict[str, Any]:
            job = api.post(address, json=request).json()
            ended = _events(api, job["links"]["events"])[-1][1]
            assert ended["status"] == "succeeded", (ended, worker.log_text())
            made: dict[str, Any] = api.get(ended["links"]["result"]).json()
            return made

        small = done(model["actions"]["quantize"], {"method": "aciq", "weight_bits": 8, "activation_bits": 8})
        explanation = done(model["actions"]["explain"], {"dataset_id": dataset, "layer": "colors", "threshold": 0.2})
        analyses = explanation["actions"]["analyse"]
        taxonomy = {"of the street": ["car", "tree"]}
        kinds = done(analyses, {"kind": "abstractions", "taxonomy": taxonomy})
        drift = done(analyses, {"kind": "drift", "model_ids": [model["id"], small["id"]]})

    formulas = {unit["unit"]: unit["formula"] for unit in kinds["result"]["units"]}
    units = api.get(explanation["links"]["units"]).json()["items"]
    assert formulas == {unit["unit"]: unit["formula"] for unit in units if unit["formula"] is not None}
    assert (kinds["result"]["by"], sum(kinds["result"]["shares"].values())) == ("taxonomy", pytest.approx(1))
    assert kinds["settings"]["taxonomy"] == taxonomy
    itself, quantized = drift["result"]["models"]
    assert (itself["mean_iou"], itself["same_formula"], itself["score_change"]) == (1, 1, 0)
    assert (quantized["model_id"], quantized["bits"]) == (small["id"], "W8A8")
    assert 0.8 < quantized["mean_iou"] <= 1
    assert [item["id"] for item in api.get(analyses).json()["items"]] == [drift["id"], kinds["id"]]
    assert api.get(drift["links"]["content"]).json() == drift["result"]
    assert drift["provenance"]["inputs"]["model_1"] == model["sha256"]


def _events(api: httpx.Client, address: str) -> list[tuple[str, dict[str, Any]]]:
    events, name = [], ""
    with api.stream("GET", address, timeout=120) as response:
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                events.append((name, json.loads(value)))
    return events


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_api_stops_on_sigterm_while_events_are_followed(process: ApiProcess, how: signal.Signals) -> None:
    api = process.client
    job = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    following = threading.Event()

    def follow() -> None:
        with (
            suppress(httpx.RemoteProtocolError),
            httpx.Client(base_url=api.base_url, timeout=60) as client,
            client.stream("GET", job["links"]["events"]) as response,
        ):
            following.set()
            for _ in response.iter_lines():
                pass

    thread = threading.Thread(target=follow)
    thread.start()
    assert following.wait(20)
    process.process.send_signal(how)
    assert process.process.wait(timeout=30) in (0, -how)
    thread.join()
    log_text = process.log.read_text()
    assert "Traceback" not in log_text
    assert "request failed" not in log_text


def test_the_job_of_a_killed_worker_ends_without_other_workers(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"worker_lost_seconds": 5, "job_attempts": 1})
    job = JobQueue(redis, settings, TASKS).enqueue(job_spec("begins-and-sleeps", tmp_path / "begun"))
    process = ApiProcess(settings, tmp_path / "api.log")
    try:
        with WorkerProcess(settings, tmp_path / "worker.log"):
            eventually((tmp_path / "begun").exists)

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = process.client.get(f"/v1/jobs/{job.id}").json()
            return found if found["status"] != "running" else None

        found = eventually(ended, 40)
        assert found is not None
        assert (found["status"], found["error"]["type"]) == ("failed", "/problems/worker-lost")
    finally:
        process.close()


def test_by_default_a_killed_workers_job_is_requeued_within_a_minute() -> None:
    assert Settings(_env_file=None).worker_lost_seconds + _REAP_SECONDS < 60


def test_every_log_line_is_json_with_a_request_id(process: ApiProcess) -> None:
    process.client.get("/v1/models/mdl_x", headers={"X-Request-ID": "look-for-me"})
    process.process.send_signal(signal.SIGTERM)
    process.process.wait(timeout=30)
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "look-for-me"]
    assert (line["event"], line["method"], line["path"], line["status"]) == (
        "request",
        "GET",
        "/v1/models/mdl_x",
        404,
    )
    assert line["milliseconds"] > 0
