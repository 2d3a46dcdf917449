"""Every link of every response can be followed by GET, every action accepts POST."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.store.library import Library
from tests.app.analysis_fixtures import AnalysisFixtures
from tests.app.evaluation_records import add_evaluation, arrays_file, sample_arrays
from tests.app.translator_fixtures import TranslatorFixtures
from tests.app.uploads import add_dataset, add_model, images


@pytest.fixture
def addresses(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> list[str]:
    """Return the addresses of one record of every resource, and of a job of every kind."""
    translators = TranslatorFixtures(api, library, redis, queue)
    fixtures = AnalysisFixtures(api, library)
    model = add_model(api)["id"]
    job = api.post(f"/v1/models/{model}/quantizations", json={}).json()
    ended = api.post(f"/v1/models/{model}/quantizations", json={}).json()
    api.post(ended["actions"]["cancel"])
    explanation = fixtures.add_explanation("images")
    analysis = api.post(f"/v1/explanations/{explanation}/analyses", json={"kind": "abstractions"}).json()
    training = translators.train_cyclegan()
    dataset = add_dataset(api, images())["id"]
    evaluation = add_evaluation(
        library,
        content=arrays_file(sample_arrays()),
        settings={"reference_id": dataset, "generated_id": dataset},
    )
    return [
        f"/v1/models/{model}",
        f"/v1/datasets/{dataset}",
        f"/v1/explanations/{explanation}",
        f"/v1/explanations/{explanation}/units/0",
        f"/v1/evaluations/{evaluation.id}",
        f"/v1/translators/{translators.add_trained().id}",
        f"/v1/translators/{translators.add_uploaded()}",
        training["links"]["translator"],
        *(f"/v1/jobs/{item['id']}" for item in (job, ended, analysis, training)),
    ]


def links_of(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from body["links"].items()


# Links whose target may not exist yet: results of training, and images of datasets that tests do not store.
NOT_YET = {409, 404}


def test_no_link_answers_405(api: httpx.Client, addresses: list[str]) -> None:
    followed = 0
    for address in addresses:
        response = api.get(address)
        assert response.status_code == 200, response.text
        for name, link in links_of(response.json()):
            if name in ("events", "image"):  # one never ends; the other is drawn from masks that this record lacks
                continue
            answer = api.get(link)
            assert answer.status_code in {200} | NOT_YET, (address, name, link, answer.text)
            followed += 1
    assert followed > 40


def test_actions_take_post(api: httpx.Client, addresses: list[str]) -> None:
    taken = set()
    for address in addresses:
        for name, action in api.get(address).json().get("actions", {}).items():
            answer = api.post(action, json={"kind": "nothing"})
            assert answer.status_code != 405, (address, name, answer.text)
            assert answer.status_code != 404, (address, name, answer.text)
            taken.add(name)
    assert taken == {"predict", "quantize", "explain", "analyse", "translate", "cancel", "finish", "rerun"}


def test_summaries_of_every_list_link_to_their_records(api: httpx.Client, addresses: list[str]) -> None:
    for collection in ("models", "datasets", "evaluations", "explanations", "translators", "jobs"):
        items = api.get(f"/v1/{collection}?limit=1000").json()["items"]
        assert items, collection
        for item in items:
            assert item["links"] == {"self": f"/v1/{collection}/{item['id']}"}
            assert api.get(item["links"]["self"]).json()["id"] == item["id"]
