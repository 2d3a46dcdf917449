"""Class probabilities of single sentence pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.models import Model, TensorSpec
from faceter.datasets.pairs_file import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.host import processor_count
from faceter.vision.classification import probabilities as as_probabilities
from faceter.vision.metadata import class_output
from workers.model_input import inference_batch_size, pad_batch

_BATCH = 256


class PairClassifier:
    """A classifier of sentence pairs.

    Args:
        content: The ONNX file.
        model: Its record.
        data: The dataset with the vocabulary.
    """

    def __init__(self, content: bytes, model: Model, data: TextPairsDataset) -> None:
        self._data = data
        self._inputs = data.matching_inputs(model.inputs, cut=True)
        self._output = class_output(model.metadata, model.outputs).name
        self._batch = inference_batch_size(model.inputs, 1)
        self._loaded = OnnxRuntimeEngine().load(content, threads=processor_count())

    def probabilities(self, pairs: Sequence[TextPair]) -> NDArray[np.float64]:
        """Return the class probabilities of pairs, float64 [N, C]; sentences that are too long are cut off."""
        size, fixed = self._batch
        size = size if fixed else _BATCH
        probabilities = []
        for start in range(0, len(pairs), size):
            some = pairs[start : start + size]
            inputs = {
                spec.name: self._encoded([getattr(pair, side) for pair in some], spec)
                for side, spec in zip(("premise", "hypothesis"), self._inputs, strict=True)
            }
            outputs = self._loaded.run(pad_batch(inputs, size) if fixed else inputs, [self._output])
            are_probabilities = self._output in self._loaded.probability_outputs
            rows = as_probabilities(outputs[self._output], are_probabilities=are_probabilities)
            probabilities.append(rows[: len(some)])
        return np.concatenate(probabilities)

    def _encoded(self, sentences: Sequence[Sequence[str]], spec: TensorSpec) -> NDArray[np.generic]:
        length = spec.shape[1]
        longest = length if isinstance(length, int) else max(len(words) for words in sentences)
        ids = np.zeros((len(sentences), longest), np.int64)
        for row, words in zip(ids, sentences, strict=True):
            known = [self._data.vocabulary.get(word, 1) for word in words[:longest]]
            row[: len(known)] = known
        return ids.astype(spec.dtype)
