"""Weighing the layers of a network within a share of a run's time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from faceter.contracts.models import TensorSpec
from faceter.graphs.describe import output_specs
from faceter.graphs.qdq import QuantizationPlan
from faceter.vision.metadata import class_output
from workers.model_input import Batch
from workers.network import OnnxModule
from workers.quantization.mixed.inputs import Inputs
from workers.quantization.mixed.sensitivity import ALL_BITS, MOST_AT_ONCE, MOST_SAMPLES, Sensitivities, sensitivities
from workers.quantization.mixed.shares import Shares
from workers.quantization.observation import as_tensors
from workers.quantization.tuning.parts import Parts
from workers.quantization.tuning.session import Session

_FEWEST_SAMPLES = 16


def weigh(
    session: Session, base: QuantizationPlan, batches: Sequence[Batch], parts: Parts, shares: Shares
) -> Sensitivities:
    """Return the sensitivity of every weight at 2 to 8 bits; what is measured survives an interruption.

    It is measured on up to 256 inputs: as many as its share of the time allows, but 16 at least.

    Args:
        session: Has the float network.
        base: Has its quantizers.
        batches: Inputs.
        parts: The budget.
        shares: How it is spent.
    """
    kept = parts.kept
    if "divergence" not in kept:
        found = sensitivities(
            base,
            batches,
            classes=_classes(session),
            most_samples=_most_samples(session, base, batches[0], parts, shares),
            progress=parts.aside("sensitivity", shares.weighing),
        )
        kept["divergence"] = {name: dict(by_bits) for name, by_bits in found.divergence.items()}
        kept["together"] = dict(found.together)
        kept["samples"] = found.samples
    return Sensitivities(kept["divergence"], {}, kept["together"], kept["samples"])


def batches_of(inputs: Inputs, spec: TensorSpec) -> list[Batch]:
    """Return up to 256 inputs in batches of 64, or of the size that the model fixes, filled up if need be.

    Args:
        inputs: [N, …].
        spec: The model's input.
    """
    fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
    size = fixed or MOST_AT_ONCE
    count = min(len(inputs), MOST_SAMPLES)
    if fixed is not None:
        count = max(count // fixed, 1) * fixed
    rows = np.resize(inputs, (count, *inputs.shape[1:])).astype(spec.dtype)
    return [{spec.name: rows[start : start + size]} for start in range(0, count, size)]


def _classes(session: Session) -> str | None:
    if session.heads.logits is None:
        return None
    return class_output(session.prepared.metadata, output_specs(session.prepared.model)).name


def _most_samples(session: Session, base: QuantizationPlan, batch: Batch, parts: Parts, shares: Shares) -> int:
    limit = parts.budget.limit_seconds
    if parts.stop_requested():
        return _FEWEST_SAMPLES
    if limit is None:
        return MOST_SAMPLES
    network = OnnxModule(base.model).to(session.device)
    inputs = as_tensors(batch, session.device)
    with torch.inference_mode():
        network(inputs)
        began = time.monotonic()
        network(inputs)
    one = max(time.monotonic() - began, 1e-6) / len(next(iter(batch.values())))
    passes = (len(base.weights) + 1) * len(ALL_BITS)
    return int(np.clip(shares.weighing * limit / (passes * one), _FEWEST_SAMPLES, MOST_SAMPLES))
