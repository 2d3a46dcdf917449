"""Probe datasets for models with a tokenizer: one text, or one pair of texts, is one pixel.

A concept holds for a text if one of its words has it. A layer [N, units] has one activation for each text; of a layer
[N, length, units] the activation of a unit is its largest over the tokens of the words, special ones left out. So a
unit that fires at a word fires in the texts with that word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from faceter.contracts.models import Model
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import TokenSource
from faceter.explanations.formulas import Concept
from faceter.text.inputs import token_mask
from workers.explanation.probe.dataset import ConceptRange, InputPlacement, Integers, ProbeBatch, SampleConcepts
from workers.explanation.probe.pair_concepts import concepts_of_pair
from workers.explanation.probe.pair_concepts import list_concepts as list_pair_concepts
from workers.explanation.probe.text_concepts import concepts_of_text, list_text_concepts, words_of_tokens

_BATCH = 256
_ALONE = 2**20
"""Size of an input of which a batch takes one."""


class TokenizedProbeDataset:
    """A `ProbeDataset` of texts or pairs, by the tokenizer of a model.

    Args:
        data: The dataset.
        source: The tokenizer of the model.
        model: The model to run on it.
    """

    about: Literal["text"] = "text"
    grid = (1, 1)
    label_maps: tuple[ConceptRange, ...] = ()

    def __init__(self, data: TextsDataset | TextPairsDataset, source: TokenSource, model: Model) -> None:
        self._data, self._source = data, source
        self.classes: Integers | None = (
            data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None
        )
        truncated, found = 0, []
        for start in range(0, len(data), _BATCH):
            indices = range(start, min(start + _BATCH, len(data)))
            tokens = source.tokenize([data.text(index) for index in indices], words=True)
            truncated += sum(one.truncated for one in tokens)
            for index, one in zip(indices, tokens, strict=True):
                if isinstance(data, TextsDataset):
                    sample = data.samples[index]
                    found.append(list(concepts_of_text(sample, words_of_tokens(sample.text, one))))
                else:
                    found.append(list(concepts_of_pair(data.pairs[index])))
        listed = list_pair_concepts(data.pairs) if isinstance(data, TextPairsDataset) else list_text_concepts(found)
        self.concepts: list[Concept] = [Concept(name, category) for name, category in listed]
        numbers = {name: number for number, (name, _) in enumerate(listed)}
        self._numbers = [tuple(sorted(numbers[name] for name, _ in of_text)) for of_text in found]
        self.warnings: list[str] = []
        if truncated:
            self.warnings.append(f"{truncated:,} texts have more tokens than the model takes; it saw their beginning.")

    @property
    def input_size(self) -> int:
        """Values in the inputs of one text; a model without a mask gets one text at a time."""
        size = self._source.length * len(self._source.inputs.roles)
        return size if self._source.inputs.masked else max(size, _ALONE)

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Read and tokenize some texts."""
        tokens = self._source.tokenize([self._data.text(index) for index in indices])
        length, properties = self._source.inputs.length(tokens), self._source.properties
        words = token_mask(tokens, length, properties, special=False)
        empty = ~words.any(axis=1)
        words[empty] = token_mask(tokens, length, properties, special=True)[empty]
        nothing = np.zeros((0, 1), np.int64)
        concepts = [SampleConcepts(nothing, self._numbers[index]) for index in indices]
        inputs = self._source.inputs.arrays(tokens, properties, length)
        return ProbeBatch(inputs, concepts, [InputPlacement()] * len(indices), words)
