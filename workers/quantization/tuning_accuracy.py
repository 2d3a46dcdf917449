"""Accuracy on a part of the evaluation data while a network is tuned. It is shown; nothing is chosen by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from faceter.datasets.kinds import InputDataset
from faceter.datasets.samples import evenly_spaced
from workers.quantization.comparison_inputs import dataset_inputs
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.hold_out import Accuracy
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.network import QuantizedNetwork

_MAX_SAMPLES = 256

AccuracyFactory = Callable[[TuningSession], Accuracy]


def tuning_accuracy(evaluation: InputDataset | None, prepared: PreparedNetwork) -> AccuracyFactory:
    """Return a factory of the function that measures accuracy on up to 256 evenly spaced evaluation samples.

    Accuracy is None without labelled evaluation data, and for a network that does not classify.
    """

    def factory(session: TuningSession) -> Accuracy:
        logits = session.heads.logits
        samples = None if evaluation is None or logits is None else _samples(evaluation, prepared)
        if samples is None:
            return lambda network: None
        inputs, labels = samples

        @torch.no_grad()
        def accuracy(network: QuantizedNetwork) -> float | None:
            batches = torch.split(inputs, session.max_batch)
            scores = torch.cat([session.run(network, session.to_device(batch))[str(logits)] for batch in batches])
            return float((scores.argmax(-1).cpu() == labels).float().mean()) if scores.ndim == 2 else None

        return accuracy

    return factory


def _samples(evaluation: InputDataset, prepared: PreparedNetwork) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return evenly spaced samples and their labels; None without labels."""
    inputs, labels = [], []
    indices = evenly_spaced(len(evaluation), _MAX_SAMPLES)
    specs = prepared.inputs
    for batch in dataset_inputs(evaluation, "evaluation", prepared.metadata, specs, indices, lengths="exact").batches:
        if batch.labels is None:
            return None
        inputs.append(prepared.packing.pack(batch.inputs)[: batch.count])
        labels.append(np.asarray(batch.labels, np.int64))
    return torch.from_numpy(np.concatenate(inputs)), torch.from_numpy(np.concatenate(labels))
