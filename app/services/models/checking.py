"""Checking an uploaded model: what it is, and whether it runs. It runs what it was sent; see `check_process`."""

import io
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import onnx

from app.services.models.text_upload import TextModelUpload, refuse_without_tokenizer
from app.services.models.trial import TrialModel
from app.services.models.upload_warnings import upload_warnings
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelDescription, ModelMetadata
from faceter.contracts.settings import Settings
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.check import check_model
from faceter.graphs.describe import input_specs, output_specs, parameter_count
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import opset_of
from faceter.graphs.working import working_graph
from faceter.vision.completion import CompletedMetadata, complete_metadata
from faceter.vision.metadata import check_metadata


@dataclass(frozen=True)
class ModelUpload:
    """What is sent to make a model of."""

    content: bytes
    """The ONNX file."""
    name: str
    """Name of the model."""
    metadata: ModelMetadata
    """Metadata from the upload."""
    tokenizer: bytes | None = None
    """The file `tokenizer.json` of a text model."""


def described(upload: ModelUpload, settings: Settings) -> ModelDescription:
    """Check an upload, load and run the model, and return what was understood of it.

    Raises:
        FaceterError: For an invalid file (see `load_model`), `INVALID_TOKENIZER`, `MODEL_NOT_RUNNABLE`,
            `METADATA_MISMATCH`.
    """
    file_check = check_model(upload.content, max_bytes=settings.max_model_bytes)
    checked = file_check.model
    inputs, outputs = input_specs(checked), output_specs(checked)
    metadata = upload.metadata
    text = None if upload.tokenizer is None else TextModelUpload.read(io.BytesIO(upload.tokenizer), metadata, settings)
    said, said_names = metadata.text, metadata.model_fields_set
    if text is None:
        refuse_without_tokenizer(metadata)
    else:
        metadata = text.completed(metadata, inputs, outputs)
    with TrialModel(OnnxRuntimeEngine(), settings, upload.content, checked) as trial:
        completed = _completed(trial, metadata, said_names)
        metadata = completed.metadata
        check_metadata(metadata, inputs, outputs)
        working_graph(checked, metadata)
        _check_memory(checked, settings.max_tensor_values)
        shaped = metadata
        if text is not None:
            metadata = text.checked(metadata, said, trial, settings)
            shaped = text.with_job_shapes(metadata, inputs)
        shapes = trial.shapes(shaped)
        _check_batches(metadata, batched=shapes.batched)
        substitutes_float32 = trial.loaded.substitutes_float32
    return ModelDescription(
        name=upload.name,
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


def _check_memory(model: onnx.ModelProto, most: int) -> None:
    """Check that no tensor of the model exceeds the memory of the session cache, before an engine allocates it."""
    for name, info in infer_shapes(model, batch=1).items():
        if (info.elements or 0) > most:
            raise FaceterError(
                ProblemKind.MODEL_NOT_RUNNABLE,
                f"The model has a tensor of {info.elements:,} values ({name!r}); the limit of this server is {most:,}.",
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
