"""Mean and variance of channels, and their gradient, against torch's own in float64."""

import pytest
import torch
from torch import Tensor

from workers.quantization.tuning.channel_moments import channel_moments


@pytest.mark.parametrize(
    ("shape", "channels_last"),
    [
        ((6, 3), False),
        ((4, 3, 7), False),
        ((4, 3, 5, 6), False),
        ((4, 3, 5, 6), True),
        ((2, 3, 2, 3, 2), False),
        ((1, 3, 1, 1), True),
    ],
)
def test_moments_and_their_gradient(shape: tuple[int, ...], channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(shape, generator=generator) * 3 + 2
    weights = torch.randn(2, 3, generator=generator)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    for made, dtype in ((found, torch.float32), (expected, torch.float64)):
        x = values.to(dtype)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        x = x.clone().requires_grad_(True)
        mean, variance = channel_moments(x) if made is found else slow(x)
        torch.autograd.backward((mean * weights[0]).sum() + (variance * weights[1]).sum())
        assert x.grad is not None
        made += [mean.detach(), variance.detach(), x.grad]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype is torch.float32
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def slow(x: Tensor) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(x.ndim) if axis != 1]
    return x.mean(axes), x.var(axes, correction=0)


def test_moments_of_bfloat16_are_float32() -> None:
    x = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    mean, variance = channel_moments(x)
    assert mean.dtype is variance.dtype is torch.float32
    torch.testing.assert_close(mean.double(), slow(x.double())[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance.double(), slow(x.double())[1], rtol=1e-4, atol=1e-5)


def test_a_constant_channel_has_no_variance_and_its_gradient_is_finite() -> None:
    x = torch.full((8, 2, 3), 1000.1, requires_grad=True)
    mean, variance = channel_moments(x)
    assert (variance >= 0).all()
    torch.autograd.backward(variance.add(1e-8).sqrt().sum())
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(mean.detach(), torch.full((2,), 1000.1))
