"""Models: checking and keeping an upload, listing, describing, deleting. Nothing here knows of HTTP."""

import math
from contextlib import AbstractContextManager
from typing import BinaryIO, Final

import numpy as np
import onnx
from pydantic import Field, ValidationError

from app.http.problems import field_problems, invalid_request
from app.services.jobs.queue import JobQueue
from app.services.locks import check_unused, holding, lent
from app.services.predictions.sessions import SessionCache
from app.services.record_files import contains, file_links
from faceter.contracts.base import Contract, Page, new_id, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.graphs import Graph
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.models import Model, ModelMetadata, ModelSummary, QuantizationSummary, Task, TensorSpec
from faceter.contracts.settings import Settings
from faceter.engines.base import Array, Engine, time_limit
from faceter.graphs import shapes
from faceter.graphs.check import load_model
from faceter.graphs.describe import describe, input_specs, output_specs, parameter_count
from faceter.graphs.view import opset_of
from faceter.store.library import Library
from faceter.vision.metadata import check_metadata, image_input

_BYTES_PER_VALUE: Final = 4
_LARGEST_TRIAL_VALUES: Final = 64 * 1024 * 1024


class ModelFilter(Contract):
    """Which models to list."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["resnet"])
    """Only models whose name contains this, in upper or lower case."""
    task: Task | None = None
    """Only models for this task."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only models made from this one."""
    quantized: bool | None = None
    """Only models that were quantized here (true), or only others (false)."""

    def wants(self, model: Model) -> bool:
        """Whether a model is one of those."""
        return (
            contains(self.name, model.name)
            and (self.task is None or model.metadata.task is self.task)
            and (self.derived_from_id is None or model.derived_from_id == self.derived_from_id)
            and (self.quantized is None or (model.quantization is not None) is self.quantized)
        )


class Models:
    """The models the service keeps. Every method blocks: it is to be called in a thread.

    Args:
        library: Where they are kept.
        queue: Asked whether a job needs a model.
        sessions: Where they are loaded; told of deletions.
        engine: Tries out uploads.
        settings: Limits.
    """

    def __init__(
        self, library: Library, queue: JobQueue, sessions: SessionCache, engine: Engine, settings: Settings
    ) -> None:
        self._library = library
        self._queue = queue
        self._sessions = sessions
        self._engine = engine
        self._settings = settings

    def add(self, file: BinaryIO, name: str, metadata: ModelMetadata) -> Model:
        """Check an upload and keep it; nothing is kept of one that fails a check.

        Args:
            file: The ONNX file.
            name: What to call it.
            metadata: What was said about it.

        Raises:
            FaceterError: Whatever is wrong with the file (see `load_model`), `MODEL_NOT_RUNNABLE`, `METADATA_MISMATCH`,
                `STORAGE_FULL`.
        """
        content = file.read(self._settings.max_model_bytes + 1)
        checked = load_model(content, max_bytes=self._settings.max_model_bytes)
        inputs, outputs = input_specs(checked), output_specs(checked)
        check_metadata(metadata, inputs, outputs)
        self._check_memory(checked)
        self._try_out(content, metadata)
        blob = self._library.store_blob(content)
        try:
            return self._library.add(
                Model(
                    id=new_id("mdl"),
                    name=name,
                    created_at=utc_now(),
                    sha256=blob.sha256,
                    bytes=blob.bytes,
                    metadata=metadata,
                    inputs=inputs,
                    outputs=outputs,
                    opset=opset_of(checked),
                    parameters=parameter_count(checked),
                )
            )
        except BaseException:
            self._library.discard_blob(blob.sha256)
            raise

    def get(self, id: str) -> Model:
        """Return a model.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self._library.models.get(id)

    def page(self, limit: int, cursor: str | None, wanted: ModelFilter) -> Page[ModelSummary]:
        """Return one page of the models wanted, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self._library.models.page(limit, cursor, wanted.wants)
        return Page(items=[summary(model) for model in page.items], next_cursor=page.next_cursor)

    def graph(self, id: str) -> Graph:
        """Return what is inside a model.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        with self.using(id) as model:
            content = self._library.blobs.read(model.sha256)
        return describe(load_model(content, max_bytes=len(content)))

    def using(self, id: str) -> AbstractContextManager[Model]:
        """Lend a model for work on its file; see `app.services.locks.lent`.

        Raises:
            FaceterError: `NOT_FOUND`, also if the file is gone in the block because the model was deleted meanwhile.
        """
        return lent(self.get, id)

    def delete(self, id: str) -> None:
        """Delete a model; models made from it stay.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job needs it.
        """
        model = self.get(id)
        with holding(self._library.redis, [id]):
            check_unused(self._queue, id)
            self._library.delete(self._library.models, id)
        self._sessions.drop(model.sha256)

    def _check_memory(self, model: onnx.ModelProto) -> None:
        """Refuse a model that makes a tensor no server could hold, before an engine tries to."""
        most = self._settings.session_cache_bytes // _BYTES_PER_VALUE
        for name, info in shapes.infer(model, batch=1).items():
            values = math.prod(info.static or ())
            if values > most:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The model makes a tensor of {values:,} values ({name!r}); this server takes {most:,} at most.",
                    field="file",
                )

    def _try_out(self, content: bytes, metadata: ModelMetadata) -> None:
        """Load an upload and run it once on zeros, where its metadata and shapes say how large those are."""
        try:
            loaded = self._engine.load(content, threads=self._settings.inference_threads)
        except FaceterError as error:
            raise error.at("file") from error
        try:
            zeros = _zeros(loaded.inputs, metadata)
            if zeros is None:
                return
            try:
                with time_limit(self._settings.inference_seconds) as interrupt:
                    loaded.run(zeros, interrupt=interrupt)
            except FaceterError as error:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The model fails on zeros of its own shape: {error.detail}",
                    field="file",
                ) from error
        finally:
            loaded.close()


def _zeros(specs: list[TensorSpec], metadata: ModelMetadata) -> dict[str, Array] | None:
    """Return zeros for every input, a batch of one; None if a size other than the batch's is not known."""
    image = image_input(metadata.preprocessing, specs) if metadata.preprocessing else None
    zeros: dict[str, Array] = {}
    for spec in specs:
        shape = list(spec.shape)
        if image is not None and spec.name == image.name and metadata.preprocessing:
            shape = [shape[0] if shape else 1, metadata.preprocessing.channels, *metadata.preprocessing.size]
        if shape and not isinstance(shape[0], int):
            shape[0] = 1
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) < len(shape) or np.prod(sizes, dtype=float) > _LARGEST_TRIAL_VALUES:
            return None
        zeros[spec.name] = np.full(sizes, "", object) if spec.dtype == "str" else np.zeros(sizes, spec.dtype)
    return zeros


