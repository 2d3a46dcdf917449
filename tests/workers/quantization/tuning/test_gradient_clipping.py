import pytest
import torch
from torch import nn

from workers.quantization.tuning.gradient_clipping import clip_gradient
from workers.quantization.tuning.schedules import cosine_decay, set_learning_rate, step_decay


def weights() -> list[nn.Parameter]:
    first, second = nn.Parameter(torch.tensor([3.0, 0.0])), nn.Parameter(torch.tensor([[4.0]]))
    first.grad, second.grad = torch.tensor([0.0, 6.0]), torch.tensor([[8.0]])
    return [first, second]


def test_a_large_gradient_is_clipped_relative_to_the_weights() -> None:
    """‖w‖ = 5 and ‖g‖ = 10; a share of 0.2 lets 1 pass."""
    made = weights()
    assert clip_gradient(made, 0.2).item() == pytest.approx(10)
    assert made[0].grad is not None
    assert made[1].grad is not None
    assert made[0].grad.tolist() == pytest.approx([0, 0.6])
    assert made[1].grad.tolist() == [pytest.approx([0.8])]


def test_a_small_gradient_is_unchanged() -> None:
    made = weights()
    clip_gradient(made, 2.5)
    assert made[0].grad is not None
    assert made[0].grad.tolist() == pytest.approx([0, 6])


def test_parameters_without_gradients_are_accepted() -> None:
    assert clip_gradient([nn.Parameter(torch.ones(2))], 0.1).item() == 0


def test_schedules() -> None:
    assert [step_decay(f, (0.25, 0.5)) for f in (0, 0.24, 0.25, 0.7)] == pytest.approx([1, 1, 0.1, 0.01])
    assert [cosine_decay(f) for f in (-1, 0, 0.5, 1, 2)] == pytest.approx([1, 1, 0.5, 0, 0])
    optimizer = torch.optim.SGD(weights(), lr=1.0)
    set_learning_rate(optimizer, 0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3
