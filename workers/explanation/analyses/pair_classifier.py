"""Runs a classifier on sentence pairs that are in no dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.models import Model, TensorSpec
from faceter.datasets.pair_lines import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.classification import probabilities as as_probabilities
from faceter.vision.metadata import class_output
from workers.host import processor_count
from workers.model_input import batch_of, filled

_PAIRS_AT_ONCE = 256


class PairClassifier:
    """A classifier of sentence pairs.

    Args:
        content: Its ONNX file.
        model: Its record.
        data: Says which ids words have.
    """

    def __init__(self, content: bytes, model: Model, data: TextPairsDataset) -> None:
        self._data = data
        self._inputs = data.inputs_of(model.inputs, cut=True)
        self._output = class_output(model.metadata, model.outputs).name
        self._batch = batch_of(model.inputs, 1)
        self._loaded = OnnxRuntimeEngine().load(content, threads=processor_count())

    def probabilities(self, pairs: Sequence[TextPair]) -> NDArray[np.float64]:
        """Return the probabilities of classes for pairs, float64 [N, K]; words that do not fit are cut off."""
        size, fixed = self._batch
        size = size if fixed else _PAIRS_AT_ONCE
        found = []
        for start in range(0, len(pairs), size):
            some = pairs[start : start + size]
            given = {
                spec.name: self._encoded([getattr(pair, side) for pair in some], spec)
                for side, spec in zip(("premise", "hypothesis"), self._inputs, strict=True)
            }
            outputs = self._loaded.run(filled(given, size) if fixed else given, [self._output])
            found.append(as_probabilities(outputs[self._output])[: len(some)])
        return np.concatenate(found)

    def _encoded(self, sentences: Sequence[Sequence[str]], spec: TensorSpec) -> NDArray[np.generic]:
        length = spec.shape[1]
        longest = length if isinstance(length, int) else max(len(words) for words in sentences)
        ids = np.zeros((len(sentences), longest), np.int64)
        for row, words in zip(ids, sentences, strict=True):
            known = [self._data.vocabulary.get(word, 1) for word in words[:longest]]
            row[: len(known)] = known
        return ids.astype(spec.dtype)
