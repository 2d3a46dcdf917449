"""Translation jobs on a real store, done at once in this process."""

import io
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.jobs import TranslationJob
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translators import Translator, TranslatorTraining
from faceter.graphs.check import load_model
from faceter.store import job_records, job_steps
from faceter.store.library import Library
from tests.engines import graphs
from tests.workers.stored import stored_model
from tests.workers.translation.sources import inverted, smooth
from workers.jobs.context import JobContext
from workers.translation.onnx_writer import INPUT, OUTPUT
from workers.translation.pipeline import train

COUNT = 6
"""Images of each domain."""


def domains_zip(a: Sequence[Image.Image], b: Sequence[Image.Image]) -> bytes:
    """Return a dataset of two domains, with images of equal names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for domain, images in (("A", a), ("B", b)):
            for place, image in enumerate(images):
                content = io.BytesIO()
                image.save(content, "PNG")
                made.writestr(f"{domain}/{place}.png", content.getvalue())
    return file.getvalue()


def images_of(count: int = COUNT, seed: int = 1, size: int = 36) -> tuple[list[Image.Image], list[Image.Image]]:
    """Return drawn images and the same with colours inverted."""
    drawn = smooth(count, size, seed)
    return drawn, inverted(drawn)


class Bench:
    """A library with datasets and a model, and jobs that are done at once.

    Args:
        redis: The store.
        settings: The service's.
        library: The library.
    """

    def __init__(self, redis: Redis, settings: Settings, library: Library) -> None:
        self.redis, self.settings, self.library = redis, settings, library
        self.queue = JobQueue(redis, settings)

    def dataset(self, count: int = COUNT, seed: int = 1, *, paired: bool = False) -> Dataset:
        """Keep drawn images as A and the same inverted as B."""
        blob = self.library.store_blob(domains_zip(*images_of(count, seed)))
        return self.library.add(
            Dataset(
                id=new_id("dts"),
                name="drawn",
                kind=DatasetKind.DOMAINS,
                created_at=utc_now(),
                sha256=blob.sha256,
                bytes=blob.bytes,
                samples=2 * count,
                paired=paired,
            )
        )

    def feature_extractor(self) -> Model:
        """Keep a model that describes images by four values, its tensor `p`."""
        content = graphs.classifier()
        graph = load_model(content, max_bytes=len(content))
        metadata = ModelMetadata(preprocessing=Preprocessing(size=[8, 8], mean=[0.5], std=[0.5]))
        return stored_model(self.library, graph, metadata, name="feature_extractor", opset=20)

    def started(
        self, dataset: Dataset, clock: Callable[[], float] | None = None, **said: Any
    ) -> tuple[JobContext, TranslationJob]:
        """Queue a small training and take it up as a worker does."""
        request = {
            "method": "cyclegan",
            "dataset_id": dataset.id,
            "image_size": 16,
            "base_channels": 4,
            "generator": "resnet",
            "residual_blocks": 1,
            "batch_size": 2,
            **said,
        }
        if "max_minutes" not in request:
            request.setdefault("epochs", 1)
        job = TranslationJob(request=TranslatorTraining.model_validate(request))
        queued = self.queue.enqueue(job)
        execution = job_steps.claim(self.redis, job_records.fetch(self.redis, queued.id), "worker", 60)
        assert execution is not None
        if clock is None:
            return JobContext(self.settings, self.library, self.redis, execution), job
        return JobContext(self.settings, self.library, self.redis, execution, clock), job

    def done(self, context: JobContext, job: TranslationJob) -> Translator:
        """Do a job to its end, and return what it made."""
        context.succeed(train(context, job))
        context.discard()
        return self.library.translators.get(context.new_id("trl"))

    def trained(self, dataset: Dataset, **said: Any) -> Translator:
        """Train a small translator."""
        return self.done(*self.started(dataset, **said))

    def content(self, translator: Translator, direction: Direction) -> bytes:
        """Return a generator's ONNX file, by its model."""
        return self.library.blobs.read(self.library.models.get(translator.model_ids[direction]).sha256)


def run_generator(content: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a generator makes of images [N, 3, H, W] in [−1, 1]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: images})[0], np.float32)


def translated(content: bytes, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a generator makes of images, uint8 [N, 3, H, W]."""
    made = run_generator(content, (images / 127.5 - 1).astype(np.float32))
    values: NDArray[np.uint8] = np.rint((made + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return values
