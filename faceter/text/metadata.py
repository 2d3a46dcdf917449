"""Completes what a model's metadata say about text, and checks it against inputs, outputs and tokenizer."""

from collections.abc import Sequence

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import MetadataSource, ModelMetadata, Task, TensorSpec
from faceter.contracts.text import DEFAULT_MAX_LENGTH, Pooling, TextProcessing
from faceter.text.inputs import TEXT_FIELD, TokenInputs, find_token_inputs
from faceter.text.tokenizer import TokenizerProperties


def complete_text_processing(
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    properties: TokenizerProperties,
) -> TextProcessing:
    """Return how texts become inputs, with everything that the metadata leave out.

    Args:
        metadata: Given on upload.
        inputs: The model's inputs.
        outputs: The model's outputs.
        properties: Of the tokenizer uploaded with the model.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` on the field at fault.
    """
    said = metadata.text or TextProcessing()
    found = find_token_inputs(said, inputs)
    length = _max_length(said, found, properties)
    pooling = _pooling(metadata, said, outputs) if metadata.task is Task.TEXT_EMBEDDING else said.pooling
    names = {role: spec.name for role, spec in found.roles.items()}
    return said.model_copy(update={**names, "max_length": length, "pooling": pooling})


def text_sources(
    said: TextProcessing | None, completed: TextProcessing, properties: TokenizerProperties
) -> dict[str, MetadataSource]:
    """Return where `text` and those of its parts that are from elsewhere come from.

    Args:
        said: Given on upload.
        completed: What is stored.
        properties: Of the tokenizer, which may say the maximum length.
    """
    given = set() if said is None else {name for name in said.model_fields_set if getattr(said, name) is not None}
    whole = MetadataSource.INFERRED if said is None else MetadataSource.SAID
    parts = {
        f"text.{name}": MetadataSource.SAID if name in given else MetadataSource.INFERRED
        for name in TextProcessing.model_fields
        if getattr(completed, name) is not None and (name in given or name != "normalize")
    }
    if "max_length" not in given and completed.max_length == properties.max_length:
        parts["text.max_length"] = MetadataSource.FILE
    return {"text": whole} | {name: source for name, source in parts.items() if source is not whole}


def _max_length(said: TextProcessing, found: TokenInputs, properties: TokenizerProperties) -> int:
    fixed = found.fixed_length
    if said.max_length is None:
        length = min(properties.max_length or DEFAULT_MAX_LENGTH, DEFAULT_MAX_LENGTH)
        return length if fixed is None else min(length, fixed)
    if fixed is not None and said.max_length > fixed:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"`max_length` is {said.max_length}, but the input {found.ids.name!r} takes {fixed} tokens.",
            field=f"{TEXT_FIELD}.max_length",
        )
    return said.max_length


def _pooling(metadata: ModelMetadata, said: TextProcessing, outputs: Sequence[TensorSpec]) -> Pooling:
    output = next((spec for spec in outputs if spec.name == metadata.output), outputs[0])
    rank = len(output.shape)
    if rank not in (2, 3) and output.shape:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"An embedding comes from an output [N, length, size] or [N, size], but {output.name!r} has {rank} axes. "
            "Name another as `output`.",
            field="metadata.output",
        )
    pooling = said.pooling or (Pooling.MODEL if rank == 2 else Pooling.MEAN)
    if output.shape and (pooling is Pooling.MODEL) != (rank == 2):
        needed = "[N, size]" if pooling is Pooling.MODEL else "[N, length, size]"
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The pooling {pooling} needs an output {needed}, but {output.name!r} has {rank} axes. Leave `pooling` "
            "out, or name another `output`.",
            field=f"{TEXT_FIELD}.pooling",
        )
    return pooling
