"""Accuracy on a part of the evaluation data while a network is tuned, for people to see and for nothing else."""

from __future__ import annotations

import numpy as np
import torch

from faceter.datasets.kinds import InputDataset
from faceter.datasets.samples import spread
from workers.quantization.data import data_comparison
from workers.quantization.prepared import Prepared
from workers.quantization.tuned import AccuracyOf
from workers.quantization.tuning.loop import Accuracy
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.session import Session

_MOST_SAMPLES = 256


def accuracy_probe(data: InputDataset | None, prepared: Prepared) -> AccuracyOf:
    """Return what makes the function that measures accuracy on up to 256 samples, spread over the evaluation data.

    Args:
        data: The evaluation data; None if there are none, and then accuracy is None.
        prepared: The network.
    """

    def of(session: Session) -> Accuracy:
        logits = session.heads.logits
        found = None if data is None or logits is None else _samples(data, prepared)
        if found is None:
            return lambda network: None
        inputs, labels = found

        @torch.no_grad()
        def accuracy(network: QuantizedNetwork) -> float | None:
            parts = torch.split(inputs, session.most)
            scores = torch.cat([session.run(network, session.arranged(part))[str(logits)] for part in parts])
            return float((scores.argmax(-1).cpu() == labels).float().mean()) if scores.ndim == 2 else None

        return accuracy

    return of


def _samples(data: InputDataset, prepared: Prepared) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return samples spread over the data and their labels; None if there are no labels."""
    inputs, labels = [], []
    chosen = spread(len(data), _MOST_SAMPLES)
    for sample in data_comparison(data, "evaluation", prepared.metadata, prepared.inputs, chosen).batches:
        if sample.labels is None:
            return None
        inputs.append(np.asarray(sample.inputs[prepared.inputs[0].name])[: sample.count])
        labels.append(np.asarray(sample.labels, np.int64))
    return torch.from_numpy(np.concatenate(inputs)), torch.from_numpy(np.concatenate(labels))
