import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from app.services import container
from faceter.contracts.base import utc_now
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import JobResult, Progress, Training
from faceter.contracts.settings import Settings
from faceter.store import job_steps
from faceter.store.library import Library
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model
from tests.store.jobs.test_checkpoints import save
from tests.store.jobs.worker_side import claimed
from tests.workers.processes import eventually


@pytest.fixture
def job(api: httpx.Client) -> dict[str, Any]:
    queued: dict[str, Any] = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    return queued


def events(response: httpx.Response) -> Iterator[dict[str, str]]:
    """Return the server-sent events of a response, comments left out."""
    event: dict[str, str] = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def test_links_lead_somewhere(api: httpx.Client, job: dict[str, Any]) -> None:
    assert api.get(job["links"]["self"]).json() == job
    assert api.get(job["links"]["model"]).status_code == 200


def test_filters(api: httpx.Client, job: dict[str, Any]) -> None:
    other = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    api.delete(f"/v1/jobs/{other['id']}")

    def ids(query: str) -> list[str]:
        return [item["id"] for item in api.get(f"/v1/jobs?{query}").json()["items"]]

    assert ids("") == [other["id"], job["id"]]
    assert ids("status=queued") == [job["id"]]
    assert ids("status=canceled") == [other["id"]]
    assert ids(f"model_id={job['specification']['model_id']}") == [job["id"]]
    assert ids("kind=quantization&limit=1") == [other["id"]]
    problem(api.get("/v1/jobs?status=bored"), ProblemKind.INVALID_REQUEST)
    problem(api.get("/v1/jobs?kind=dance"), ProblemKind.INVALID_REQUEST)


def test_cancel(api: httpx.Client, job: dict[str, Any]) -> None:
    address = job["links"]["self"]
    canceled = api.delete(address)
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "canceled"
    assert api.get(address).json() == canceled.json()
    problem(api.delete(address), ProblemKind.JOB_ENDED)


def test_a_queued_job_has_nothing_to_keep(api: httpx.Client, job: dict[str, Any]) -> None:
    address = job["links"]["self"]
    canceled = api.delete(f"{address}?keep=best")
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "canceled"
    assert api.get(address).json() == canceled.json()
    problem(api.delete(f"{address}?keep=best"), ProblemKind.JOB_ENDED)


def test_a_running_job_is_asked_to_keep_the_best(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    execution = claimed(redis, job["id"])
    address = job["links"]["self"]
    for _ in range(2):
        asked = api.delete(f"{address}?keep=best")
        assert asked.status_code == 202
        assert (asked.json()["status"], asked.json()["ending"]) == ("running", True)
        assert api.get(address).json() == asked.json()
    result = JobResult(model_id="mdl_made", dataset_id="dts_made", url="/v1/models/mdl_made")
    job_steps.succeed(redis, execution, result)
    done = api.get(address).json()
    assert (done["status"], done["result"]["dataset_id"]) == ("succeeded", "dts_made")
    assert done["links"]["dataset"] == "/v1/datasets/dts_made"


@pytest.mark.parametrize("keep", ["all", "", "BEST"])
def test_only_the_best_can_be_kept(api: httpx.Client, job: dict[str, Any], keep: str) -> None:
    document = problem(api.delete(f"{job['links']['self']}?keep={keep}"), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == ["keep"]
    assert api.get(job["links"]["self"]).json() == job


def test_the_checkpoint_of_a_canceled_job_goes_though_there_is_no_worker(
    start_server: Callable[[Settings], httpx.Client],
    settings: Settings,
    redis: Redis,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container, "_REAP_SECONDS", 0.05)
    api = start_server(settings)
    job = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    sha256 = save(library, claimed(redis, job["id"]), b"step 1")
    time.sleep(0.2)
    assert library.blobs.exists(sha256)
    api.delete(job["links"]["self"])
    eventually(lambda: not library.blobs.exists(sha256))


def test_losses_come_with_the_events(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    execution = claimed(redis, job["id"])
    training = Training(phase="tuning", step=40, losses={"kl": 0.5}, agreement=0.9, accuracy=0.8)
    said = Progress(step="tuning", fraction=0.4, eta_seconds=12.5, training=training, updated_at=utc_now())
    job_steps.record_progress(redis, execution, said)
    assert api.get(job["links"]["self"]).json()["progress"]["training"] == training.model_dump(mode="json")
    api.delete(job["links"]["self"])
    with api.stream("GET", job["links"]["events"]) as response:
        (told,) = [json.loads(event["data"]) for event in events(response) if event["event"] == "progress"]
    assert Progress.model_validate(told) == said


def test_rerun_of_a_job_with_a_target(api: httpx.Client) -> None:
    request = {"target": {"max_bytes": 1000}, "max_steps": 10}
    job = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json=request).json()
    api.delete(job["links"]["self"])
    response = api.post(job["links"]["rerun"])
    assert response.status_code == 202, response.text
    assert response.json()["specification"] == job["specification"]


def test_rerun(api: httpx.Client, job: dict[str, Any]) -> None:
    problem(api.post(job["links"]["rerun"]), ProblemKind.JOB_NOT_ENDED)
    api.delete(job["links"]["self"])
    response = api.post(job["links"]["rerun"])
    again = response.json()
    assert response.status_code == 202
    assert again["id"] != job["id"]
    assert again["specification"] == job["specification"]
    assert response.headers["location"] == again["links"]["self"]


def test_rerun_of_what_has_no_model_any_more(api: httpx.Client, job: dict[str, Any]) -> None:
    api.delete(job["links"]["self"])
    api.delete(job["links"]["model"])
    assert job["specification"]["model_id"] in problem(api.post(job["links"]["rerun"]), ProblemKind.NOT_FOUND).detail


def test_events_to_the_end(api: httpx.Client, job: dict[str, Any]) -> None:
    with api.stream("GET", job["links"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        first = next(stream)
        assert (first["event"], json.loads(first["data"])["status"]) == ("status", "queued")
        canceled = api.delete(job["links"]["self"]).json()
        rest = list(stream)
    assert rest[-1]["event"] == "end"
    assert json.loads(rest[-1]["data"]) == canceled
    with api.stream("GET", job["links"]["events"], headers={"Last-Event-ID": first["id"]}) as response:
        assert list(events(response)) == rest
    with api.stream("GET", job["links"]["events"]) as response:
        assert list(events(response)) == [first, *rest]


@pytest.mark.parametrize("path", ["", "/events"])
def test_unknown_jobs(api: httpx.Client, path: str) -> None:
    problem(api.get(f"/v1/jobs/job_unknown{path}"), ProblemKind.NOT_FOUND)


def test_unknown_jobs_are_neither_canceled_nor_rerun(api: httpx.Client) -> None:
    problem(api.delete("/v1/jobs/job_unknown?keep=best"), ProblemKind.NOT_FOUND)
    problem(api.delete("/v1/jobs/job_unknown"), ProblemKind.NOT_FOUND)
    problem(api.post("/v1/jobs/job_unknown/rerun"), ProblemKind.NOT_FOUND)


def test_an_event_id_nobody_gave_out(api: httpx.Client, job: dict[str, Any]) -> None:
    response = api.get(job["links"]["events"], headers={"Last-Event-ID": "yesterday"})
    problem(response, ProblemKind.INVALID_REQUEST)
