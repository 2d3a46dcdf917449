import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from faceter.contracts.errors import ProblemKind
from faceter.contracts.queue_names import QueueName
from faceter.contracts.settings import Settings
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model, image, post_model, stored_blobs
from tests.conftest import start_valkey, use_up
from tests.workers.processes import eventually

StartServer = Callable[[Settings], httpx.Client]


def metrics(api: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample of `/metrics` by name and labels."""
    response = api.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(api: httpx.Client, name: str, **labels: str) -> float:
    return metrics(api)[name, frozenset(labels.items())]


def test_healthz(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}


def test_readyz_reports_missing_workers(api: httpx.Client) -> None:
    response = api.get("/readyz")
    state = response.json()
    assert response.status_code == 503
    assert (state["ready"], state["redis"]["ready"], state["blobs"]["ready"]) == (False, True, True)
    assert "faceter worker" in state["workers"]["detail"]


def test_readyz_reports_an_unwritable_blob_store(start_server: StartServer, settings: Settings, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder belongs")
    api = start_server(settings.model_copy(update={"blob_url": str(blocked)}))
    state = api.get("/readyz").json()
    assert (state["redis"]["ready"], state["blobs"]["ready"]) == (True, False)
    assert str(blocked) not in state["blobs"]["detail"]


def test_requests_are_counted_by_the_routes_template(start_server: StartServer, settings: Settings) -> None:
    api = start_server(settings)
    for number in range(3):
        api.get(f"/v1/models/mdl_{number}")
    api.get("/nowhere/1")
    api.get("/nowhere/2")
    api.put("/v1/models")
    route = "/v1/models/{model_id}"
    assert value(api, "faceter_requests_total", method="GET", route=route, status="404") == 3
    assert value(api, "faceter_request_duration_seconds_count", method="GET", route=route) == 3
    assert value(api, "faceter_requests_total", method="GET", route="unmatched", status="404") == 2


def test_the_queue(api: httpx.Client) -> None:
    model = add_model(api)
    assert {name: value(api, "faceter_queue_depth", queue=name) for name in QueueName} == dict.fromkeys(QueueName, 0)
    jobs = [api.post(f"/v1/models/{model['id']}/quantizations", json={}).json() for _ in range(2)]
    assert value(api, "faceter_queue_depth", queue="gpu") == 2
    assert value(api, "faceter_queue_depth", queue="quick") == 0
    assert value(api, "faceter_queue_age_seconds", queue="gpu") > 0
    assert value(api, "faceter_queue_age_seconds", queue="quick") == 0
    api.post(jobs[0]["actions"]["cancel"])
    assert value(api, "faceter_queue_depth", queue="gpu") == 1
    labels = {"kind": "quantization", "status": "canceled"}
    assert value(api, "faceter_job_duration_seconds_count", **labels) == 1
    assert value(api, "faceter_job_duration_seconds_bucket", **labels, le="+Inf") == 1
    assert value(api, "faceter_workers") == 0
    assert value(api, "faceter_store_up") == 1


def test_storage(api: httpx.Client) -> None:
    assert value(api, "faceter_store_used_bytes") > 0
    assert 0 < value(api, "faceter_storage_free_bytes") <= value(api, "faceter_storage_total_bytes")


def test_the_session_cache(start_server: StartServer, settings: Settings) -> None:
    api = start_server(settings)
    address = f"/v1/models/{add_model(api)['id']}/predict"
    for _ in range(3):
        api.post(address, files={"file": ("a.png", image())})
    assert value(api, "faceter_sessions") == 1
    assert value(api, "faceter_sessions_bytes") > 0
    assert (value(api, "faceter_sessions_hits_total"), value(api, "faceter_sessions_misses_total")) == (2, 1)
    assert value(api, "faceter_inference_duration_seconds_count") == 3


def test_redis_down_and_up(start_server: StartServer, settings: Settings, short_path: Path) -> None:
    away = settings.model_copy(
        update={"redis_url": f"unix://{short_path / 'valkey.sock'}", "data_dir": short_path / "data"}
    )
    api = start_server(away)
    for response in (
        api.get("/v1/models"),
        api.get("/v1/jobs/job_x"),
        post_model(api),
        post_model(api, headers={"Idempotency-Key": "k"}),
        api.post("/v1/models/mdl_x/quantizations", json={}),
        api.get("/v1/jobs/job_x/events"),
    ):
        problem(response, ProblemKind.STORE_UNAVAILABLE)
        assert int(response.headers["retry-after"]) > 0
    assert api.get("/healthz").status_code == 200
    assert api.get("/readyz").json()["redis"]["ready"] is False
    assert value(api, "faceter_store_up") == 0
    assert not stored_blobs(short_path / "data" / "blobs")

    server = start_valkey(short_path)
    model = add_model(api)
    assert api.get("/readyz").json()["redis"]["ready"] is True
    server.stop()
    problem(api.get(f"/v1/models/{model['id']}"), ProblemKind.STORE_UNAVAILABLE)
    server = start_valkey(short_path)
    assert api.get(f"/v1/models/{model['id']}").json() == model
    server.stop()


def test_a_full_disk(start_server: StartServer, settings: Settings, small_disk: Path) -> None:
    api = start_server(settings.model_copy(update={"blob_url": str(small_disk / "blobs")}))
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    problem(post_model(api), ProblemKind.STORAGE_FULL)
    assert api.get("/v1/models").json()["items"] == []
    assert not stored_blobs(small_disk / "blobs")
    (small_disk / "ballast").unlink()
    assert post_model(api).status_code == 201


def test_a_store_that_cannot_write_to_its_disk(
    start_server: StartServer, settings: Settings, short_path: Path, small_disk: Path
) -> None:
    server = start_valkey(small_disk, short_path / "valkey.sock")
    api = start_server(settings.model_copy(update={"redis_url": f"unix://{short_path / 'valkey.sock'}"}))
    model = add_model(api)
    job = api.post(f"/v1/models/{model['id']}/quantizations", json={}).json()
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    use_up(f"unix://{server.unix_socket_path}")
    for response in (
        post_model(api),
        api.post(f"/v1/models/{model['id']}/quantizations", json={}),
        api.post(f"/v1/jobs/{job['id']}/cancel"),
        api.delete(f"/v1/models/{model['id']}"),
    ):
        assert "disk" in problem(response, ProblemKind.STORAGE_FULL).detail
    assert api.get("/v1/models").json()["items"][0]["id"] == model["id"]
    assert api.get("/readyz").json()["redis"]["ready"] is False

    (small_disk / "ballast").unlink()
    eventually(lambda: api.get("/readyz").json()["redis"]["ready"])
    assert api.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    server.stop()


def test_unknown_methods_share_one_time_series(start_server: StartServer, settings: Settings) -> None:
    api = start_server(settings)
    for method in ("PURGE", "LOCK", "MKCOL"):
        api.request(method, "/v1/models")
    series = [line for line in api.get("/metrics").text.splitlines() if line.startswith("faceter_requests_total")]
    assert [line.split("{")[1] for line in series] == ['method="other",route="/v1/models",status="405"} 3.0']


def test_a_missing_stored_file(api: httpx.Client, settings: Settings) -> None:
    model = add_model(api)
    (file,) = stored_blobs(settings.data_dir / "blobs")
    file.unlink()
    for response in (
        api.get(f"/v1/models/{model['id']}/content"),
        api.get(f"/v1/models/{model['id']}/graph"),
        api.post(f"/v1/models/{model['id']}/predict", files={"file": ("a.png", image())}),
    ):
        problem(response, ProblemKind.BLOB_MISSING)


@pytest.mark.parametrize("address", ["/healthz", "/metrics", "/docs", "/openapi.json"])
def test_routes_without_the_store_respond(api: httpx.Client, address: str) -> None:
    assert api.get(address).status_code == 200
