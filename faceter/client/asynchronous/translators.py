"""Translators: train them, make them of uploaded generators, translate images."""

import io
import zipfile
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Literal, Unpack

from pydantic import TypeAdapter

from faceter.client.asynchronous.jobs import AsyncRemoteJob
from faceter.client.asynchronous.records import AsyncRecordCollection, AsyncRemoteRecord
from faceter.client.asynchronous.runtime import in_thread
from faceter.client.calls import ApiCall, Id, fields_of, id_of
from faceter.client.errors import Conflict, made_up
from faceter.client.fields import TrainingFields, TrainingMethod, TranslationFields, TranslatorFilters
from faceter.client.files import ReceivedFile
from faceter.client.html import translator_html
from faceter.client.images import opened
from faceter.client.inputs import deadline_header, images_call
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName
from faceter.contracts.translator_records import TranslatorCurves, TranslatorSamples
from faceter.contracts.translators import Translator, TranslatorInTraining, TranslatorSummary


class AsyncRemoteTranslator(Translator, AsyncRemoteRecord):
    """A translator of the service that is ready."""

    collection: ClassVar[ResourceName] = ResourceName.TRANSLATORS

    def _repr_html_(self) -> str:
        return translator_html(self)

    async def translate(
        self,
        image: Any,
        *,
        format: Literal["png", "jpeg", "webp"] = "png",
        deadline: float | None = None,
        **options: Unpack[TranslationFields],
    ) -> Any:
        """Translate an image to the other domain, or each of a list of images.

        Args:
            image: A path, bytes, an image of Pillow, or an array of uint8 [H, W] or [H, W, channels]; or a list.
            format: Format in which the service sends the image.
            deadline: Seconds after which the answer is of no use; the service then stops.
            **options: See `faceter.client.fields.TranslationFields`.

        Returns:
            An image of Pillow, or the content of the file where Pillow is not installed; a list of them for a list.
        """
        return await self.client.translators.translate(self, image, format=format, deadline=deadline, **options)

    async def samples(self) -> TranslatorSamples:
        """Return the contact sheets of its training; `client.translators.sample_image` has the images."""
        return await self.client.transport.fetch(TranslatorSamples, ApiCall("GET", f"{self.path}/samples"))

    async def curves(self) -> TranslatorCurves:
        """Return the losses of its training."""
        return await self.client.transport.fetch(TranslatorCurves, ApiCall("GET", f"{self.path}/curves"))


class AsyncTranslators(AsyncRecordCollection[AsyncRemoteTranslator]):
    """The translators of the service."""

    record_type = AsyncRemoteTranslator

    async def train(
        self, dataset: Id, *, method: TrainingMethod, **fields: Unpack[TrainingFields]
    ) -> AsyncRemoteJob[AsyncRemoteTranslator]:
        """Queue a job that trains a translator; its result is the translator.

        Args:
            dataset: A dataset of kind `domains`.
            method: `cyclegan` for images without pairs, `pix2pix` for pairs.
            **fields: See `faceter.contracts.translators.TranslatorTraining`; for ids, resources are taken too.
        """
        request = fields_of({"method": method, "dataset_id": dataset, **fields})
        call = ApiCall("POST", self._path, json=request, creates=True)
        queued = await self._client.transport.fetch(TranslatorInTraining, call)
        job = await self._client.transport.fetch(Job, ApiCall("GET", f"/v1/jobs/{queued.job_id}"))
        return AsyncRemoteJob(self._client, job)

    async def create(
        self, *, a2b: Id | None = None, b2a: Id | None = None, name: str | None = None
    ) -> AsyncRemoteTranslator:
        """Make a translator of one or two uploaded generators.

        Args:
            a2b: The model that translates from A to B.
            b2a: The model that translates from B to A.
            name: Name of the translator.
        """
        request = fields_of({"a2b_id": a2b, "b2a_id": b2a, "name": name})
        return await self._client.made(AsyncRemoteTranslator, ApiCall("POST", self._path, json=request, creates=True))

    async def get(self, id: Id) -> AsyncRemoteTranslator:
        """Return a translator that is ready.

        Raises:
            NotFound: If there is none.
            Conflict: If it is in training, or its training failed.
        """
        found = await self.state(id)
        if isinstance(found, AsyncRemoteTranslator):
            return found
        detail = (
            f"The translator {found.id} is not ready: its training is {found.status.value}. Wait for its job, "
            f"client.jobs.get({found.job_id!r}).wait(), or translate by its checkpoint: "
            "client.translators.translate(id, image, checkpoint='latest')."
        )
        raise Conflict(made_up("The translator is not ready", detail, 409))

    async def state(self, id: Id) -> AsyncRemoteTranslator | TranslatorInTraining:
        """Return a translator, or the state of its training."""
        either: TypeAdapter[AsyncRemoteTranslator | TranslatorInTraining] = TypeAdapter(
            AsyncRemoteTranslator | TranslatorInTraining
        )
        found = await self._client.transport.fetch(either, ApiCall("GET", self._one(id)))
        return self._client.bound(found) if isinstance(found, AsyncRemoteTranslator) else found

    async def translate(
        self,
        id: Id,
        image: Any,
        *,
        format: Literal["png", "jpeg", "webp"] = "png",
        deadline: float | None = None,
        **options: Unpack[TranslationFields],
    ) -> Any:
        """Translate images by a translator, which may be in training; see `AsyncRemoteTranslator.translate`."""
        many = isinstance(image, (list, tuple))
        images: Sequence[Any] = image if many else [image]
        if not images:
            return []
        path = f"{self._one(id)}/translate"
        headers = {"Accept": f"image/{format}", **deadline_header(deadline)}
        call = await in_thread(images_call, path, images, fields_of(options), headers)
        content = (await self._client.transport.send(call)).content
        if len(images) == 1:
            single = await in_thread(opened, content)
            return [single] if many else single
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [opened(archive.read(name)) for name in archive.namelist()]

    async def sample_image(self, id: Id, step: int | Literal["latest"] = "latest") -> ReceivedFile:
        """Return a contact sheet of training, also during it; it shows itself in a notebook."""
        return await self._client.receive(f"{self._one(id)}/samples/{step}/image", f"{id_of(id)}-{step}.png")

    async def curves_image(self, id: Id) -> ReceivedFile:
        """Return a plot of the losses of training, also during it; it shows itself in a notebook."""
        return await self._client.receive(f"{self._one(id)}/curves/image", f"{id_of(id)}-curves.png")

    def list(self, *, page_size: int = 100, **filters: Unpack[TranslatorFilters]) -> AsyncIterator[TranslatorSummary]:
        """Iterate over the translators that are ready, newest first; pages are read as they are needed."""
        return self._client.pages.items(TranslatorSummary, self._path, filters, page_size)
