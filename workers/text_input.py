"""Datasets of texts as batches of a model's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.datasets.samples import evenly_spaced
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.tokenized import TokenizableDataset, TokenSource
from workers.input_batch import InputBatch

TextLengths = Literal["own", "equal", "exact"]
"""Number of tokens of batches of texts: of the longest text of each batch, of the longest of all, or of the shapes at
which the model is run, to which texts are truncated."""


_TOKENIZED = 256


@dataclass(frozen=True)
class TextInput:
    """Texts as the inputs of a model with a tokenizer.

    Args:
        data: The texts.
        source: The tokenizer.
        lengths: How long batches are.
        length: Number of tokens to truncate or pad to if lengths are `exact`.
    """

    data: TokenizableDataset
    source: TokenSource
    lengths: TextLengths = "own"
    length: int | None = None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one sample by input: of the longest of some texts, unless lengths are exact."""
        length = (self.length if self.lengths == "exact" else None) or self._typical_length
        return {spec.name: (length,) for spec in self.source.inputs.roles.values()}

    @cached_property
    def _typical_length(self) -> int:
        some = evenly_spaced(len(self.data), _TOKENIZED)
        return self.source.inputs.length(self.source.tokenize([self.data.text(index) for index in some]))

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        """Yield batches of ``size`` samples; of one each if lengths are their own and the model has no mask."""
        alone = self.lengths == "own" and not self.source.inputs.masked
        length = self._common_length(size, indices)
        for chosen in _batches(1 if alone else size, indices):
            texts = [self.data.text(index) for index in chosen]
            yield InputBatch(self.source.arrays(texts, length), np.asarray(chosen, np.int64))

    def _common_length(self, size: int, indices: Sequence[int]) -> int | None:
        """Return the number of tokens of all batches; None if each has its own."""
        if self.lengths == "own":
            return None
        if self.lengths == "exact" and self.length is not None:
            return self.length
        longest = 1
        for chosen in _batches(size, indices):
            tokens = self.source.tokenize([self.data.text(index) for index in chosen])
            longest = max(longest, self.source.inputs.length(tokens))
        return longest


@dataclass(frozen=True)
class WordPairInput:
    """Pairs of texts as the two inputs of a model whose words are numbered by the dataset's vocabulary.

    Args:
        data: The pairs.
        premise: The input for premises.
        hypothesis: The input for hypotheses.
    """

    data: TextPairsDataset
    premise: TensorSpec
    hypothesis: TensorSpec

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one sample by input."""
        return {
            spec.name: (spec.shape[1] if isinstance(spec.shape[1], int) else longest,)
            for spec, longest in zip((self.premise, self.hypothesis), self.data.longest, strict=True)
        }

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        """Yield batches of ``size`` pairs."""
        first, second = (self.shapes[spec.name][0] for spec in (self.premise, self.hypothesis))
        for chosen in _batches(size, indices):
            premises, hypotheses = self.data.encoded(chosen, first, second)
            inputs = {
                self.premise.name: premises.astype(self.premise.dtype, copy=False),
                self.hypothesis.name: hypotheses.astype(self.hypothesis.dtype, copy=False),
            }
            yield InputBatch(inputs, np.asarray(chosen, np.int64))


def as_text_input(
    data: TokenizableDataset, inputs: Sequence[TensorSpec], lengths: TextLengths = "own"
) -> TextInput | WordPairInput:
    """Return a dataset of texts as the inputs of a model.

    Args:
        data: The texts, with the model's tokenizer if it has one.
        inputs: The inputs, with the shapes at which the model is run. Pairs of a vocabulary are truncated to these.
        lengths: How long batches of a model with a tokenizer are.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model has no tokenizer and takes no word ids.
    """
    source = data.token_source
    if source is not None:
        length = next(spec.shape[1] for spec in inputs if spec.name == source.inputs.ids.name)
        return TextInput(data, source, lengths, length if isinstance(length, int) else None)
    if isinstance(data, TextPairsDataset):
        return WordPairInput(data, *data.matching_inputs(inputs, cut=True))
    raise FaceterError(
        ProblemKind.DATASET_MISMATCH,
        "Texts become inputs of a model by its tokenizer, and this model has none. Upload it again with its "
        "tokenizer.json.",
    )


def truncation_warnings(data: TokenizableDataset, inputs: Sequence[TensorSpec]) -> list[str]:
    """Return a warning if texts are longer than a model takes, so that it sees their beginning.

    Args:
        data: The texts, with the model's tokenizer if it has one.
        inputs: The model's inputs.
    """
    if data.token_source is not None:
        texts = (data.token_source.tokenize([data.text(index) for index in chosen]) for chosen in _all(data))
        count = sum(one.truncated for tokens in texts for one in tokens)
    elif isinstance(data, TextPairsDataset):
        count = len({one.pair for one in data.too_long_for(data.matching_inputs(inputs, cut=True))})
    else:
        count = 0
    return [f"{count:,} texts are longer than its inputs; the model saw their beginning."] if count else []


def _all(data: TokenizableDataset) -> Iterator[Sequence[int]]:
    return _batches(_TOKENIZED, range(len(data)))


def _batches(size: int, indices: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), size):
        yield indices[start : start + size]
