"""Distillation losses against hand-made examples."""

import math

import numpy as np
import pytest
import torch

from workers.quantization.tuning.student.heads import Heads
from workers.quantization.tuning.student.losses import (
    agreement,
    feature_divergence,
    kl_divergence,
    output_divergence,
    relative_error,
)


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).log()


def test_kl_divergence_of_two_hand_made_distributions() -> None:
    """KL = Σ p log(p / q), the mean of two samples; any constant added to the scores of a sample changes nothing."""
    teacher, student = logits((0.5, 0.5), (0.9, 0.1)), logits((0.25, 0.75), (0.9, 0.1))
    first = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(kl_divergence(teacher, student)) == pytest.approx(first / 2, rel=1e-5)
    assert float(kl_divergence(teacher + 7, student - 3)) == pytest.approx(first / 2, rel=1e-5)
    assert float(kl_divergence(teacher, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(kl_divergence(student, teacher)) != pytest.approx(first / 2, rel=1e-2)


def test_kl_divergence_of_dense_scores_is_the_mean_over_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(3, 4, 5, generator=generator) for _ in range(2))
    flat = kl_divergence(teacher.reshape(12, 5), student.reshape(12, 5))
    torch.testing.assert_close(kl_divergence(teacher, student), flat)


def test_relative_error_is_scale_invariant() -> None:
    teacher, student = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.5]])
    assert float(relative_error(teacher, student)) == pytest.approx(0.25 / 25)
    assert float(relative_error(1000 * teacher, 1000 * student)) == pytest.approx(0.25 / 25, rel=1e-5)
    assert float(relative_error(teacher, teacher)) == 0
    assert math.isfinite(float(relative_error(torch.zeros(1, 2), student)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("teacher_learns", [False, True])
def test_the_gradient_of_the_relative_error_is_that_of_its_formula(dtype: torch.dtype, teacher_learns: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(2, 3, 4, 5, generator=generator).to(dtype) for _ in range(2))
    student = student.contiguous(memory_format=torch.channels_last)
    found = []
    for formula in (relative_error, lambda p, q: (q - p).square().sum() / p.square().sum()):
        values = teacher.detach().clone().requires_grad_(teacher_learns), student.detach().clone().requires_grad_(True)
        formula(*values).backward()
        found.append([value.grad for value in values if value.grad is not None])
    assert len(found[0]) == len(found[1]) == 1 + teacher_learns
    for made, wanted in zip(*found, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-5 if dtype is torch.float32 else 0.05, atol=1e-4)


def test_errors_of_bfloat16_are_measured_in_float32() -> None:
    teacher, student = torch.full((1, 1000), 1.0), torch.full((1, 1000), 1.25)
    assert relative_error(teacher.bfloat16(), student.bfloat16()).dtype is torch.float32
    assert float(relative_error(teacher.bfloat16(), student.bfloat16())) == pytest.approx(0.0625)
    assert kl_divergence(teacher.bfloat16(), student.bfloat16()).dtype is torch.float32


def test_output_divergence_is_the_mean_over_heads() -> None:
    heads = Heads("scores", ("boxes", "mask"))
    teacher = {"scores": logits((0.5, 0.5)), "boxes": torch.tensor([[300.0, 400]]), "mask": torch.tensor([[1.0]])}
    student = {"scores": logits((0.2, 0.8)), "boxes": torch.tensor([[300.0, 450]]), "mask": torch.tensor([[1.5]])}
    kl = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    expected = (2500 / 250_000 + 0.25 + kl) / 3
    assert float(output_divergence(heads, teacher, student)) == pytest.approx(expected, rel=1e-5)
    only = Heads(None, ("mask",))
    assert float(output_divergence(only, teacher, student)) == pytest.approx(0.25)


def test_feature_divergence_is_the_mean_over_tensors_or_zero() -> None:
    teacher = {"a": torch.tensor([[2.0]]), "b": torch.tensor([[10.0]])}
    student = {"a": torch.tensor([[3.0]]), "b": torch.tensor([[10.0]])}
    assert float(feature_divergence(["a", "b"], teacher, student)) == pytest.approx(0.125)
    assert float(feature_divergence([], teacher, student)) == 0


def test_agreement_of_classes_is_top_1_agreement() -> None:
    heads = Heads("scores", ("boxes",))
    teacher = {"scores": torch.tensor([[1.0, 2], [3, 1], [0, 9], [5, 4]]), "boxes": torch.zeros(4)}
    student = {"scores": torch.tensor([[8.0, 9], [1, 3], [0, 1], [9, 0]]), "boxes": torch.ones(4)}
    assert agreement(heads, teacher, student) == 0.75


@pytest.mark.parametrize(
    ("values", "expected"), [([3.0, 4.0], 1.0), ([3.0, 4.5], 0.9), ([-3.0, -4.0], 0.0), ([math.nan, 1], 0.0)]
)
def test_agreement_of_other_outputs_is_one_minus_the_relative_error(values: list[float], expected: float) -> None:
    teacher = {"boxes": torch.tensor([[3.0, 4.0]])}
    assert agreement(Heads(None, ("boxes",)), teacher, {"boxes": torch.tensor([values])}) == pytest.approx(expected)


def test_losses_have_gradients_for_the_student_alone() -> None:
    student = torch.tensor([[1.0, 2.0]], requires_grad=True)
    torch.autograd.backward(output_divergence(Heads("y", ()), {"y": torch.tensor([[2.0, 1.0]])}, {"y": student}))
    assert student.grad is not None
    probabilities = np.exp([1, 2]) / np.exp([1, 2]).sum()
    wanted = np.exp([2, 1]) / np.exp([2, 1]).sum()
    np.testing.assert_allclose(student.grad[0], probabilities - wanted, rtol=1e-5)
