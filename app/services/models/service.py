"""Models: validate and store an upload, list, describe, delete."""

from contextlib import AbstractContextManager, ExitStack
from threading import Lock
from typing import BinaryIO, Final

from cachetools import TTLCache

from app.services.core import Core
from app.services.creation import creation_id
from app.services.locks import reading
from app.services.models.check_lanes import CheckLanes
from app.services.models.checking import ModelUpload
from app.services.records import RecordService
from faceter.contracts.base import StoredFile, utc_now
from faceter.contracts.graphs import Graph
from faceter.contracts.models import Model, ModelDescription, ModelMetadata
from faceter.graphs.describe import describe
from faceter.graphs.working import load_working_graph
from faceter.resources import MODELS
from faceter.store.blobs import StoredBlob
from faceter.store.tenants import current_tenant
from faceter.text.tokenizer import TOKENIZER

_MOST_RECENT: Final = 256
_RECENT_SECONDS: Final = 1.0


class ModelService(RecordService[Model]):
    """Manages models."""

    resource = MODELS

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._recent_records: TTLCache[tuple[str, str], Model] = TTLCache(_MOST_RECENT, _RECENT_SECONDS)
        self._recent_lock = Lock()
        self._lanes = CheckLanes(self.settings)

    def add(self, file: BinaryIO, name: str, metadata: ModelMetadata, tokenizer: BinaryIO | None = None) -> Model:
        """Validate and store an upload; nothing is stored if validation fails.

        Args:
            file: The ONNX file.
            name: Name of the model.
            metadata: Metadata from the upload.
            tokenizer: The file `tokenizer.json` of a text model.

        Raises:
            FaceterError: As `check`; `STORAGE_FULL`.
        """
        upload = self._upload(file, name, metadata, tokenizer)
        description = self._lanes.checked(upload)
        with ExitStack() as held:
            blob = self._store(upload.content, held)
            files = {} if upload.tokenizer is None else {TOKENIZER: self._store_tokenizer(upload.tokenizer, held)}
            model = self.library.add(
                Model(
                    id=creation_id(self.resource.prefix),
                    created_at=utc_now(),
                    sha256=blob.sha256,
                    bytes=blob.bytes,
                    files=files,
                    **dict(description),
                )
            )
            held.pop_all()
        return model

    def check(
        self, file: BinaryIO, name: str, metadata: ModelMetadata, tokenizer: BinaryIO | None = None
    ) -> ModelDescription:
        """Validate an upload as `add` does, and store nothing.

        Raises:
            FaceterError: As `app.services.models.check_lanes.CheckLanes.checked`.
        """
        return self._lanes.checked(self._upload(file, name, metadata, tokenizer))

    def _upload(self, file: BinaryIO, name: str, metadata: ModelMetadata, tokenizer: BinaryIO | None) -> ModelUpload:
        most, most_of_tokenizer = self.settings.max_model_bytes + 1, self.settings.max_tokenizer_bytes + 1
        tokenizer_file = None if tokenizer is None else tokenizer.read(most_of_tokenizer)
        return ModelUpload(file.read(most), name, metadata, tokenizer_file)

    def reading_recent(self, id: str) -> AbstractContextManager[Model]:
        """Get a model as `reading` does, from the records of the last second if it is among them.

        A model that another process deleted may be found for that second.
        """
        return reading(self._recent, id)

    def _recent(self, id: str) -> Model:
        with self._recent_lock:
            found = self._recent_records.get((current_tenant(), id))
        if found is None:
            found = self.get(id)
            with self._recent_lock:
                self._recent_records[current_tenant(), id] = found
        return found

    def graph(self, id: str) -> Graph:
        """Return the graph of a model.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        with self.reading(id) as model:
            content = self.library.blobs.read(model.sha256)
        return describe(load_working_graph(content, model.metadata).model)

    def shown(self, record: Model) -> Model:
        """Return a model with what serves it on this host."""
        return record.model_copy(update={"serving": self.core.model_server.report(record)})

    def load(self, id: str) -> Model:
        """Load a model into memory, in this process now and in every process after it starts.

        Returns:
            The model, with what was measured to serve it.

        Raises:
            FaceterError: `NOT_FOUND`; the errors of loading.
        """
        with self.reading(id) as model:
            report = self.core.model_server.load(model)
            self.core.model_server.keep(model)
            return model.model_copy(update={"serving": report})

    def unload(self, id: str) -> Model:
        """Drop a model from memory, in this process now and in the others within seconds.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        model = self.get(id)
        self.core.model_server.release(model)
        return self.shown(model)

    def deleted(self, record: Model) -> None:
        """Close the sessions of a deleted model."""
        with self._recent_lock:
            self._recent_records.pop((current_tenant(), record.id), None)
        self.core.model_server.release(record)

    def _store(self, content: bytes, held: ExitStack) -> StoredBlob:
        """Store a file; it is discarded if the block of ``held`` fails."""
        blob = self.library.store_blob(content)
        held.callback(self.library.discard_blob, blob.sha256)
        return blob

    def _store_tokenizer(self, content: bytes, held: ExitStack) -> StoredFile:
        blob = self._store(content, held)
        return StoredFile(sha256=blob.sha256, bytes=blob.bytes, media_type="application/json")
