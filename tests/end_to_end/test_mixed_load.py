"""Thousands of mixed requests to two API processes while models come and go: no wrong answer, no lost request."""

import io
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from tests.app.uploads import add_model, image
from tests.end_to_end.up_process import Start, Up, wait_until
from tests.engines import graphs

pytestmark = pytest.mark.end_to_end

REQUESTS, CLIENTS, SEEDS, STABLE = 4000, 8, 6, 3
TENSOR = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
IMAGES = [image(seed, (8, 8)) for seed in range(3)]
Array = np.ndarray[Any, Any]


class Shelf:
    """The models of the test: those that stay, and those that come and go.

    Attributes:
        seeds: Seed of the weights of every model that was ever there, by id.
        leaving: Models whose deletion has begun.
    """

    def __init__(self, api: httpx.Client) -> None:
        self._api = api
        self.seeds: dict[str, int] = {}
        self.leaving: set[str] = set()
        self.staying = [self.add(seed) for seed in range(STABLE)]

    def add(self, seed: int) -> str:
        """Upload a classifier and return its id."""
        id: str = add_model(self._api, graphs.classifier(seed=seed))["id"]
        self.seeds[id] = seed
        return id

    def come_and_go(self, done: threading.Event) -> Counter[str]:
        """Upload, load, unload and delete models until the end; return what was done how often."""
        counts: Counter[str] = Counter()
        while not done.is_set():
            for seed in range(STABLE, SEEDS):
                id = self.add(seed)
                for action in ("load", "unload", "load"):
                    self._api.post(f"/v1/models/{id}/{action}").raise_for_status()
                    counts[action] += 1
                for kept in self.staying:
                    self._api.post(f"/v1/models/{kept}/{'load' if counts['delete'] % 2 else 'unload'}")
                self.leaving.add(id)
                self._api.delete(f"/v1/models/{id}").raise_for_status()
                counts["delete"] += 1
        return counts


def by_json(api: httpx.Client, id: str, _: int) -> tuple[httpx.Response, Callable[[], Array]]:
    answer = api.post(f"/v1/models/{id}/predict", json={"inputs": {"image": TENSOR.tolist()}}, params={"raw": "true"})
    return answer, lambda: np.array(answer.json()["outputs"]["logits"])


def by_msgpack(api: httpx.Client, id: str, _: int) -> tuple[httpx.Response, Callable[[], Array]]:
    headers = {"Accept": "application/msgpack"}
    body = {"inputs": {"image": TENSOR.tolist()}}
    answer = api.post(f"/v1/models/{id}/predict", json=body, params={"raw": "true"}, headers=headers)

    def logits() -> Array:
        tensor = msgspec.msgpack.decode(answer.content)["outputs"]["logits"]
        return np.frombuffer(tensor["data"], tensor["dtype"]).reshape(tensor["shape"])

    return answer, logits


def by_numpy(api: httpx.Client, id: str, _: int) -> tuple[httpx.Response, Callable[[], Array]]:
    headers = {"Accept": "application/x-npy"}
    body = {"inputs": {"image": TENSOR.tolist()}}
    answer = api.post(f"/v1/models/{id}/predict", json=body, params={"raw": "true"}, headers=headers)
    return answer, lambda: np.load(io.BytesIO(answer.content))


def by_protocol(api: httpx.Client, id: str, _: int) -> tuple[httpx.Response, Callable[[], Array]]:
    tensor = {"name": "image", "shape": list(TENSOR.shape), "datatype": "FP32", "data": TENSOR.ravel().tolist()}
    answer = api.post(f"/v2/models/{id}/infer", json={"inputs": [tensor]})
    return answer, lambda: np.reshape(answer.json()["outputs"][0]["data"], answer.json()["outputs"][0]["shape"])


def by_image(api: httpx.Client, id: str, number: int) -> tuple[httpx.Response, Callable[[], Array]]:
    file = ("file", ("p.png", IMAGES[number % len(IMAGES)]))
    answer = api.post(f"/v1/models/{id}/predict", files=[file], params={"raw": "true"})
    return answer, lambda: np.array(answer.json()["outputs"]["logits"])


