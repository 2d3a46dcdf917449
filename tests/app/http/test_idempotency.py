import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis import Redis
from starlette.responses import Response

from app.http.idempotency import Idempotency, fingerprint
from app.services.creation import creation_id
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, add_model, images, post_dataset, post_model
from tests.engines import graphs

KEY = {"Idempotency-Key": "k-1"}


def test_the_same_upload_twice_is_one_model(api: httpx.Client) -> None:
    first, second = post_model(api, headers=KEY), post_model(api, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(api.get("/v1/models").json()["items"]) == 1


def test_the_same_job_twice_is_one_job(api: httpx.Client) -> None:
    address = f"/v1/models/{add_model(api)['id']}/quantizations"
    first, second = (api.post(address, json={"method": "rq"}, headers=KEY) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    api.post(f"/v1/jobs/{first.json()['id']}/cancel")
    again = f"/v1/jobs/{first.json()['id']}/rerun"
    reruns = [api.post(again, headers={"Idempotency-Key": "k-2"}).json()["id"] for _ in range(2)]
    assert reruns[0] == reruns[1] != first.json()["id"]
    assert len(api.get("/v1/jobs").json()["items"]) == 2


def test_the_same_dataset_twice_is_one(api: httpx.Client) -> None:
    file = {"file": ("set.zip", images(["cat"]))}
    ids = [api.post("/v1/datasets", files=file, data={"kind": "images"}, headers=KEY).json()["id"] for _ in range(2)]
    assert ids[0] == ids[1]


def test_a_key_is_for_one_request(api: httpx.Client) -> None:
    post_model(api, headers=KEY)
    problem(post_model(api, graphs.adder(), metadata=None, headers=KEY), ProblemKind.IDEMPOTENCY_MISMATCH)
    problem(post_model(api, name="other", headers=KEY), ProblemKind.IDEMPOTENCY_MISMATCH)
    model = api.get("/v1/models").json()["items"][0]["id"]
    response = api.post(f"/v1/models/{model}/quantizations", json={}, headers=KEY)
    problem(response, ProblemKind.IDEMPOTENCY_MISMATCH)
    assert len(api.get("/v1/models").json()["items"]) == 1
    assert api.get("/v1/jobs").json()["items"] == []


def test_failures_are_not_remembered(api: httpx.Client) -> None:
    problem(post_model(api, b"nonsense", headers=KEY), ProblemKind.INVALID_MODEL)
    assert post_model(api, headers=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "a\tb"])
def test_bad_keys(api: httpx.Client, key: str) -> None:
    problem(post_model(api, headers={"Idempotency-Key": key}), ProblemKind.IDEMPOTENCY_KEY_INVALID)
    assert api.get("/v1/models").json()["items"] == []


def test_concurrent_requests_with_one_key_create_one_resource(api: httpx.Client, settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post_model(api, headers=KEY), range(8)))
    made = [answer for answer in answers if answer.status_code == 201]
    assert made
    assert len({answer.json()["id"] for answer in made}) == 1
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, ProblemKind.IDEMPOTENCY_IN_PROGRESS)
            assert answer.headers["retry-after"]
    assert len(api.get("/v1/models").json()["items"]) == 1


def once(
    redis: Redis, work: Callable[[], Response], key: str = "key", request: str = "request", **options: int
) -> Response:
    async def call() -> Response:
        async def later() -> Response:
            return await asyncio.to_thread(work)

        return await Idempotency(redis, **{"seconds": 60, **options}).once(key, request, later)

    return asyncio.run(call())


def test_a_concurrent_second_request_is_refused_immediately(redis: Redis) -> None:
    going, finish = threading.Event(), threading.Event()

    def work() -> Response:
        going.set()
        assert finish.wait(10)
        return Response("done", 201)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(once, redis, work)
        assert going.wait(10)
        with pytest.raises(FaceterError) as caught:
            once(redis, lambda: Response("twice", 201))
        finish.set()
        assert first.result().body == b"done"
    assert caught.value.kind is ProblemKind.IDEMPOTENCY_IN_PROGRESS
    assert once(redis, lambda: Response("twice", 201)).body == b"done"


def test_the_lock_is_renewed_during_the_request(redis: Redis) -> None:
    going, finish = threading.Event(), threading.Event()

    def work() -> Response:
        going.set()
        assert finish.wait(10)
        return Response("done", 201)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(once, redis, work, lock_seconds=1)
        assert going.wait(10)
        time.sleep(1.5)
        with pytest.raises(FaceterError, match="not been answered"):
            once(redis, lambda: Response("twice", 201))
        finish.set()
        first.result()


def test_the_lock_of_a_dead_process_expires(redis: Redis) -> None:
    name = Idempotency(redis, seconds=60, lock_seconds=1)
    assert isinstance(name._claim("faceter:idempotency:test", "request", "token"), str)
    assert 0 < redis.pttl("faceter:idempotency:test") <= 1000


def test_every_attempt_of_a_request_creates_things_of_the_same_id(redis: Redis) -> None:
    ids: list[str] = []

    def dies_after_creating() -> Response:
        ids.append(creation_id("mdl"))
        raise RuntimeError

    for key, parts in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")):
        with pytest.raises(RuntimeError):
            once(redis, dies_after_creating, key, parts)
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_the_key_is_free_after_a_failure(redis: Redis) -> None:
    def fails() -> Response:
        raise FaceterError(ProblemKind.STORAGE_FULL, "No room.")

    with pytest.raises(FaceterError, match="No room"):
        once(redis, fails)
    assert once(redis, lambda: Response("bad", 422)).body == b"bad"
    assert once(redis, lambda: Response("good", 201)).body == b"good"


def test_fingerprints_tell_requests_apart() -> None:
    prints = {
        fingerprint("POST", "/a", {"x": "1"}),
        fingerprint("POST", "/b", {"x": "1"}),
        fingerprint("POST", "/a", {"x": "2"}),
        fingerprint("POST", "/a", {"y": "1"}),
        fingerprint("POST", "/a", {"x": None}),
    }
    assert len(prints) == 5
    assert fingerprint("POST", "/a", {"x": "1", "y": "2"}) == fingerprint("POST", "/a", {"y": "2", "x": "1"})


def test_datasets_without_a_key_are_two(api: httpx.Client) -> None:
    content = images(["cat"])
    assert add_dataset(api, content)["id"] != post_dataset(api, content).json()["id"]
