"""Datasets of texts, and their samples as the inputs of a model with a tokenizer."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, Task
from faceter.contracts.text import DEFAULT_MAX_LENGTH
from faceter.datasets.reader import DatasetReader
from faceter.text.inputs import TokenInputs, find_token_inputs
from faceter.text.tokenizer import TOKENIZER, Text, TokenizedText, Tokenizer, TokenizerProperties


@dataclass(frozen=True)
class TokenSource:
    """A tokenizer with the model that takes its tokens."""

    tokenizer: Tokenizer
    """Closed together with the dataset that uses it."""
    inputs: TokenInputs
    """The inputs of the model."""
    max_length: int
    """Maximum number of tokens of a sample."""

    @classmethod
    def of(cls, model: Model, read: Callable[[str], bytes], *, seconds: float) -> Self | None:
        """Return the tokenizer of a model; None if it has none.

        Args:
            model: The model.
            read: Returns a stored file by its SHA-256.
            seconds: Time limit of tokenizing a batch.
        """
        processing, file = model.metadata.text, model.files.get(TOKENIZER)
        if processing is None or file is None:
            return None
        inputs = find_token_inputs(processing, model.inputs)
        tokenizer = Tokenizer(read(file.sha256), seconds=seconds)
        return cls(tokenizer, inputs, processing.max_length or DEFAULT_MAX_LENGTH)

    @property
    def properties(self) -> TokenizerProperties:
        """What the tokenizer says of itself."""
        return self.tokenizer.properties

    @property
    def length(self) -> int:
        """Number of tokens of the longest input."""
        return self.inputs.fixed_length or self.max_length

    def tokenize(self, texts: Sequence[Text], *, words: bool = False) -> list[TokenizedText]:
        """Return the tokens of some texts, at most `max_length` each; see `Tokenizer.tokenize`."""
        return self.tokenizer.tokenize(texts, self.max_length, words=words)

    def arrays(self, texts: Sequence[Text], length: int | None = None) -> dict[str, NDArray[Any]]:
        """Return some texts as the model's inputs.

        Args:
            texts: N texts.
            length: Number of tokens that all are truncated or padded to; by default that of the longest.
        """
        tokens = self.tokenizer.tokenize(texts, self.max_length if length is None else min(length, self.max_length))
        return self.inputs.arrays(tokens, self.properties, length)


class TokenizableDataset(DatasetReader):
    """A dataset of texts or pairs of texts, which a model's tokenizer turns into its inputs."""

    token_source: TokenSource | None = None
    """The tokenizer of the model that the dataset is for; None if it has none."""

    classes: list[str]
    """Names of the classes, sorted; empty if the samples are not labelled."""

    def use_tokenizer(self, source: TokenSource | None) -> None:
        """Use the tokenizer of a model; it is closed with the dataset."""
        self.token_source = source

    def close(self) -> None:
        """Close the tokenizer."""
        if self.token_source is not None:
            self.token_source.tokenizer.close()

    @abstractmethod
    def text(self, index: int) -> Text:
        """Return a text or a pair."""

    @abstractmethod
    def sample_labels(self, model_labels: Sequence[str] | None) -> NDArray[np.int64] | None:
        """Return the class of each sample in the order of the model's labels, int64 [N]; None without labels.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """

    def class_positions(self) -> NDArray[np.int64] | None:
        """Return the position of each sample's class in ``classes``, int64 [N]; None without labels."""
        return self.sample_labels(None)

    def labels_for(self, model_labels: Sequence[str] | None) -> NDArray[np.int64] | None:
        """Return what `sample_labels` returns."""
        return self.sample_labels(model_labels)


def use_tokenizer_of(data: DatasetReader, model: Model, read: Callable[[str], bytes], *, seconds: float) -> None:
    """Let a dataset of texts use the tokenizer of a model; other datasets are left as they are.

    Args:
        data: The dataset, which closes the tokenizer.
        model: The model.
        read: Returns a stored file by its SHA-256.
        seconds: Time limit of tokenizing a batch.
    """
    if isinstance(data, TokenizableDataset):
        data.use_tokenizer(TokenSource.of(model, read, seconds=seconds))


def validate_texts_for(model: Model, *, pairs: bool) -> None:
    """Check that a model takes texts, or pairs of texts, by its tokenizer.

    Raises:
        FaceterError: ``DATASET_MISMATCH``.
    """
    task = model.metadata.task
    what = "Pairs of texts" if pairs else "Texts"
    if TOKENIZER not in model.files or model.metadata.text is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"{what} become inputs of a model by its tokenizer, and {model.id} has none. Upload it again with its "
            "tokenizer.json (curl: -F tokenizer=@tokenizer.json).",
        )
    if pairs and task in (Task.TEXT_CLASSIFICATION, Task.TEXT_EMBEDDING):
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The task of {model.id} is {task}, which takes single texts. Give a dataset of kind texts.",
        )
    if not pairs and task is Task.TEXT_PAIR_CLASSIFICATION:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The task of {model.id} is {task}, which takes pairs. Give a dataset of kind text_pairs.",
        )
