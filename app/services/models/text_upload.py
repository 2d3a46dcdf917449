"""The tokenizer of an uploaded model: what it adds to the metadata, and runs that show that both fit together."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

import onnx

from app.services.models.trial import TrialModel
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import MetadataSource, ModelMetadata, Task, TensorSpec
from faceter.contracts.settings import Settings
from faceter.contracts.text import TextProcessing
from faceter.graphs.describe import input_specs
from faceter.graphs.shapes import infer_shapes, largest_tensor
from faceter.text.inputs import TEXT_FIELD, TokenInputs, find_token_inputs, job_shapes
from faceter.text.metadata import complete_text_processing, text_sources
from faceter.text.tokenizer import Text, TokenizedText, Tokenizer, TokenizerProperties

FIELD: Final = "tokenizer"
"""The part of the upload."""

_SAMPLE: Final = "A text of a few words, 1 2 3."
_SAMPLE_LENGTH: Final = 8
"""Tokens of the sample, which any model takes."""
_SHORTER: Final = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class TextModelUpload:
    """A tokenizer with the model it was uploaded with."""

    content: bytes
    """The file."""
    properties: TokenizerProperties
    """What it says of itself."""
    sample: TokenizedText
    """A text, or for a classifier of pairs a pair, as tokens."""

    @classmethod
    def read(cls, file: BinaryIO, metadata: ModelMetadata, settings: Settings) -> "TextModelUpload":
        """Load the tokenizer of an upload, in a process of its own.

        Raises:
            FaceterError: ``INVALID_TOKENIZER`` on the field `tokenizer`.
        """
        content = file.read(settings.max_tokenizer_bytes + 1)
        if len(content) > settings.max_tokenizer_bytes:
            raise FaceterError(
                ProblemKind.INVALID_TOKENIZER,
                f"The tokenizer is larger than {settings.max_tokenizer_bytes:,} bytes, the limit of this server.",
                field=FIELD,
            )
        pair = metadata.task is Task.TEXT_PAIR_CLASSIFICATION
        text: Text = (_SAMPLE, _SAMPLE) if pair else _SAMPLE
        try:
            with closing(Tokenizer(content, seconds=settings.inference_seconds)) as tokenizer:
                return cls(content, tokenizer.properties, tokenizer.tokenize([text], _SAMPLE_LENGTH)[0])
        except FaceterError as error:
            raise FaceterError(ProblemKind.INVALID_TOKENIZER, error.detail, field=FIELD) from error

    def completed(
        self, metadata: ModelMetadata, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> ModelMetadata:
        """Return the metadata with everything that is known of texts.

        Raises:
            FaceterError: ``METADATA_MISMATCH``.
        """
        processing = complete_text_processing(metadata, inputs, outputs, self.properties)
        return metadata.model_copy(update={"text": processing})

    def sources(self, said: TextProcessing | None, metadata: ModelMetadata) -> dict[str, MetadataSource]:
        """Return where the metadata about texts come from; see `text_sources`."""
        return {} if metadata.text is None else text_sources(said, metadata.text, self.properties)

    def with_job_shapes(self, metadata: ModelMetadata, inputs: Sequence[TensorSpec]) -> ModelMetadata:
        """Return the metadata with shapes at which jobs run the model, where nobody said them and sizes are open."""
        if metadata.text is None or metadata.input_shapes:
            return metadata
        return metadata.model_copy(update={"input_shapes": job_shapes(metadata.text, inputs) or None})

    def checked(
        self,
        metadata: ModelMetadata,
        said: TextProcessing | None,
        trial: TrialModel,
        settings: Settings,
    ) -> ModelMetadata:
        """Run the model on a text, on the tokenizer's largest id and at the maximum length.

        Args:
            metadata: Completed.
            said: What the upload said of texts.
            trial: The model.
            settings: Limits.

        Returns:
            The metadata; a maximum length that nobody said is lowered to one at which the model runs.

        Raises:
            FaceterError: ``MODEL_NOT_RUNNABLE`` on the field at fault.
        """
        processing = metadata.text
        assert processing is not None
        assert processing.max_length is not None
        found = find_token_inputs(processing, input_specs(trial.graph))
        self._run(trial, found, self.sample, "The model fails on a text: {}", FIELD)
        largest = replace(self.sample, ids=[self.properties.largest_id] * len(self.sample.ids))
        reason = (
            f"The tokenizer has ids up to {self.properties.largest_id:,}, and the model fails on them: {{}} Upload "
            "the tokenizer that the model was trained with."
        )
        self._run(trial, found, largest, reason, FIELD)
        length = self._longest(trial, found, processing.max_length, said, settings)
        return metadata.model_copy(update={"text": processing.model_copy(update={"max_length": length})})

    def _longest(
        self,
        trial: TrialModel,
        found: TokenInputs,
        length: int,
        said: TextProcessing | None,
        settings: Settings,
    ) -> int:
        """Return the maximum length: as said, or the longest of a few at which the model runs."""
        if found.fixed_length is not None:
            return length
        given = said is not None and said.max_length is not None
        lengths = [length] if given else [length, *(shorter for shorter in _SHORTER if shorter < length)]
        for tried in lengths:
            _check_memory(trial.graph, found, tried, settings)
            text = TokenizedText([self.sample.ids[0]] * tried, [0] * tried, [False] * tried, False, [])
            try:
                reason = f"The model fails at a `max_length` of {tried:,} tokens: {{}} Give a smaller one."
                self._run(trial, found, text, reason, f"{TEXT_FIELD}.max_length")
            except FaceterError:
                if tried == lengths[-1]:
                    raise
            else:
                return tried
        return length

    def _run(self, trial: TrialModel, found: TokenInputs, text: TokenizedText, reason: str, field: str) -> None:
        if found.fixed_length is not None and len(text.ids) > found.fixed_length:
            text = TokenizedText(
                text.ids[: found.fixed_length], text.types[: found.fixed_length], text.special, False, []
            )
        rows = found.ids.shape[0] if isinstance(found.ids.shape[0], int) else 1
        inputs = found.arrays([text] * rows, self.properties)
        try:
            trial.run(inputs)
        except FaceterError as error:
            raise FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, reason.format(error.detail), field=field) from error


def refuse_without_tokenizer(metadata: ModelMetadata) -> None:
    """Check that metadata about texts come with a tokenizer.

    Raises:
        FaceterError: ``METADATA_MISMATCH``.
    """
    if metadata.text is not None:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            "The metadata say how texts become inputs, which takes a tokenizer. Upload it with the model "
            "(curl: -F tokenizer=@tokenizer.json), or leave `text` out.",
            field=TEXT_FIELD,
        )


def _check_memory(graph: onnx.ModelProto, found: TokenInputs, length: int, settings: Settings) -> None:
    """Check that no tensor exceeds the memory of the session cache, as for an upload's batch of one."""
    most = settings.max_tensor_values
    shapes = {spec.name: (1, length) for spec in found.roles.values()}
    largest = largest_tensor(infer_shapes(graph, inputs=shapes))
    if largest > most:
        raise FaceterError(
            ProblemKind.MODEL_NOT_RUNNABLE,
            f"At a `max_length` of {length:,} tokens the model has a tensor of {largest:,} values; the limit of this "
            f"server is {most:,}. Give a smaller one.",
            field=f"{TEXT_FIELD}.max_length",
        )
