"""Networks whose channels differ much in range are equalized before tuning; others are not."""

import numpy as np
import pytest

from faceter.contracts.quantizations import QuantizationMethod
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import Digits, accuracy, outputs_of, prepared_for, request_for, served
from workers.quantization.equalization_choice import equalize_if_better
from workers.quantization.methods import tuned_methods
from workers.quantization.tune import tune
from workers.training.callbacks import Callbacks

AUTO = tuned_methods[QuantizationMethod.AUTO]


@pytest.mark.parametrize("bits", [2, 4])
def test_a_badly_scaled_network_is_equalized_and_computes_the_same(digits: Digits, bits: int) -> None:
    prepared = prepared_for(digits.badly_scaled)
    even, notes = equalize_if_better(prepared, request_for(weight_bits=bits, activation_bits=bits), AUTO.start)
    assert even is not prepared
    assert len(notes) == 1
    assert "equalized" in notes[0]
    before, after = (outputs_of(item.model, digits.images) for item in (prepared, even))
    np.testing.assert_allclose(after, before, atol=1e-3 * np.abs(before).max())
    assert even.statistics.keys() == prepared.statistics.keys()
    moved = [n for n in even.statistics if not np.allclose(even.statistics[n].gamma, prepared.statistics[n].gamma)]
    assert moved, "statistics are those of the equalized network"


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_well_scaled_network_is_not_equalized(digits: Digits, bits: int) -> None:
    prepared = prepared_for(digits.model)
    even, notes = equalize_if_better(prepared, request_for(weight_bits=bits, activation_bits=bits), AUTO.start)
    assert even is prepared
    assert notes == []


def test_a_network_without_pairs_is_not_equalized() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    net.conv(4, 3)
    prepared = prepared_for(net.build())
    assert equalize_if_better(prepared, request_for(), AUTO.start) == (prepared, [])


@pytest.mark.parametrize("method", tuned_methods)
def test_published_methods_do_not_equalize(method: QuantizationMethod) -> None:
    assert tuned_methods[method].equalizes == (method in (QuantizationMethod.AUTO, QuantizationMethod.FT))


def test_auto_tunes_a_badly_scaled_network_at_4_bits(digits: Digits) -> None:
    """Without equalization it ends at chance: small channels have no codes at all, and no gradient finds any."""
    whole = accuracy(outputs_of(digits.badly_scaled, digits.images), digits.classes)
    request = request_for(method="auto", weight_bits=4, activation_bits=4, max_steps=120)
    scores = []
    as_it_came = prepared_for(digits.badly_scaled)
    even, _ = equalize_if_better(as_it_came, request, AUTO.start)
    for prepared in (as_it_came, even):
        made = tune(AUTO, prepared, request, Callbacks(), lambda session: lambda network: None)
        scores.append(accuracy(served(made.plan, digits.images), digits.classes))
    assert scores[0] < 0.5
    assert scores[1] > whole - 0.05
