"""The inputs of a run with a target: to measure sensitivity on, to tune on, to measure accuracy on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from workers.quantization.auto import Automatic
from workers.quantization.comparison_inputs import HeldOutInputs
from workers.quantization.ft import FineTuning
from workers.quantization.mixed.sensitivity import MAX_SAMPLES
from workers.quantization.mixed.settings import AllocationSettings
from workers.quantization.observation import as_array
from workers.quantization.tuning.inputs.synthesis_trainer import SynthesisTrainer
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.run_sequence import RunSequence
from workers.quantization.tuning.session import TuningSession

_MAX_HELD_OUT = 1024


@dataclass(frozen=True)
class SearchInputs:
    """Inputs by their use.

    Args:
        path: Where they come from, for the report.
        tuning: Inputs to tune on, [N, …]; a method that generates its own does not use them.
        sensitivity: Inputs to measure sensitivity on, [M, …].
        held_out: Inputs to measure accuracy on and nothing else; None if none were held out.
        generated: All generated inputs; None if none were generated.
    """

    path: str
    tuning: Tensor
    sensitivity: NDArray[np.float32]
    held_out: HeldOutInputs | None
    generated: Tensor | None


def search_inputs(
    method: TunedMethod,
    session: TuningSession,
    base: QuantizationPlan,
    runs: RunSequence,
    settings: AllocationSettings,
    *,
    hold_out: bool,
) -> SearchInputs:
    """Return the calibration data for `ft`, else inputs generated as by `auto` in the first part of the budget.

    Generated inputs are mixed in pairs to measure sensitivity and accuracy on: on each alone the float network is
    confident, and nearly any quantized network agrees.

    Args:
        base: Plan of the rounded network.
        runs: The budget; generated inputs are part of its checkpoint.
        hold_out: Whether to hold out inputs: every fourth of those tuned on, else every second.
    """
    generated = None
    if isinstance(method, FineTuning):
        path = "the calibration data"
        inputs = torch.from_numpy(session.prepared.tuning_inputs())
    else:
        path, generated = _generate(method, session, base, runs, settings)
        inputs = generated
    random = session.random("inputs to measure on")
    held_out = None
    if hold_out:
        is_held_out = torch.arange(len(inputs)) % (4 if isinstance(method, Automatic | FineTuning) else 2) == 0
        chosen = inputs[is_held_out][:_MAX_HELD_OUT]
        if generated is None:
            held_out = HeldOutInputs(as_array(chosen), "calibration")
        else:
            held_out = HeldOutInputs(as_array(session.augment(chosen, random, mixup=1.0)), "synthetic")
        inputs = inputs if is_held_out.all() else inputs[~is_held_out]
    sensitivity = inputs[:MAX_SAMPLES]
    if generated is not None:
        sensitivity = session.augment(sensitivity, random, mixup=1.0)
    return SearchInputs(path, inputs, as_array(sensitivity), held_out, generated)


def _generate(
    method: TunedMethod, session: TuningSession, base: QuantizationPlan, runs: RunSequence, settings: AllocationSettings
) -> tuple[str, Tensor]:
    assert session.space is not None
    automatic = method if isinstance(method, Automatic) else Automatic()
    student = session.student(base, learned_steps=False)
    trainer = SynthesisTrainer(session, session.space, student, automatic.synthesis)
    if "inputs" not in runs.saved:
        runs.run(trainer, base, settings.synthesis if isinstance(method, Automatic) else settings.inputs)
        runs.saved["inputs"] = trainer.synthetic()
    return trainer.path, session.to_device(runs.saved["inputs"])
