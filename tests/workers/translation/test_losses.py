"""The losses, against values worked out by hand."""

import math

import pytest
import torch

from workers.translation.losses import cross_entropy, discriminator_loss, l1, least_squares

SCORES = torch.tensor([[0.5, 2.0], [-1.0, 1.0]])


def test_least_squares_has_targets_one_and_zero() -> None:
    assert float(least_squares(SCORES, real=True)) == pytest.approx((0.25 + 1.0 + 4.0 + 0.0) / 4)
    assert float(least_squares(SCORES, real=False)) == pytest.approx((0.25 + 4.0 + 1.0 + 1.0) / 4)


def test_cross_entropy_is_of_logits() -> None:
    scores = torch.tensor([0.0, 2.0])
    assert float(cross_entropy(scores, real=True)) == pytest.approx((math.log(2) + math.log(1 + math.exp(-2))) / 2)
    assert float(cross_entropy(scores, real=False)) == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)


def test_a_discriminators_loss_is_halved() -> None:
    assert float(discriminator_loss(torch.tensor(0.6), torch.tensor(0.2))) == pytest.approx(0.4)


def test_l1_is_the_mean_absolute_difference() -> None:
    assert float(l1(torch.tensor([1.0, -1.0, 0.5]), torch.tensor([0.0, 1.0, 0.5]))) == pytest.approx(1.0)


def test_losses_are_computed_in_float32() -> None:
    low = SCORES.bfloat16()
    for loss in (least_squares(low, real=True), cross_entropy(low, real=False), l1(low, low * 2)):
        assert loss.dtype is torch.float32
    many = torch.full((100_000,), 0.1, dtype=torch.bfloat16)
    assert float(least_squares(many, real=False)) == pytest.approx(float(many[0]) ** 2, rel=1e-5)


def test_gradients_of_the_generator_point_towards_real() -> None:
    scores = SCORES.clone().requires_grad_(True)
    torch.autograd.backward(least_squares(scores, real=True))
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, 2 * (SCORES - 1) / 4)
