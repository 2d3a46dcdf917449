"""Models: validate and store an upload, list, describe, delete."""

from collections.abc import Collection
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import BinaryIO, Final

import onnx
from cachetools import TTLCache

from app.services.core import Core
from app.services.locks import reading
from app.services.models.text_upload import TextModelUpload, refuse_without_tokenizer
from app.services.models.trial import TrialModel
from app.services.models.upload_warnings import upload_warnings
from app.services.records import RecordService
from faceter.contracts.base import StoredFile, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.graphs import Graph
from faceter.contracts.models import Model, ModelDescription, ModelMetadata
from faceter.graphs.check import check_model
from faceter.graphs.describe import describe, input_specs, output_specs, parameter_count
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import opset_of
from faceter.graphs.working import load_working_graph, working_graph
from faceter.resources import MODELS
from faceter.store.blobs import StoredBlob
from faceter.text.tokenizer import TOKENIZER
from faceter.vision.completion import CompletedMetadata, complete_metadata
from faceter.vision.metadata import check_metadata

_MOST_RECENT: Final = 256
_RECENT_SECONDS: Final = 1.0


@dataclass(frozen=True)
class _CheckedUpload:
    content: bytes
    text: TextModelUpload | None
    description: ModelDescription


class ModelService(RecordService[Model]):
    """Manages models."""

    resource = MODELS

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._recent_records: TTLCache[str, Model] = TTLCache(_MOST_RECENT, _RECENT_SECONDS)
        self._recent_lock = Lock()

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
        upload = self._checked(file, name, metadata, tokenizer)
        with ExitStack() as held:
            blob = self._store(upload.content, held)
            files = {} if upload.text is None else {TOKENIZER: self._store_tokenizer(upload.text.content, held)}
            model = self.library.add(
                Model(
                    id=self.resource.new_id(),
                    created_at=utc_now(),
                    sha256=blob.sha256,
                    bytes=blob.bytes,
                    files=files,
                    **dict(upload.description),
                )
            )
            held.pop_all()
        return model

    def check(
        self, file: BinaryIO, name: str, metadata: ModelMetadata, tokenizer: BinaryIO | None = None
    ) -> ModelDescription:
        """Validate an upload as `add` does, and store nothing.

        Raises:
            FaceterError: For an invalid file (see `load_model`), `INVALID_TOKENIZER`, `MODEL_NOT_RUNNABLE`,
                `METADATA_MISMATCH`.
        """
        return self._checked(file, name, metadata, tokenizer).description

    def _checked(
        self, file: BinaryIO, name: str, metadata: ModelMetadata, tokenizer: BinaryIO | None
    ) -> "_CheckedUpload":
        content = file.read(self.settings.max_model_bytes + 1)
        file_check = check_model(content, max_bytes=self.settings.max_model_bytes)
        checked = file_check.model
        inputs, outputs = input_specs(checked), output_specs(checked)
        text = None if tokenizer is None else TextModelUpload.read(tokenizer, metadata, self.settings)
        said, said_names = metadata.text, metadata.model_fields_set
        if text is None:
            refuse_without_tokenizer(metadata)
        else:
            metadata = text.completed(metadata, inputs, outputs)
        with TrialModel(self.core.engine, self.settings, content, checked) as trial:
            completed = _completed(trial, metadata, said_names)
            metadata = completed.metadata
            check_metadata(metadata, inputs, outputs)
            working_graph(checked, metadata)
            self._check_memory(checked)
            shaped = metadata
            if text is not None:
                metadata = text.checked(metadata, said, trial, self.settings)
                shaped = text.with_job_shapes(metadata, inputs)
            shapes = trial.shapes(shaped)
            _check_batches(metadata, batched=shapes.batched)
            substitutes_float32 = trial.loaded.substitutes_float32
        description = ModelDescription(
            name=name,
            metadata=metadata,
            metadata_sources=completed.sources
            | ({} if text is None else text.sources(said, metadata))
            | {f"input_shapes.{name}": "inferred" for name in shapes.inferred},
            inputs=inputs,
            outputs=outputs,
            input_shapes=shapes.chosen,
            opset=opset_of(checked),
            parameters=parameter_count(checked),
            warnings=[*upload_warnings(file_check, substitutes_float32=substitutes_float32), *completed.warnings],
        )
        return _CheckedUpload(content, text, description)

    def reading_recent(self, id: str) -> AbstractContextManager[Model]:
        """Get a model as `reading` does, from the records of the last second if it is among them.

        A model that another process deleted may be found for that second.
        """
        return reading(self._recent, id)

    def _recent(self, id: str) -> Model:
        with self._recent_lock:
            found = self._recent_records.get(id)
        if found is None:
            found = self.get(id)
            with self._recent_lock:
                self._recent_records[id] = found
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
            self._recent_records.pop(record.id, None)
        self.core.model_server.release(record)

    def _store(self, content: bytes, held: ExitStack) -> StoredBlob:
        """Store a file; it is discarded if the block of ``held`` fails."""
        blob = self.library.store_blob(content)
        held.callback(self.library.discard_blob, blob.sha256)
        return blob

    def _store_tokenizer(self, content: bytes, held: ExitStack) -> StoredFile:
        blob = self._store(content, held)
        return StoredFile(sha256=blob.sha256, bytes=blob.bytes, media_type="application/json")

    def _check_memory(self, model: onnx.ModelProto) -> None:
        """Check that no tensor of the model exceeds the memory of the session cache, before an engine allocates it."""
        most = self.settings.max_tensor_values
        for name, info in infer_shapes(model, batch=1).items():
            if (info.elements or 0) > most:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The model has a tensor of {info.elements:,} values ({name!r}); the limit of this server is "
                    f"{most:,}.",
                    field="file",
                )


def _completed(trial: TrialModel, metadata: ModelMetadata, said_names: Collection[str]) -> CompletedMetadata:
    """Return the metadata as they are understood; a size that the file says is left out if the model fails on it.

    Raises:
        FaceterError: `METADATA_MISMATCH`.
    """
    complete = partial(
        complete_metadata,
        metadata,
        trial.graph,
        input_specs(trial.graph),
        output_specs(trial.graph),
        said_names=said_names,
    )
    completed = complete()
    if not completed.size_by_file:
        return completed
    try:
        trial.shapes(completed.metadata)
    except FaceterError as error:
        alone = complete(trusts_file=False)
        warning = f"The model fails at the size that its file says, so what the file says is ignored: {error.detail}"
        return replace(alone, warnings=[warning, *alone.warnings])
    return completed


def _check_batches(metadata: ModelMetadata, *, batched: bool) -> None:
    """Check that a model for which batches are said can run several samples.

    Raises:
        FaceterError: `METADATA_MISMATCH`.
    """
    if metadata.serving is not None and (metadata.serving.max_batch_size or 1) > 1 and not batched:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            "The model cannot run several samples at once: the first axis of every input and output must be the "
            "samples, and open. Export it with a dynamic batch axis, or leave out `serving.max_batch_size`.",
            field="metadata.serving.max_batch_size",
        )
