"""The inputs of a run with a target: what layers are weighed on, what is tuned on, what is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.graphs.qdq import QuantizationPlan
from workers.quantization.auto import Automatic
from workers.quantization.ft import FineTuning
from workers.quantization.mixed.assignment import with_weight_bits
from workers.quantization.mixed.sensitivity import MOST_SAMPLES
from workers.quantization.mixed.shares import Shares
from workers.quantization.observation import as_array
from workers.quantization.tuning.augmentation import augment
from workers.quantization.tuning.making import InputMaker
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.parts import Parts
from workers.quantization.tuning.session import Session

_MOST_HELD_OUT = 1024

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class Gathered:
    """Inputs by what they are for.

    Args:
        path: Where they come from, for the report.
        tuning: What is tuned on or, where a method makes its own, nothing but weighed on; [N, …].
        weighing: What layers are weighed on, [M, …]: some of these.
        held_out: What is measured on and nothing else, [K, …]; None if nothing was set apart.
        made: All of them, if they were made.
    """

    path: str
    tuning: Tensor
    weighing: Inputs
    held_out: Inputs | None
    made: Tensor | None


def gather(
    method: TunedMethod,
    session: Session,
    base: QuantizationPlan,
    parts: Parts,
    shares: Shares,
    *,
    hold_out: bool,
) -> Gathered:
    """Return the calibration data for `ft`, else inputs made as `auto` makes them, in a first part of the budget.

    Inputs that were made are mixed, two and two, to be weighed and measured on: the float network is sure of each by
    itself, and so nearly any network agrees.

    Args:
        method: Which is to tune.
        session: Has the float network.
        base: Has its quantizers; where there is no BatchNorm inputs are sought on which it errs at few bits.
        parts: The budget; what was made survives an interruption.
        shares: How it is spent.
        hold_out: Whether to set inputs apart to measure on: every fourth of what is tuned on, else every other.
    """
    if isinstance(method, FineTuning):
        path, made = "the calibration data", None
        inputs = torch.from_numpy(session.prepared.tuning_inputs())
    else:
        path, made = _made(method, session, base, parts, shares)
        inputs = made
    random, images = session.random("inputs to measure on"), session.space is not None and session.space.images
    held_out = None
    if hold_out:
        apart = torch.arange(len(inputs)) % (4 if isinstance(method, Automatic | FineTuning) else 2) == 0
        chosen = inputs[apart][:_MOST_HELD_OUT]
        held_out = as_array(chosen if made is None else augment(chosen, random, images=images, mixed=1.0))
        inputs = inputs if apart.all() else inputs[~apart]
    weighing = inputs[:MOST_SAMPLES]
    if made is not None:
        weighing = augment(weighing, random, images=images, mixed=1.0)
    return Gathered(path, inputs, as_array(weighing), held_out, made)


def _made(
    method: TunedMethod, session: Session, base: QuantizationPlan, parts: Parts, shares: Shares
) -> tuple[str, Tensor]:
    assert session.space is not None
    few = with_weight_bits(base, dict.fromkeys(base.weights, shares.adversary_bits))
    settings = method if isinstance(method, Automatic) else Automatic()
    adversary = session.student(few, learned_steps=False)
    maker = InputMaker(session, session.space, adversary, settings.objective)
    if "inputs" not in parts.kept:
        parts.run(maker, few, shares.synthesis if isinstance(method, Automatic) else shares.inputs)
        parts.kept["inputs"] = maker.synthetic()
    return maker.path, session.arranged(parts.kept["inputs"])
