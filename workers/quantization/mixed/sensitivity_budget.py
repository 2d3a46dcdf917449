"""Measuring sensitivity within a fraction of a run's time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.graphs.describe import output_specs
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.vision.metadata import class_output
from workers.model_input import Batch, fixed_batch_size
from workers.onnx_module import OnnxModule
from workers.quantization.mixed.sensitivity import (
    ALL_BITS,
    MAX_BATCH,
    MAX_SAMPLES,
    Sensitivities,
    measure_sensitivities,
)
from workers.quantization.mixed.settings import AllocationSettings
from workers.quantization.observation import as_tensors
from workers.quantization.packed_inputs import InputPacking
from workers.quantization.tuning.run_sequence import RunSequence
from workers.quantization.tuning.session import TuningSession

_MIN_SAMPLES = 16


def sensitivities_within_budget(
    session: TuningSession,
    base: QuantizationPlan,
    batches: Sequence[Batch],
    runs: RunSequence,
    settings: AllocationSettings,
) -> Sensitivities:
    """Return the sensitivity of every weight at 2 to 8 bits.

    It is measured on 16 to 256 inputs, as many as its fraction of the time allows, and is part of the checkpoint.

    Args:
        base: Plan of the network.
        runs: The budget.
    """
    saved = runs.saved
    if "divergence" not in saved:
        measured = measure_sensitivities(
            base,
            batches,
            classes=_class_output(session),
            max_samples=_max_samples(session, base, batches[0], runs, settings),
            progress=runs.untrained_phase("sensitivity", settings.sensitivity),
        )
        saved["divergence"] = {name: dict(by_bits) for name, by_bits in measured.divergence.items()}
        saved["together"] = dict(measured.together)
        saved["samples"] = measured.samples
    return Sensitivities(saved["divergence"], {}, saved["together"], saved["samples"])


def sensitivity_batches(inputs: NDArray[np.float32], packing: InputPacking) -> list[Batch]:
    """Return up to 256 inputs in batches of 64, or of the model's fixed batch size, padded by repetition.

    Args:
        inputs: Packed, [N, …].
        packing: How the model's inputs were packed.
    """
    fixed = fixed_batch_size(packing.specs)
    size = fixed or MAX_BATCH
    count = min(len(inputs), MAX_SAMPLES)
    if fixed is not None:
        count = max(count // fixed, 1) * fixed
    rows = np.resize(inputs, (count, *inputs.shape[1:]))
    return [packing.unpack(rows[start : start + size]) for start in range(0, count, size)]


def _class_output(session: TuningSession) -> str | None:
    if session.heads.logits is None:
        return None
    return class_output(session.prepared.metadata, output_specs(session.prepared.model)).name


def _max_samples(
    session: TuningSession, base: QuantizationPlan, batch: Batch, runs: RunSequence, settings: AllocationSettings
) -> int:
    limit = runs.budget.limit_seconds
    if runs.stop_requested():
        return _MIN_SAMPLES
    if limit is None:
        return MAX_SAMPLES
    network = OnnxModule(base.model).to(session.device)
    inputs = as_tensors(batch, session.device)
    with torch.inference_mode():
        network(inputs)
        began = time.monotonic()
        network(inputs)
    one = max(time.monotonic() - began, 1e-6) / len(next(iter(batch.values())))
    passes = (len(base.weights) + 1) * len(ALL_BITS)
    return int(np.clip(settings.sensitivity * limit / (passes * one), _MIN_SAMPLES, MAX_SAMPLES))
