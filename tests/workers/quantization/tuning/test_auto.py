"""Phases of `auto`."""

from dataclasses import replace
from typing import Any

import torch

from faceter.contracts.quantizations import QuantizationMethod
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import CLASSIFIER, CPU, light, prepared_for
from workers.quantization.tuning.fit import fit
from workers.quantization.tuning.session import TuningSession
from workers.training.budget import Budget


def test_tuning_begins_when_synthesis_is_full_and_gets_the_rest_of_the_budget(digits: Digits) -> None:
    network = prepared_for(digits.model, CLASSIFIER)
    request = request_for(method=QuantizationMethod.AUTO, weight_bits=2, activation_bits=2)
    found: Any = light(QuantizationMethod.AUTO)
    method = replace(found, synthesis=replace(found.synthesis, iterations=2, max_bytes=1))
    start = method.start(network, request).plan
    trainer = method.trainer(TuningSession(network, request, CPU), start)
    tuned = fit(trainer, start, Budget(steps=20))
    assert [(phase.name, phase.steps) for phase in tuned.tuning.phases] == [
        ("synthesis", 2),
        ("tuning W4A4", 3),
        ("tuning W3A3", 3),
        ("tuning W2A3", 3),
        ("tuning W2A2", 9),
    ]
    assert tuned.synthetic is not None
    assert tuned.synthetic.shape == torch.Size([24, 1, 8, 8])
