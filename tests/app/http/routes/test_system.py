"""`/v1/system`: versions, workers, queue and storage."""

from importlib.metadata import version
from pathlib import Path

import httpx

from faceter.contracts.settings import Settings
from tests.app.uploads import add_model
from tests.workers.processes import WorkerProcess, eventually


def test_versions_queue_and_storage(api: httpx.Client, settings: Settings) -> None:
    before = api.get("/v1/system").json()
    assert before["workers"] == []
    assert before["api"]["versions"]["onnxruntime"] == version("onnxruntime")
    assert before["api"]["versions"]["faceter"] == version("faceter")
    assert before["queue"] == {
        "waiting": 0,
        "running": 0,
        "oldest_waiting_seconds": 0.0,
        "waiting_by_queue": {"quick": 0, "cpu": 0, "gpu": 0},
        "limit": settings.max_queued_jobs,
    }
    model = add_model(api)
    after = api.get("/v1/system").json()["storage"]
    assert after["records"]["models"] == before["storage"]["records"]["models"] + 1
    assert 0 < after["free_bytes"] < after["total_bytes"]
    assert after["redis_bytes"] > 0
    api.post(f"/v1/models/{model['id']}/quantizations", json={"method": "rq"}).raise_for_status()
    assert api.get("/v1/system").json()["queue"]["waiting"] == 1


def test_a_worker_tells_its_device_and_its_job(api: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    model = add_model(api)
    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:
        (found,) = eventually(lambda: api.get("/v1/system").json()["workers"], 60)
        assert found["process"] == worker.process.pid
        assert found["device"].partition(":")[0] in ("cpu", "cuda")
        assert found["versions"]["torch"] == version("torch")
        assert found["job_id"] is None
        body = {"method": "auto", "max_minutes": 5}
        job = api.post(f"/v1/models/{model['id']}/quantizations", json=body).raise_for_status().json()
        assert eventually(lambda: api.get("/v1/system").json()["workers"][0]["job_id"], 60) == job["id"]
        api.post(f"/v1/jobs/{job['id']}/cancel").raise_for_status()
        eventually(lambda: api.get("/v1/system").json()["workers"][0]["job_id"] is None, 60)
    eventually(lambda: api.get("/v1/system").json()["workers"] == [], 60)
