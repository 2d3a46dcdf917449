"""Translators, ready and in training, stored as by a worker."""

import io
from collections.abc import Mapping
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image
from redis import Redis
from rq.executions import Execution

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import LossPoint, TrainingRecord
from faceter.contracts.translators import Translator, TranslatorTraining
from faceter.resources import TRANSLATORS
from faceter.store import job_checkpoints
from faceter.store.library import Library
from faceter.translation.archive import (
    CURVES,
    CURVES_IMAGE,
    curves_content,
    generator_member,
    sample_member,
    write_archive,
)
from tests.app.named_resources import NamedResources
from tests.app.uploads import add_dataset, add_model, archive, image
from tests.store.jobs.worker_side import claimed
from tests.translation import generators

GENERATOR_METADATA: Final = {
    "task": "image_translation",
    "preprocessing": {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
"""Metadata of a generator."""

IMAGES: Final = {"metadata": {"task": "image_translation"}}
"""Metadata of a generator without preprocessing."""

POINTS: Final = [LossPoint(step=step, seconds=step / 2, losses={"G_a2b": 1 / step}) for step in (1, 2, 4)]


def domains(width: int = 40, height: int = 36, each: int = 3) -> bytes:
    """Return a dataset of two domains, with equal file names."""
    return archive(
        {
            f"{domain}/{place}.png": image(each * number + place, (width, height))
            for number, domain in enumerate("AB")
            for place in range(each)
        }
    )


def halver() -> bytes:
    """Return a generator with y = x / 2, which moves colours towards grey."""
    return generators.one_node("Mul", np.array(0.5, np.float32))


def enlarger() -> bytes:
    """Return a model that returns images at twice their size."""
    sizes = np.array([1, 1, 2, 2], np.float32)
    builder = generators.GeneratorBuilder()
    builder.add("Resize", "image", "", builder.constant(sizes), mode="nearest")
    return builder.content()


def pixels(file: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels of an image file, uint8 [H, W, channels]."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


def points_until(step: int) -> list[LossPoint]:
    """Return the loss points up to a step."""
    return [point for point in POINTS if point.step <= step]


def archive_of(contents: Mapping[Direction, bytes], steps: tuple[int, ...] = (2, 4)) -> bytes:
    """Return a translator's archive with a contact sheet for each step."""
    members = [(generator_member(direction), content) for direction, content in contents.items()]
    members += [(CURVES, curves_content(points_until(steps[-1]))), (CURVES_IMAGE, image(99))]
    members += [(sample_member(step), image(step)) for step in steps]
    file = io.BytesIO()
    write_archive(file, members)
    return file.getvalue()


class TranslatorFixtures:
    """Creates translators, ready and in training. `@name` in a request stands for the id of a named resource."""

    def __init__(self, api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> None:
        self.api, self.library, self.redis, self.queue = api, library, redis, queue
        self._shelf = NamedResources(api)
        self._ids: dict[str, str] = {}

    def resolve(self, payload: Any) -> Any:
        """Return a request with names replaced by ids."""
        if isinstance(payload, dict):
            return {key: self.resolve(value) for key, value in payload.items()}
        return self.id(payload[1:]) if isinstance(payload, str) and payload.startswith("@") else payload

    def id(self, name: str) -> str:
        """Return the id of a named resource, created on first use; other names are those of `NamedResources`."""
        if name not in self._ids:
            self._ids[name] = self._create(name)
        return self._ids[name]

    def post(self, payload: Any, **headers: str) -> httpx.Response:
        """Request a translator."""
        return self.api.post("/v1/translators", json=self.resolve(payload), headers=headers)

    def train_cyclegan(self, **payload: Any) -> dict[str, Any]:
        """Request the training of a CycleGAN, and return the job."""
        return self.train({"method": "cyclegan", "dataset_id": "@sets", "image_size": 32, **payload})

    def train(self, payload: Any) -> dict[str, Any]:
        """Request the training of a translator, and return its job."""
        response = self.post(payload)
        assert response.status_code == 202, response.text
        job: dict[str, Any] = self.api.get(response.json()["links"]["job"]).json()
        return job

    def add_in_training(self, steps: tuple[int, ...] = (), **payload: Any) -> tuple[str, Execution]:
        """Return the id of a translator in training, with a checkpoint after ``steps`` if given."""
        job = self.train_cyclegan(**payload)
        execution = claimed(self.redis, job["id"])
        if steps:
            self.add_checkpoint(execution, steps)
        return TRANSLATORS.record_id_for_job(job["id"]), execution

    def add_checkpoint(self, execution: Execution, steps: tuple[int, ...]) -> str:
        """Store a checkpoint as a worker does; return its SHA-256."""
        blob = self.library.store_blob(archive_of({direction: generators.inverter() for direction in Direction}, steps))
        job_checkpoints.save(self.redis, execution, blob.sha256)
        self.library.discard_blob(blob.sha256)
        self.library.delete_released()
        return blob.sha256

    def add_uploaded(self, **payload: Any) -> str:
        """Return the id of a translator of uploaded generators, by default of one `a2b`."""
        response = self.post(payload or {"a2b_id": "@negative"})
        assert response.status_code == 201, response.text
        id: str = response.json()["id"]
        return id

    def add_trained(self, **payload: Any) -> Translator:
        """Store a translator and its generators as a worker does."""
        request = TranslatorTraining.model_validate(
            self.resolve(
                {
                    "method": "cyclegan",
                    "dataset_id": "@sets",
                    "image_size": 32,
                    "base_channels": 8,
                    "generator": "resnet",
                    "residual_blocks": 2,
                    "epochs": 1,
                    **payload,
                }
            )
        )
        content = {direction: generators.inverter() for direction in request.directions}
        models = {direction: self.library.models.get(self._generator(content[direction])) for direction in content}
        blob = self.library.store_blob(archive_of(content))
        sheet = self.library.store_blob(image(4))
        return self.library.add(
            Translator(
                id=new_id("trl"),
                name=request.name or "dusk to day",
                created_at=utc_now(),
                settings=request,
                job_id=new_id("job"),
                sha256=blob.sha256,
                bytes=blob.bytes,
                model_ids={direction: model.id for direction, model in models.items()},
                model_sha256={direction: model.sha256 for direction, model in models.items()},
                training=TrainingRecord(
                    method=request.method,
                    steps=4,
                    epochs=1,
                    seconds=2,
                    steps_per_second=2,
                    waited_seconds=0,
                    ended_by="budget",
                    losses={"G_a2b": 0.25},
                    parameters={"generator": 10, "discriminator": 10},
                ),
                files={"samples.png": StoredFile(sha256=sheet.sha256, bytes=sheet.bytes, media_type="image/png")},
            )
        )

    def _generator(self, content: bytes) -> str:
        id: str = add_model(self.api, content, metadata=GENERATOR_METADATA)["id"]
        return id

    def _create(self, name: str) -> str:
        match name:
            case "sets":
                id: str = add_dataset(self.api, domains(), "domains", name="dusk and day")["id"]
                return id
            case "pairs":
                return str(add_dataset(self.api, domains(), "domains", paired="true")["id"])
            case "tiny":
                return str(add_dataset(self.api, domains(12, 20), "domains")["id"])
            case "negative":
                return self._generator(generators.inverter())
            case "halver":
                return self._generator(halver())
            case "fixed":
                return str(add_model(self.api, generators.resnet(height=48, width=64, batch=1), **IMAGES)["id"])
            case "positioned":
                return str(add_model(self.api, generators.positioned(height=48, width=64), **IMAGES)["id"])
            case "enlarger":
                return self._generator(enlarger())
            case "uploaded":
                return self.add_uploaded()
            case "trained":
                return self.add_trained().id
            case "trained unet":
                return self.add_trained(generator="unet", residual_blocks=None).id
            case "trained pairs":
                return self.add_trained(method="pix2pix", dataset_id="@pairs").id
            case "in training":
                return TRANSLATORS.record_id_for_job(self.train_cyclegan()["id"])
            case _:
                return self._shelf.id(name)
