"""Learned quantizers against the equations of LSQ and against their initial quantizers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.quantizer import Array, Quantizer, asymmetric
from tests.graphs.quantizers import symmetric
from tests.references.learned_step import gradient_of_value, step_gradient
from workers.quantization.affine import activation_quantizer, channel_weight_quantizer
from workers.quantization.tuning.student.learned_quantizer import LearnedQuantizer, rounded_bias

CHANNELS = 5
VARIED = np.array([2, 3, 8, 4, 2])


def quantizers() -> dict[str, Quantizer]:
    """Return quantizers of all kinds for a tensor [5, …] or any tensor."""
    rng = np.random.default_rng(0)
    limits = np.exp(rng.uniform(-3, 3, CHANNELS))
    return {
        "activation after ReLU": asymmetric(0.0, 3.7, 4),
        "activation of both signs": asymmetric(-1.3, 2.9, 3),
        "8 bits": asymmetric(-2.1, 0.4, 8),
        "1 level to each side": asymmetric(-1.0, 1.0, 2),
        "weight per tensor with a zero point": asymmetric(-0.2, 0.9, 4, signed=True),
        "weight per channel": channel_weight_quantizer(-limits, limits, 4),
        "weight per channel, 8 bits without −128": symmetric(limits, 8, axis=0),
        "weight per channel of varied bits": symmetric(limits, VARIED, axis=0),
        "weight per channel on the second axis": channel_weight_quantizer(-limits, limits / 2, 3, axis=1),
        "near-dead channels": Quantizer(np.array([1e-12, 1e-30, 1, 1e-3, 2]), np.zeros(5), 4, 0, signed=True),
    }


every_quantizer = pytest.mark.parametrize("name", quantizers())


def values_for(quantizer: Quantizer, seed: int, rank: int = 3, *, ties: bool = True) -> Array:
    """Return values inside and beyond what a quantizer reaches; the ends and some halfway between codes, if wanted."""
    rng = np.random.default_rng(seed)
    shape = [CHANNELS if axis == quantizer.axis else 6 for axis in range(rank)]
    spread = [-1 if axis == quantizer.axis else 1 for axis in range(rank)]
    low, high, scale = (
        np.asarray(value, np.float64).reshape(spread if value.ndim else ())
        for value in (quantizer.qmin - quantizer.zero_point, quantizer.qmax - quantizer.zero_point, quantizer.scale)
    )
    codes = rng.uniform(1.6 * low - 1, 1.6 * high + 1, shape)
    if ties:
        codes[..., 0] = np.rint(2 * codes[..., 0]) / 2
    return (codes * scale).astype(np.float32)


@every_quantizer
@settings(max_examples=10, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_forward_equals_the_initial_quantizer_bit_for_bit(name: str, seed: int) -> None:
    quantizer = quantizers()[name]
    x = values_for(quantizer, seed)
    learned = LearnedQuantizer(quantizer, x.ndim)
    np.testing.assert_array_equal(learned(torch.from_numpy(x)).detach().numpy(), quantizer.fake(x))


@every_quantizer
def test_gradients_are_those_of_the_paper(name: str) -> None:
    quantizer = quantizers()[name]
    x = values_for(quantizer, 1, ties=False)
    upstream = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    learned = LearnedQuantizer(quantizer, x.ndim)
    values = torch.from_numpy(x).requires_grad_(True)
    learned(values).backward(torch.from_numpy(upstream))

    axis = 0 if quantizer.axis is None else quantizer.axis
    rows, pulls = (np.moveaxis(item, axis, 0) for item in (x.astype(np.float64), upstream.astype(np.float64)))
    if quantizer.axis is None:
        rows, pulls = rows.reshape(1, -1), pulls.reshape(1, -1)
    scales = np.atleast_1d(quantizer.scale).astype(np.float64)
    lows, highs = (
        np.broadcast_to(np.atleast_1d(code - quantizer.zero_point), scales.shape)
        for code in (quantizer.qmin, quantizer.qmax)
    )
    widest = max(np.abs(lows).max(), np.abs(highs).max())
    expected = []
    passed = np.empty_like(rows)
    for index, scale in enumerate(scales):
        low, high = int(lows[index]), int(highs[index])
        own = math.sqrt(max(abs(low), abs(high), 1) / widest)
        expected.append(own * step_gradient(rows[index], pulls[index], float(scale), low, high))
        for place in np.ndindex(rows[index].shape):
            passed[index][place] = pulls[index][place] * gradient_of_value(rows[index][place], scale, low, high)
    assert learned.step.grad is not None
    np.testing.assert_allclose(learned.step.grad.reshape(-1), expected, rtol=2e-4, atol=1e-5)
    assert values.grad is not None
    found = values.grad.numpy() if quantizer.axis is None else np.moveaxis(values.grad.numpy(), axis, 0)
    np.testing.assert_allclose(found.reshape(passed.shape), passed, rtol=1e-6)


def test_a_learned_step_reaches_the_least_error() -> None:
    """Descent along the gradient of LSQ finds the step that a search finds."""
    weights = np.random.default_rng(0).laplace(size=(1, 512)).astype(np.float32)
    start = channel_weight_quantizer(weights.min(axis=1), weights.max(axis=1), 3)
    learned = LearnedQuantizer(start, 2)
    optimizer = torch.optim.Adam([learned.step], lr=0.01)
    x = torch.from_numpy(weights)
    for _ in range(150):
        optimizer.zero_grad()
        (learned(x) - x).square().mean().backward()
        optimizer.step()

    def error(scale: Array) -> float:
        return float(np.square(replace(start, scale=scale).fake(weights) - weights).mean())

    least = min(error(start.scale * np.float32(share)) for share in np.linspace(0.1, 1, 200))
    assert error(learned.quantizer().scale) < 1.02 * least < 0.8 * error(start.scale)


def test_straight_through_trains_values_alone() -> None:
    quantizer = asymmetric(-1.0, 1.0, 3)
    fixed = LearnedQuantizer(quantizer, 1, learned=False)
    x = torch.tensor([-5.0, -0.3, 0.4, 9.0], requires_grad=True)
    fixed(x).backward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert fixed.step.grad is None
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 0.0]


@every_quantizer
def test_without_training_the_initial_quantizer_is_returned(name: str) -> None:
    quantizer = quantizers()[name]
    back = LearnedQuantizer(quantizer, 4).quantizer()
    np.testing.assert_array_equal(back.scale, quantizer.scale)
    np.testing.assert_array_equal(back.zero_point, quantizer.zero_point)
    assert (back.scale.dtype.name, back.zero_point.dtype.name) == ("float32", "int32")
    assert (back.bits, back.axis, back.signed) == (quantizer.bits, quantizer.axis, quantizer.signed)
    assert (back.channel_bits is None) == (quantizer.channel_bits is None)
    if back.channel_bits is not None:
        np.testing.assert_array_equal(back.channel_bits, VARIED)


@every_quantizer
def test_the_returned_quantizer_has_the_learned_step(name: str) -> None:
    learned = LearnedQuantizer(quantizers()[name], 3)
    with torch.no_grad():
        learned.step.mul_(1.7)
    x = values_for(quantizers()[name], 3)
    np.testing.assert_array_equal(learned(torch.from_numpy(x)).detach().numpy(), learned.quantizer().fake(x))


def test_a_negative_step_is_clamped() -> None:
    learned = LearnedQuantizer(asymmetric(-1.0, 1.0, 4), 1)
    with torch.no_grad():
        learned.step.fill_(-0.3)
    x = torch.linspace(-2, 2, 9)
    assert torch.isfinite(learned(x)).all()
    assert float(learned.quantizer().scale) > 0


@every_quantizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_format_and_dtype_are_kept_and_change_nothing(name: str, dtype: torch.dtype) -> None:
    quantizer = quantizers()[name]
    x = torch.from_numpy(values_for(quantizer, 4, rank=4)).to(dtype)
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    made = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        learned = LearnedQuantizer(quantizer, 4)
        values = x.clone(memory_format=memory_format).requires_grad_(True)
        out = learned(values)
        out.backward(upstream)
        assert out.dtype is dtype
        assert out.is_contiguous(memory_format=memory_format)
        assert values.grad is not None
        assert learned.step.grad is not None
        made.append((out.detach(), values.grad, learned.step.grad))
    torch.testing.assert_close(made[0][:2], made[1][:2], rtol=0, atol=0)
    torch.testing.assert_close(made[0][2], made[1][2], rtol=1e-4, atol=1e-6)
    expected = torch.from_numpy(quantizer.fake(x.float().numpy())).to(dtype)
    torch.testing.assert_close(made[0][0], expected, rtol=0, atol=0)


def test_a_bias_is_rounded_as_exported_with_a_straight_through_gradient() -> None:
    from faceter.graphs.quantization_plan import BiasQuantizer

    source = LearnedQuantizer(activation_quantizer(-1.0, 2.0, 3), 0)
    limits = np.array([0.5, 2.0, 0.01])
    for start in (channel_weight_quantizer(-limits, limits, 2), asymmetric(-1.0, 0.7, 4, signed=True)):
        weight = LearnedQuantizer(start, 4)
        bias = torch.tensor([0.31, -7.77, 1e6], requires_grad=True)
        made = rounded_bias(bias, source, weight)
        scale = source.quantizer().scale * weight.quantizer().scale
        expected = BiasQuantizer("layer", "bias", scale).fake(bias.detach().numpy())
        np.testing.assert_array_equal(made.detach().numpy(), expected)
        assert np.abs(expected - bias.detach().numpy())[0] > 0.01, "which is felt"
        torch.autograd.backward(made, torch.tensor([1.0, 2.0, 3.0]))
        assert bias.grad is not None
        assert bias.grad.tolist() == [1.0, 2.0, 3.0]
        assert weight.step.grad is None
