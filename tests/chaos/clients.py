"""Clients of the service: each makes calls at random and records what is acknowledged."""

import random
import threading
import uuid
from collections.abc import Callable
from typing import Any, Final

import httpx
import numpy as np

from faceter import Client
from faceter.client.calls import ApiCall
from faceter.client.errors import (
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    FaceterApiError,
    JobNotEnded,
    NotFound,
    Overloaded,
)
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName
from tests.app.uploads import METADATA
from tests.chaos.ledger import Ledger
from tests.chaos.models import CONCEPTS, CONTENTS, FEATURES, LAYER, SAMPLES, SEEDS, TENSOR, expected

_TIMEOUT: Final = 60.0
_RETRIES: Final = 7
_REPEATS: Final = 3
_REFUSALS: Final = (ProblemKind.RESOURCE_IN_USE, ProblemKind.JOB_ENDED, ProblemKind.IDEMPOTENCY_IN_PROGRESS)
_METHODS: Final[tuple[dict[str, Any], ...]] = (
    {"method": "rq"},
    {"method": "dfq"},
    {"method": "zeroq", "max_steps": 30},
    {"method": "zeroq", "max_steps": 300},
)


class ChaosClient(threading.Thread):
    """A client in a thread of its own.

    Args:
        number: Of this client; with the seed it determines its choices.
        url: Address of the service.
        ledger: What is acknowledged.
        seed: Of the run.
        pause: Mean pause between calls, seconds.
        most_jobs: It queues no more jobs than this.
    """

    def __init__(self, number: int, url: str, ledger: Ledger, *, seed: int, pause: float, most_jobs: int) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.ended = threading.Event()
        self._number = number
        self._ledger = ledger
        self._random = random.Random(f"{seed} {number}")
        self._pause = pause
        self._jobs_left = most_jobs
        self._client = Client(url, timeout=_TIMEOUT, retries=_RETRIES)
        self._models: dict[str, int] = {}
        self._samples: list[str] = []
        self._concepts: list[str] = []
        self._jobs: list[str] = []
        self._expected = {model: expected(model) for model in SEEDS}

    def run(self) -> None:
        """Make calls until it is told to end."""
        actions: dict[Callable[[], None], int] = {
            self._upload_model: 3,
            self._upload_dataset: 1,
            self._submit: 3,
            self._predict: 4,
            self._delete_model: 2,
            self._cancel_job: 1,
            self._follow: 1,
        }
        with self._client:
            while not self.ended.wait(self._random.uniform(0, 2 * self._pause)):
                needed = [self._upload_model] if not self._models else []
                needed += [] if self._samples and self._concepts else [self._upload_dataset]
                self._do(needed[0] if needed else self._random.choices(list(actions), list(actions.values()))[0])

    def _do(self, action: Callable[[], None]) -> None:
        kind = action.__name__.strip("_").replace("_", " ")
        try:
            action()
        except (Overloaded, DeadlineExceeded):
            outcome = "refused for now"
        except JobNotEnded:
            outcome = "goes on"
        except ConnectionFailed as error:
            outcome = "without answer"
            if isinstance(error.__cause__, httpx.ReadTimeout):
                self._ledger.fault(f"{kind}: no answer within {_TIMEOUT:g} seconds")
        except FaceterApiError as error:
            outcome = "refused"
            if error.kind not in _REFUSALS:
                self._ledger.fault(f"{kind}: {type(error).__name__} {error}")
        except Exception as error:
            outcome = "broken"
            self._ledger.fault(f"{kind}: {error!r}")
        else:
            outcome = "done"
        self._ledger.happened(f"{kind}: {outcome}")

    def _upload_model(self) -> None:
        seed, name = self._random.choice(SEEDS), self._ledger.name(self._number, "model")
        model = self._client.models.upload(CONTENTS[seed], name=name, metadata=METADATA)
        self._models[model.id] = seed
        self._ledger.uploaded(model.id, ResourceName.MODELS, name, CONTENTS[seed])

    def _upload_dataset(self) -> None:
        of_concepts = not self._concepts or (bool(self._samples) and self._random.random() < 0.5)
        content, kind = (CONCEPTS, "concepts") if of_concepts else (SAMPLES, "images")
        name = self._ledger.name(self._number, "dataset")
        dataset = self._client.datasets.upload(content, kind=kind, name=name)
        (self._concepts if of_concepts else self._samples).append(dataset.id)
        self._ledger.uploaded(dataset.id, ResourceName.DATASETS, name, content)

    def _submit(self) -> None:
        """Queue a job; a call without an answer is repeated with the same idempotency key."""
        if not self._jobs_left:
            return
        self._jobs_left -= 1
        model = self._random.choice(list(self._models))
        path, body = self._random.choice([self._quantization, self._quantization, self._explanation, self._evaluation])(
            model
        )
        body["name"] = self._ledger.name(self._number, "job")
        call = ApiCall("POST", path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})
        job = self._repeated(call)
        self._jobs.append(job.id)
        with self._ledger.lock:
            self._ledger.jobs[job.id] = body["name"]
        if self._random.random() < 0.3 and (again := self._repeated(call)).id != job.id:
            self._ledger.fault(f"the same idempotency key made {job.id} and {again.id}")

    def _repeated(self, call: ApiCall) -> Job:
        for _ in range(_REPEATS):
            try:
                return self._client.transport.fetch(Job, call)
            except (ConnectionFailed, Overloaded, Conflict):
                self.ended.wait(1)
        return self._client.transport.fetch(Job, call)

    def _quantization(self, model: str) -> tuple[str, dict[str, Any]]:
        return f"/v1/models/{model}/quantizations", dict(self._random.choice(_METHODS))

    def _explanation(self, model: str) -> tuple[str, dict[str, Any]]:
        dataset = self._random.choice(self._concepts)
        request = {"dataset_id": dataset, "layer": LAYER, "max_length": 2, "quantile": 0.2, "min_firings": 1}
        return f"/v1/models/{model}/explanations", request

    def _evaluation(self, model: str) -> tuple[str, dict[str, Any]]:
        dataset = self._random.choice(self._samples)
        features = {"model_id": model, "tensor": FEATURES}
        return "/v1/evaluations", {"reference_id": dataset, "generated_id": dataset, "features": features, "k": 3}

    def _predict(self) -> None:
        id = self._random.choice(list(self._models))
        outputs = self._client.models.get(id).predict(TENSOR, raw=True).outputs
        assert outputs is not None
        np.testing.assert_allclose(np.asarray(outputs["logits"]), self._expected[self._models[id]], atol=1e-4)

    def _delete_model(self) -> None:
        if len(self._models) < 3:
            return
        id = self._random.choice(list(self._models))
        with self._ledger.lock:
            self._ledger.deleting.add(id)
        seed = self._models.pop(id)
        try:
            self._client.models.delete(id)
        except Conflict:
            self._models[id] = seed
            raise
        except NotFound:
            pass  # the first attempt did it, and its answer was lost
        with self._ledger.lock:
            self._ledger.deleted.add(id)

    def _cancel_job(self) -> None:
        if not self._jobs:
            return
        id = self._random.choice(self._jobs[-3:])
        with self._ledger.lock:
            self._ledger.canceling.add(id)
        self._client.jobs.cancel(id)
        with self._ledger.lock:
            self._ledger.canceled.add(id)

    def _follow(self) -> None:
        """Follow the events of a job for some seconds."""
        if self._jobs:
            self._client.jobs.get(self._random.choice(self._jobs)).wait(4, progress=False)