WAYS = (by_json, by_msgpack, by_numpy, by_protocol, by_image)


def test_no_answer_is_wrong_while_models_come_and_go(tmp_path: Path, start: Start) -> None:
    up = start(tmp_path / "data", "--port", "0", "--workers", "0", "--api-workers", "2", FACETER_MEASURE_SERVING="true")
    up.hears("Ready after")
    with httpx.Client(base_url=up.url, timeout=60) as api:
        shelf = Shelf(api)
        expected = _expected(api, shelf)
        outcomes, counts = _run(up, api, shelf, expected)
    failures = {key: count for key, count in outcomes.items() if key not in ("right", "deleted meanwhile")}
    assert failures == {}, outcomes
    assert outcomes["right"] > 0.8 * REQUESTS, outcomes
    assert counts["delete"] >= SEEDS - STABLE, counts
    assert "Traceback" not in up.output


def _expected(api: httpx.Client, shelf: Shelf) -> dict[tuple[int, str, int], Array]:
    """Return the logits of every kind of request for every seed, asked for while nothing else happens."""
    expected = {}
    ids = {shelf.seeds[id]: id for id in [*shelf.staying, *(shelf.add(seed) for seed in range(STABLE, SEEDS))]}
    for seed, id in ids.items():
        for way in WAYS:
            for number in range(len(IMAGES)):
                answer, logits = way(api, id, number)
                assert answer.status_code == 200, answer.text
                expected[seed, way.__name__, number] = logits()
    for way in (by_msgpack, by_numpy, by_protocol):
        np.testing.assert_allclose(expected[0, way.__name__, 0], expected[0, "by_json", 0], rtol=1e-6)
    assert np.abs(expected[0, "by_json", 0] - expected[1, "by_json", 0]).max() > 0.1, "models differ"
    return expected


def _run(
    up: Up, api: httpx.Client, shelf: Shelf, expected: dict[tuple[int, str, int], Array]
) -> tuple[Counter[str], Counter[str]]:
    """Send the requests, and replace the processes after a third of them; return outcomes and changes by kind."""
    outcomes: Counter[str] = Counter()
    done, lock, counts = threading.Event(), threading.Lock(), Counter[str]()

    def ask(client: int) -> None:
        random = np.random.default_rng(client)
        with httpx.Client(base_url=up.url, timeout=60) as own:
            for number in range(REQUESTS // CLIENTS):
                ids = shelf.staying if random.random() < 0.7 else list(shelf.seeds)[-2:]
                id, way = ids[random.integers(len(ids))], WAYS[random.integers(len(WAYS))]
                outcome = _outcome(own, shelf, expected, id, way, number)
                with lock:
                    outcomes[outcome] += 1

    changes = threading.Thread(target=lambda: counts.update(shelf.come_and_go(done)))
    clients = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
    for thread in (changes, *clients):
        thread.start()
    wait_until(lambda: outcomes.total() > REQUESTS / 3 or not any(thread.is_alive() for thread in clients), str)
    os.kill(up.pid("API"), signal.SIGHUP)
    for thread in clients:
        thread.join()
    wait_until(lambda: up.output.count("Started server process") == 4, lambda: "the processes were not replaced")
    done.set()
    changes.join()
    return outcomes, counts


def _outcome(
    api: httpx.Client,
    shelf: Shelf,
    expected: dict[tuple[int, str, int], Array],
    id: str,
    way: Callable[[httpx.Client, str, int], tuple[httpx.Response, Callable[[], Array]]],
    number: int,
) -> str:
    """Send one request and return what came of it."""
    try:
        answer, logits = way(api, id, number)
    except httpx.HTTPError as error:
        return repr(error)
    if answer.status_code == 404 and id in shelf.leaving:
        return "deleted meanwhile"
    if answer.status_code != 200:
        return f"{way.__name__}: {answer.status_code} {answer.text[:200]}"
    found, wanted = logits(), expected[shelf.seeds[id], way.__name__, number % len(IMAGES)]
    same = found.shape == wanted.shape and np.abs(found - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())
    return "right" if same else f"{way.__name__}: a wrong answer of {id}"
