"""Agreement of the embeddings of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.text import TextProcessing
from faceter.text.embeddings import embed
from workers.input_batch import Batch


@dataclass
class EmbeddingAgreement:
    """Sums the cosine similarity of embeddings, batch by batch.

    Args:
        processing: How outputs become embeddings.
    """

    processing: TextProcessing
    cosines: float = 0.0
    samples: int = 0

    @classmethod
    def of(cls, metadata: ModelMetadata) -> EmbeddingAgreement | None:
        """Return the agreement of a model's embeddings; None if it gives none."""
        if metadata.task is not Task.TEXT_EMBEDDING or metadata.text is None:
            return None
        return cls(metadata.text)

    def add(self, inputs: Batch, outputs: Sequence[NDArray[np.generic]], count: int) -> None:
        """Add the outputs of both models for one batch.

        Args:
            inputs: The batch.
            outputs: Of the original and of the quantized model, [B, …].
            count: Number of rows that count.
        """
        mask = self._mask(inputs)
        first, second = (
            embed(values[:count], mask[:count], self.processing).reshape(count, -1).astype(np.float64)
            for values in outputs
        )
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        self.cosines += float(((first * second).sum(axis=1) / np.where(norms > 0, norms, 1)).sum())
        self.samples += count

    def mean(self) -> float:
        """Return the mean cosine similarity."""
        return float(np.clip(self.cosines / max(self.samples, 1), -1, 1))

    def _mask(self, inputs: Batch) -> NDArray[np.bool_]:
        mask = inputs.get(self.processing.attention_mask or "")
        if mask is not None:
            return np.asarray(np.asarray(mask) != 0, np.bool_)
        return np.ones(np.shape(inputs[self.processing.input_ids or next(iter(inputs))]), np.bool_)
