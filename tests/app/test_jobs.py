import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from tests.app.test_problems import problem
from tests.app.uploads import add_model


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
    problem(api.delete("/v1/jobs/job_unknown"), ProblemKind.NOT_FOUND)
    problem(api.post("/v1/jobs/job_unknown/rerun"), ProblemKind.NOT_FOUND)


def test_an_event_id_nobody_gave_out(api: httpx.Client, job: dict[str, Any]) -> None:
    response = api.get(job["links"]["events"], headers={"Last-Event-ID": "yesterday"})
    problem(response, ProblemKind.INVALID_REQUEST)
