"""What `auto` spends its budget on."""

from dataclasses import replace
from typing import Any

import torch

from faceter.contracts.quantizations import QuantizationMethod
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.methods_at_work import CLASSIFIER, CPU, light, prepared_for
from workers.quantization.tuning import loop
from workers.quantization.tuning.session import Session
from workers.training.budget import Budget


def test_tuning_begins_when_there_are_inputs_enough_and_has_the_rest_of_the_budget(digits: Digits) -> None:
    network = prepared_for(digits.model, CLASSIFIER)
    request = request_for(method=QuantizationMethod.AUTO, weight_bits=2, activation_bits=2)
    found: Any = light(QuantizationMethod.AUTO)
    method = replace(found, objective=replace(found.objective, iterations=2, most_bytes=1))
    start = method.start(network, request).plan
    trainer = method.trainer(Session(network, request, CPU), start)
    tuned = loop.run(trainer, start, Budget(steps=20))
    assert [(phase.name, phase.steps) for phase in tuned.tuning.phases] == [
        ("synthesis", 2),
        ("tuning W4A4", 3),
        ("tuning W3A3", 3),
        ("tuning W2A3", 3),
        ("tuning W2A2", 9),
    ]
    assert tuned.synthetic is not None
    assert tuned.synthetic.shape == torch.Size([24, 1, 8, 8])