def parse_metadata(text: str | None) -> ModelMetadata:
    """Return the metadata of a form's field.

    Args:
        text: JSON; without it nothing is said about the model.

    Raises:
        FaceterError: `INVALID_METADATA`, with the path of each field at fault, beginning with `metadata`.
    """
    if text is None:
        return ModelMetadata()
    try:
        document = read_json(text)
    except NotJsonError as error:
        raise FaceterError(
            ProblemKind.INVALID_METADATA, f"The metadata is not JSON: {error}.", field="metadata"
        ) from error
    try:
        return ModelMetadata.model_validate(document)
    except ValidationError as error:
        raise invalid_request(
            field_problems([dict(found) for found in error.errors()], "metadata"), ProblemKind.INVALID_METADATA
        ) from error


def with_links(model: Model) -> Model:
    """Return the model with the addresses that belong to it."""
    here = f"/v1/models/{model.id}"
    links = {
        "self": here,
        "content": f"{here}/content",
        "graph": f"{here}/graph",
        "predict": f"{here}/predict",
        "quantizations": f"{here}/quantizations",
        "explanations": f"{here}/explanations",
        "units": f"{here}/units",
        "jobs": f"/v1/jobs?model_id={model.id}",
    }
    if model.derived_from_id:
        links["derived_from"] = f"/v1/models/{model.derived_from_id}"
    if model.quantization and model.quantization.tuning and model.quantization.tuning.synthetic_dataset_id:
        links["synthetic_dataset"] = f"/v1/datasets/{model.quantization.tuning.synthetic_dataset_id}"
    return model.model_copy(update={"links": {**file_links(model, here), **links}})


def summary(model: Model) -> ModelSummary:
    """Return a model as lists show it."""
    settings = model.quantization.settings if model.quantization else None
    trade_off = model.quantization.trade_off if model.quantization else None
    return ModelSummary(
        id=model.id,
        name=model.name,
        created_at=model.created_at,
        sha256=model.sha256,
        bytes=model.bytes,
        task=model.metadata.task,
        parameters=model.parameters,
        derived_from_id=model.derived_from_id,
        quantization=settings
        and QuantizationSummary(
            method=settings.method,
            weight_bits=max(trade_off.points[trade_off.chosen].bits.values()) if trade_off else settings.weight_bits,
            mixed=trade_off is not None,
            activation_bits=settings.activation_bits,
            weight_granularity=settings.weight_granularity,
        ),
        links={"self": f"/v1/models/{model.id}"},
    )
