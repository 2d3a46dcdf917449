import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from app.services import maintenance
from faceter.contracts import references
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.job_logs import JobLogLine
from faceter.contracts.jobs import JobResult, Progress, Training
from faceter.contracts.references import ResourceName
from faceter.contracts.settings import Settings
from faceter.store import job_logs, job_steps
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
    """Return the server-sent events of a response, without comments."""
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


def test_links_resolve(api: httpx.Client, job: dict[str, Any]) -> None:
    assert api.get(job["links"]["self"]).json() == job
    assert api.get(job["links"]["model"]).status_code == 200


def test_filters(api: httpx.Client, job: dict[str, Any]) -> None:
    other = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    api.post(f"/v1/jobs/{other['id']}/cancel")

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
    canceled = api.post(job["actions"]["cancel"])
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "canceled"
    assert api.get(job["links"]["self"]).json() == canceled.json()
    problem(api.post(job["actions"]["cancel"]), ProblemKind.JOB_ENDED)


def test_a_queued_job_asked_to_finish_is_canceled(api: httpx.Client, job: dict[str, Any]) -> None:
    address = job["links"]["self"]
    canceled = api.post(job["actions"]["finish"])
    assert canceled.status_code == 200
    assert canceled.json()["status"] == "canceled"
    assert api.get(address).json() == canceled.json()
    problem(api.post(job["actions"]["finish"]), ProblemKind.JOB_ENDED)


def test_a_running_job_is_asked_to_finish(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    execution = claimed(redis, job["id"])
    address = job["links"]["self"]
    for _ in range(2):
        asked = api.post(job["actions"]["finish"])
        assert asked.status_code == 202
        assert (asked.json()["status"], asked.json()["ending"]) == ("running", True)
        assert api.get(address).json() == asked.json()
    result = JobResult(resource=ResourceName.MODELS, id="mdl_made", by_products=[references.dataset("dts_made")])
    job_steps.succeed(redis, execution, result)
    done = api.get(address).json()
    assert (done["status"], done["result"]["by_products"][0]["id"]) == ("succeeded", "dts_made")
    assert done["links"]["result"] == "/v1/models/mdl_made"
    assert done["links"]["made_datasets"] == "/v1/datasets/dts_made"


def test_the_error_of_a_failed_job_names_the_job(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    error = FaceterError(ProblemKind.OUT_OF_MEMORY, "There was not enough memory.")
    job_steps.fail(redis, claimed(redis, job["id"]), error.problem())
    address = f"/v1/jobs/{job['id']}"
    assert api.get(address).json()["error"]["instance"] == address
    with api.stream("GET", f"{address}/events") as events:
        last = [line for line in events.iter_lines() if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["instance"] == address


def test_actions_depend_on_the_state(api: httpx.Client, job: dict[str, Any]) -> None:
    assert list(job["actions"]) == ["cancel", "finish"]
    assert list(api.post(job["actions"]["cancel"]).json()["actions"]) == ["rerun"]


def test_lists_give_summaries(api: httpx.Client, job: dict[str, Any]) -> None:
    (item,) = api.get("/v1/jobs").json()["items"]
    assert item["links"] == {"self": job["links"]["self"]}
    assert {name: job[name] for name in item if name != "links"} == {n: v for n, v in item.items() if n != "links"}
    assert "specification" not in item


def test_the_checkpoint_of_a_canceled_job_is_deleted_without_a_worker(
    start_server: Callable[[Settings], httpx.Client],
    settings: Settings,
    redis: Redis,
    library: Library,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "_REAP_SECONDS", 0.05)
    api = start_server(settings)
    job = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json={}).json()
    sha256 = save(library, claimed(redis, job["id"]), b"step 1")
    time.sleep(0.2)
    assert library.blobs.exists(sha256)
    api.post(f"{job['links']['self']}/cancel")
    eventually(lambda: not library.blobs.exists(sha256))


def test_losses_come_with_the_events(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    execution = claimed(redis, job["id"])
    training = Training(phase="tuning", step=40, losses={"kl": 0.5}, agreement=0.9, accuracy=0.8)
    payload = Progress(step="tuning", fraction=0.4, eta_seconds=12.5, training=training, updated_at=utc_now())
    job_steps.record_progress(redis, execution, payload)
    assert api.get(job["links"]["self"]).json()["progress"]["training"] == training.model_dump(mode="json")
    api.post(f"{job['links']['self']}/cancel")
    with api.stream("GET", job["links"]["events"]) as response:
        (reported,) = [json.loads(event["data"]) for event in events(response) if event["event"] == "progress"]
    assert Progress.model_validate(reported) == payload


def test_rerun_of_a_job_with_a_target(api: httpx.Client) -> None:
    request = {"target": {"max_bytes": 1000}, "max_steps": 10}
    job = api.post(f"/v1/models/{add_model(api)['id']}/quantizations", json=request).json()
    api.post(f"{job['links']['self']}/cancel")
    response = api.post(f"{job['links']['self']}/rerun")
    assert response.status_code == 202, response.text
    assert response.json()["specification"] == job["specification"]


def test_rerun(api: httpx.Client, job: dict[str, Any]) -> None:
    problem(api.post(f"{job['links']['self']}/rerun"), ProblemKind.JOB_NOT_ENDED)
    api.post(f"{job['links']['self']}/cancel")
    response = api.post(f"{job['links']['self']}/rerun")
    again = response.json()
    assert response.status_code == 202
    assert again["id"] != job["id"]
    assert again["specification"] == job["specification"]
    assert response.headers["location"] == again["links"]["self"]


def test_rerun_without_the_model(api: httpx.Client, job: dict[str, Any]) -> None:
    api.post(f"{job['links']['self']}/cancel")
    api.delete(job["links"]["model"])
    assert (
        job["specification"]["model_id"]
        in problem(api.post(f"{job['links']['self']}/rerun"), ProblemKind.NOT_FOUND).detail
    )


def test_events_to_the_end(api: httpx.Client, job: dict[str, Any]) -> None:
    with api.stream("GET", job["links"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        first = next(stream)
        assert (first["event"], json.loads(first["data"])["status"]) == ("status", "queued")
        canceled = api.post(f"{job['links']['self']}/cancel").json()
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
    problem(api.post("/v1/jobs/job_unknown/finish"), ProblemKind.NOT_FOUND)
    problem(api.post("/v1/jobs/job_unknown/cancel"), ProblemKind.NOT_FOUND)
    problem(api.post("/v1/jobs/job_unknown/rerun"), ProblemKind.NOT_FOUND)


def test_an_invalid_event_id(api: httpx.Client, job: dict[str, Any]) -> None:
    response = api.get(job["links"]["events"], headers={"Last-Event-ID": "yesterday"})
    problem(response, ProblemKind.INVALID_REQUEST)


def test_the_log_has_the_last_lines(api: httpx.Client, redis: Redis, job: dict[str, Any]) -> None:
    assert api.get(job["links"]["log"]).json() == {"items": [], "complete": True}
    for message in ("started", "tuning"):
        line = JobLogLine(at=utc_now(), level="info", attempt=1, message=message)
        job_logs.append(redis, job["id"], line, 60)
    log = api.get(f"/v1/jobs/{job['id']}/log?last=1").json()
    assert ([line["message"] for line in log["items"]], log["complete"]) == (["tuning"], False)
    assert problem(api.get(f"/v1/jobs/{job['id']}/log?last=0"), ProblemKind.INVALID_REQUEST)
    assert problem(api.get("/v1/jobs/job_00000000000000000000/log"), ProblemKind.NOT_FOUND)
