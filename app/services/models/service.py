"""Models: validate and store an upload, list, describe, delete."""

import math
from typing import BinaryIO, Final

import numpy as np
import onnx

from app.services.records import RecordService
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.graphs import Graph
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.engines.base import Array, time_limit
from faceter.graphs import shapes
from faceter.graphs.check import load_model
from faceter.graphs.describe import describe, input_specs, output_specs, parameter_count
from faceter.graphs.view import opset_of
from faceter.resources import MODELS
from faceter.vision.metadata import check_metadata, image_input

_BYTES_PER_VALUE: Final = 4
_MAX_TEST_INPUT_VALUES: Final = 64 * 1024 * 1024


class ModelService(RecordService[Model]):
    """Manages models."""

    resource = MODELS

    def add(self, file: BinaryIO, name: str, metadata: ModelMetadata) -> Model:
        """Validate and store an upload; nothing is stored if validation fails.

        Args:
            file: The ONNX file.
            metadata: Metadata from the upload.

        Raises:
            FaceterError: For an invalid file (see `load_model`), `MODEL_NOT_RUNNABLE`, `METADATA_MISMATCH`,
                `STORAGE_FULL`.
        """
        content = file.read(self.settings.max_model_bytes + 1)
        checked = load_model(content, max_bytes=self.settings.max_model_bytes)
        inputs, outputs = input_specs(checked), output_specs(checked)
        check_metadata(metadata, inputs, outputs)
        self._check_memory(checked)
        self._test_run(content, metadata)
        blob = self.library.store_blob(content)
        try:
            return self.library.add(
                Model(
                    id=self.resource.new_id(),
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
            self.library.discard_blob(blob.sha256)
            raise

    def graph(self, id: str) -> Graph:
        """Return the graph of a model.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        with self.reading(id) as model:
            content = self.library.blobs.read(model.sha256)
        return describe(load_model(content, max_bytes=len(content)))

    def deleted(self, record: Model) -> None:
        """Close the sessions of a deleted model."""
        self.core.sessions.drop(record.sha256)

    def _check_memory(self, model: onnx.ModelProto) -> None:
        """Check that no tensor of the model exceeds the memory of the session cache, before an engine allocates it."""
        most = self.settings.session_cache_bytes // _BYTES_PER_VALUE
        for name, info in shapes.infer_shapes(model, batch=1).items():
            values = math.prod(info.static or ())
            if values > most:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The model has a tensor of {values:,} values ({name!r}); the limit of this server is {most:,}.",
                    field="file",
                )

    def _test_run(self, content: bytes, metadata: ModelMetadata) -> None:
        """Load an upload and run it once on zeros, if the input sizes are known."""
        try:
            loaded = self.core.engine.load(content, threads=self.settings.inference_threads)
        except FaceterError as error:
            raise error.at("file") from error
        try:
            zeros = _zeros(loaded.inputs, metadata)
            if zeros is None:
                return
            try:
                with time_limit(self.settings.inference_seconds) as interrupt:
                    loaded.run(zeros, interrupt=interrupt)
            except FaceterError as error:
                raise FaceterError(
                    ProblemKind.MODEL_NOT_RUNNABLE,
                    f"The model fails on zeros of its input shape: {error.detail}",
                    field="file",
                ) from error
        finally:
            loaded.close()


def _zeros(specs: list[TensorSpec], metadata: ModelMetadata) -> dict[str, Array] | None:
    """Return zeros for every input, with batch size 1; None if another size is unknown."""
    image = image_input(metadata.preprocessing, specs) if metadata.preprocessing else None
    zeros: dict[str, Array] = {}
    for spec in specs:
        shape = list(spec.shape)
        if image is not None and spec.name == image.name and metadata.preprocessing:
            shape = [shape[0] if shape else 1, metadata.preprocessing.channels, *metadata.preprocessing.size]
        if shape and not isinstance(shape[0], int):
            shape[0] = 1
        sizes = [size for size in shape if isinstance(size, int)]
        if len(sizes) < len(shape) or np.prod(sizes, dtype=float) > _MAX_TEST_INPUT_VALUES:
            return None
        zeros[spec.name] = np.full(sizes, "", object) if spec.dtype == "str" else np.zeros(sizes, spec.dtype)
    return zeros
