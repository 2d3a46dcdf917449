"""Rounding and tuning a network by one method at fixed bits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.quantizations import QuantizationRequest, Tuning
from workers.host import compute_device
from workers.quantization.auto import Automatic
from workers.quantization.comparison_inputs import HeldOutInputs
from workers.quantization.ft import FineTuning
from workers.quantization.method import MethodResult
from workers.quantization.observation import as_array
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.fit import fit
from workers.quantization.tuning.fused_kernels import compiled_kernels
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning_accuracy import AccuracyFactory
from workers.quantization.tuning_budget import budget_of, is_worth_compiling
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks


def tune(
    method: TunedMethod,
    prepared: PreparedNetwork,
    request: QuantizationRequest,
    callbacks: Callbacks,
    accuracy: AccuracyFactory,
    budget: Budget | None = None,
    start: MethodResult | None = None,
) -> OptimizedNetwork:
    """Round the network and tune it until its budget is spent.

    Args:
        request: Bits, seed and, if ``budget`` is not given, minutes or steps.
        accuracy: Returns the function that measures accuracy on a part of the evaluation data; shown only.
        start: The rounded network; the method's own if not given.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``, ``OUT_OF_MEMORY``, ``TUNING_DIVERGED``.
    """
    method.check(prepared)
    budget = budget or budget_of(request)
    start = start or method.start(prepared, request)
    device = compute_device()
    with compiled_kernels(is_worth_compiling(budget), device) as is_compiled:
        session = TuningSession(prepared, request, device)
        if isinstance(method, Automatic | FineTuning):
            session.share(callbacks.replicas, method.batch)
        else:  # generators normalize over their batch, and a half of it has other statistics
            callbacks.replicas.join(1)
        trainer = method.trainer(session, start.plan)
        tuned = fit(trainer, start.plan, budget, callbacks, accuracy(session))
    source: Literal["calibration", "synthetic"] = "calibration" if tuned.synthetic is None else "synthetic"
    return OptimizedNetwork(
        plan=tuned.plan,
        warnings=[*start.warnings, *_warnings(tuned.tuning)],
        tuning=tuned.tuning.model_copy(update={"compiled": is_compiled}),
        curves=tuple(tuned.curves),
        synthetic=None if tuned.synthetic is None else as_array(tuned.synthetic),
        labels=None if tuned.synthetic is None else teacher_classes(session, tuned.synthetic),
        held_out=None if tuned.held_out is None else HeldOutInputs(as_array(tuned.held_out), source),
    )


def teacher_classes(session: TuningSession, inputs: torch.Tensor) -> NDArray[np.int64] | None:
    """Return the float network's class for each input, [N]; None if it does not classify."""
    logits = session.heads.logits
    if logits is None:
        return None
    batches = torch.split(inputs, session.max_batch)
    scores = torch.cat([session.teacher_outputs(session.to_device(batch))[logits] for batch in batches])
    return scores.argmax(-1).cpu().numpy() if scores.ndim == 2 else None


def _warnings(tuning: Tuning) -> list[str]:
    if tuning.kept_step == 0:
        return ["Tuning found nothing better than rounding alone on held-out inputs; the rounded network was kept."]
    return []
