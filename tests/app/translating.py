"""Translators, what they are made of, and those in training as a worker leaves them."""

import io
from collections.abc import Mapping
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image
from redis import Redis
from rq.executions import Execution

from app.services.jobs.queue import JobQueue
from app.services.translators.training import translator_id
from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.translators import Direction, LossPoint, TrainingRecord, Translator, TranslatorTraining
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
from tests.app.shelf import Shelf
from tests.app.uploads import add_dataset, add_model, archive, image
from tests.store.jobs.worker_side import claimed
from tests.translation import generators

TRANSLATES: Final = {
    "task": "image_translation",
    "preprocessing": {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
}
"""What a generator's metadata says."""

POINTS: Final = [LossPoint(step=step, seconds=step / 2, losses={"G_a2b": 1 / step}) for step in (1, 2, 4)]


def domains(width: int = 40, height: int = 36, each: int = 3) -> bytes:
    """Return a dataset of two domains, with images of equal names."""
    return archive(
        {
            f"{domain}/{place}.png": image(each * number + place, (width, height))
            for number, domain in enumerate("AB")
            for place in range(each)
        }
    )


def halver() -> bytes:
    """Return a generator that brings every colour half of the way to grey: y = x / 2."""
    return generators.one_node("Mul", np.array(0.5, np.float32))


def enlarger() -> bytes:
    """Return a model of images that gives them back twice as large."""
    sizes = np.array([1, 1, 2, 2], np.float32)
    made = generators.GeneratorBuilder()
    made.add("Resize", "image", "", made.constant(sizes), mode="nearest")
    return made.content()


def pixels(file: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the values of an image's file as they are in it, uint8 [H, W, channels]."""
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


def points_of(step: int) -> list[LossPoint]:
    """Return how losses stood after so many steps."""
    return [point for point in POINTS if point.step <= step]


def archive_of(contents: Mapping[Direction, bytes], steps: tuple[int, ...] = (2, 4)) -> bytes:
    """Return a translator's archive with a contact sheet, some image, of each of some steps."""
    members = [(generator_member(direction), content) for direction, content in contents.items()]
    members += [(CURVES, curves_content(points_of(steps[-1]))), (CURVES_IMAGE, image(99))]
    members += [(sample_member(step), image(step)) for step in steps]
    file = io.BytesIO()
    write_archive(file, members)
    return file.getvalue()


class Workshop:
    """Makes translators, ready and in training. A text with @ before it stands for the id of what is called so."""

    def __init__(self, api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> None:
        self.api, self.library, self.redis, self.queue = api, library, redis, queue
        self._shelf = Shelf(api)
        self._ids: dict[str, str] = {}

    def request(self, said: Any) -> Any:
        """Return a request with ids for names."""
        if isinstance(said, dict):
            return {key: self.request(value) for key, value in said.items()}
        return self.id(said[1:]) if isinstance(said, str) and said.startswith("@") else said

    def id(self, name: str) -> str:
        """Return the id of what is called so, made when it is first asked for; of other things see `Shelf`."""
        if name not in self._ids:
            self._ids[name] = self._made(name)
        return self._ids[name]

    def ask(self, said: Any, **headers: str) -> httpx.Response:
        """Ask for a translator."""
        return self.api.post("/v1/translators", json=self.request(said), headers=headers)

    def job(self, **said: Any) -> dict[str, Any]:
        """Ask for a CycleGAN of unpaired images, and return the job."""
        response = self.ask({"method": "cyclegan", "dataset_id": "@sets", "image_size": 32, **said})
        assert response.status_code == 202, response.text
        job: dict[str, Any] = response.json()
        return job

    def in_training(self, steps: tuple[int, ...] = (), **said: Any) -> tuple[str, Execution]:
        """Return the id of a translator that a worker trains, with a checkpoint after some steps if there are any."""
        job = self.job(**said)
        execution = claimed(self.redis, job["id"])
        if steps:
            self.checkpoint(execution, steps)
        return translator_id(job["id"]), execution

    def checkpoint(self, execution: Execution, steps: tuple[int, ...]) -> str:
        """Keep a checkpoint as the worker does, in place of the one before; return its SHA-256."""
        blob = self.library.store_blob(archive_of({direction: generators.inverter() for direction in Direction}, steps))
        job_checkpoints.keep(self.redis, execution, blob.sha256)
        self.library.discard_blob(blob.sha256)
        self.library.delete_released()
        return blob.sha256

    def uploaded(self, **said: Any) -> str:
        """Return the id of a translator made of uploaded generators, `a2b` if nothing else is said."""
        response = self.ask(said or {"a2b_id": "@negative"})
        assert response.status_code == 201, response.text
        id: str = response.json()["id"]
        return id

    def trained(self, **said: Any) -> Translator:
        """Keep a translator as a worker does, with its generators."""
        request = TranslatorTraining.model_validate(
            self.request(
                {
                    "method": "cyclegan",
                    "dataset_id": "@sets",
                    "image_size": 32,
                    "base_channels": 8,
                    "generator": "resnet",
                    "residual_blocks": 2,
                    "epochs": 1,
                    **said,
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
        id: str = add_model(self.api, content, metadata=TRANSLATES)["id"]
        return id

    def _made(self, name: str) -> str:
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
            case "enlarger":
                return self._generator(enlarger())
            case "uploaded":
                return self.uploaded()
            case "trained":
                return self.trained().id
            case "trained unet":
                return self.trained(generator="unet", residual_blocks=None).id
            case "trained pairs":
                return self.trained(method="pix2pix", dataset="@pairs").id
            case "in training":
                return translator_id(self.job()["id"])
            case _:
                return self._shelf.id(name)
