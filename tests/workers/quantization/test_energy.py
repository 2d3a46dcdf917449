"""The energy estimate, added up by hand for one convolution."""

import pytest

from tests.graphs.builders import GraphBuilder
from workers.quantization.energy import estimate


def test_the_estimate_of_one_convolution() -> None:
    net = GraphBuilder(["n", 2, 4, 4], name="image")
    net.conv(3, 2, 1)
    net.add("Relu", output="y")
    model = net.build()
    macs, inputs, outputs, weights, biases = 3 * 2 * 16, 2 * 16, 3 * 16, 6, 3
    made = estimate(model, model, {"w0": 4.0}, {"image": 8, "y": 4}, {"t0"})
    before = macs * (3.7 + 0.9) + 5 * (inputs + outputs) + 640 * (weights + biases)
    assert made.before_joules == pytest.approx(before * 1e-12)
    after = (
        macs * (3.1 * 8 * 4 / 1024 + 0.1) + 5 * (inputs * 8 / 32 + outputs * 4 / 32) + 640 * (weights * 4 / 32 + biases)
    )
    assert made.after_joules == pytest.approx(after * 1e-12)


def test_an_8_bit_multiply_costs_what_was_measured() -> None:
    """Horowitz gives 0.2 pJ for an 8-bit integer multiply, 3.1 pJ for a 32-bit one."""
    assert pytest.approx(0.2, abs=0.01) == 3.1 * 8 * 8 / 1024


def test_the_assumptions_are_stated() -> None:
    net = GraphBuilder(["n", 2, 4, 4], name="image")
    net.conv(3, 2, 1)
    words = " ".join(estimate(net.build(), net.build(), {}, {}, set()).assumptions)
    assert "not a measurement" in words
    assert "640 pJ" in words
