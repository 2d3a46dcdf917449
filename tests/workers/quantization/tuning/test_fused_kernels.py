"""Fused kernels: results in any memory format, eager and compiled."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from faceter.graphs.quantizer import asymmetric
from tests.graphs.quantizers import symmetric
from workers.host import compiler
from workers.quantization.tuning import fused_kernels as module
from workers.quantization.tuning.channel_moments import channel_moments
from workers.quantization.tuning.fused_kernels import (
    channel_rows,
    channel_sums,
    compiled_kernels,
    dense_like,
    error_and_power,
    fake_quantize,
    flatten_dense,
    kernels,
    lsq_elementwise_gradients,
    lsq_gradients,
    lsq_row_gradients,
    scale_and_shift,
    scaled_difference,
    unflatten_dense,
)
from workers.quantization.tuning.student.learned_quantizer import LearnedQuantizer
from workers.quantization.tuning.student.losses import relative_error

CPU = torch.device("cpu")
STEP, LOW, HIGH = (torch.tensor(value) for value in (0.37, -2.0, 5.0))

torch_warns_of_itself = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@dtypes
def test_fake_quantize_computes_in_float32_and_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = drawn(200, dtype=dtype)
    made = fake_quantize(x, STEP, LOW, HIGH)
    values = x.float().numpy()
    expected = np.clip(np.rint(values / np.float32(0.37)), -2, 5) * np.float32(0.37)
    assert made.dtype is dtype
    torch.testing.assert_close(made, torch.from_numpy(expected).to(dtype), rtol=0, atol=0)


@dtypes
def test_gradients_are_one_inside_the_clamp_and_sum_up_in_float32(dtype: torch.dtype) -> None:
    x, upstream = drawn(300, dtype=dtype), drawn(300, dtype=dtype, seed=1)
    passed, total = lsq_gradients(upstream, x, STEP, LOW, HIGH)
    by_value, products = lsq_elementwise_gradients(upstream, x, STEP, LOW, HIGH)
    codes = x.double() / 0.37
    inside = (codes >= -2) & (codes <= 5)
    torch.testing.assert_close(passed, torch.where(inside, upstream, 0), rtol=0, atol=0)
    torch.testing.assert_close(by_value, passed, rtol=0, atol=0)
    slopes = torch.where(inside, codes.round() - codes, codes.clamp(-2, 5))
    torch.testing.assert_close(products.double(), upstream.double() * slopes, rtol=1e-4, atol=1e-5)
    assert total.dtype is torch.float32
    assert float(total) == pytest.approx(float((upstream.double() * slopes).sum()), rel=1e-4)


@dtypes
def test_columns_are_summed_and_scaled(dtype: torch.dtype) -> None:
    rows = drawn(64, 5, dtype=dtype)
    total, squares = channel_sums(rows)
    torch.testing.assert_close(total.double(), rows.double().sum(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(squares.double(), rows.double().square().sum(0), rtol=1e-5, atol=1e-5)
    factor, shift = drawn(5, seed=2), drawn(5, seed=3)
    made = scale_and_shift(rows, factor, shift)
    assert made.dtype is dtype
    torch.testing.assert_close(made, (rows.float() * factor + shift).to(dtype), rtol=0, atol=0)


@dtypes
def test_gradients_by_row_are_those_of_each_row_by_itself(dtype: torch.dtype) -> None:
    x, upstream = drawn(3, 50, dtype=dtype), drawn(3, 50, dtype=dtype, seed=1)
    steps = torch.tensor([[0.2], [0.37], [1.1]])
    passed, totals = lsq_row_gradients(upstream, x, steps, LOW, HIGH)
    assert totals.shape == steps.shape
    for row in range(3):
        by_value, total = lsq_gradients(upstream[row], x[row], steps[row, 0], LOW, HIGH)
        assert torch.equal(passed[row], by_value)
        torch.testing.assert_close(totals[row, 0], total)


@dtypes
def test_squares_and_differences_are_summed_in_float32(dtype: torch.dtype) -> None:
    student, teacher = drawn(500, dtype=dtype), drawn(500, dtype=dtype, seed=1)
    error, power = error_and_power(student, teacher)
    assert float(error) == pytest.approx(float((student.double() - teacher.double()).square().sum()), rel=1e-5)
    assert float(power) == pytest.approx(float(teacher.double().square().sum()), rel=1e-5)
    made = scaled_difference(student, teacher, torch.tensor(0.5))
    assert torch.equal(made, ((student.float() - teacher.float()) * 0.5).to(dtype))


def test_channel_rows_need_one_step_per_entry_of_the_first_axis() -> None:
    x = drawn(4, 3, 2, 2)
    for values in (x, x.contiguous(memory_format=torch.channels_last)):
        lines = channel_rows(values, torch.ones(4, 1, 1, 1))
        assert lines is not None
        assert lines.data_ptr() == values.data_ptr(), "no copy"
        assert all(set(lines[i].tolist()) == set(values[i].flatten().tolist()) for i in range(4))
    assert channel_rows(x, torch.ones(1, 3, 1, 1)) is None
    assert channel_rows(x, torch.ones(())) is None


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 1, 5, 6), (3, 4, 1, 1), (7, 4), (2, 3, 9), (2, 3, 4, 2, 2), ()])
def test_unflatten_dense_inverts_flatten_dense(shape: tuple[int, ...]) -> None:
    x = drawn(*shape)
    for values in [x] if x.ndim != 4 else [x, x.contiguous(memory_format=torch.channels_last)]:
        line = flatten_dense(values)
        assert line.ndim == 1
        assert line.data_ptr() == values.data_ptr(), "no copy"
        back = unflatten_dense(line, values)
        assert torch.equal(back, values)
        assert back.stride() == values.stride()


def test_gradients_are_converted_to_the_memory_format() -> None:
    x = drawn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    upstream = drawn(2, 3, 4, 5, seed=1)
    arranged = dense_like(upstream, x)
    assert torch.equal(arranged, upstream)
    assert torch.equal(unflatten_dense(flatten_dense(arranged), x), upstream)
    sliced = drawn(2, 3, 4, 8)[:, :, :, ::2]
    assert torch.equal(unflatten_dense(flatten_dense(sliced), sliced), sliced)
    assert dense_like(x, sliced).is_contiguous()


def results() -> list[Tensor]:
    """Return what every kernel computes, in both dtypes and memory formats, and at several sizes."""
    made = []
    quantizer = asymmetric(-0.8, 1.9, 4)
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((2, 3, 4, 5), (4, 8, 6, 6)):
            for memory_format in (torch.contiguous_format, torch.channels_last):
                x = drawn(*shape, dtype=dtype).contiguous(memory_format=memory_format).detach().requires_grad_(True)
                learned = LearnedQuantizer(quantizer, 4)
                out = learned(x)
                mean, variance = channel_moments(out)
                (out.float().square().sum() + (mean * variance).sum()).backward()
                assert x.grad is not None
                assert learned.step.grad is not None
                made += [out.detach(), x.grad, learned.step.grad, mean.detach(), variance.detach()]
                by_channel = LearnedQuantizer(symmetric(np.linspace(0.5, 2.0, shape[0]), 3, axis=0), 4)
                again = x.detach().requires_grad_(True)
                torch.autograd.backward(relative_error(x.detach().flip(0), by_channel(again)))
                assert again.grad is not None
                assert by_channel.step.grad is not None
                made += [again.grad, by_channel.step.grad]
    return made


@torch_warns_of_itself
@pytest.mark.skipif(compiler() is None, reason="the host has no C++ compiler, and so nothing is compiled on it")
def test_compiled_kernels_compute_the_same(caplog: pytest.LogCaptureFixture) -> None:
    expected = results()
    before = vars(kernels).copy()
    with caplog.at_level(logging.WARNING), compiled_kernels(True, CPU) as is_compiled:
        assert is_compiled, caplog.text
        assert kernels.fake_quantize is not before["fake_quantize"]
        for made, wanted in zip(results(), expected, strict=True):
            torch.testing.assert_close(made, wanted, rtol=2e-2 if made.dtype is torch.bfloat16 else 1e-4, atol=1e-4)
    assert vars(kernels) == before


def test_nothing_is_compiled_if_disabled_or_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = vars(kernels).copy()
    with compiled_kernels(False, CPU) as is_compiled:
        assert not is_compiled
        assert vars(kernels) == before
    monkeypatch.setattr(module, "compiler", lambda: None)
    with compiled_kernels(True, CPU) as is_compiled:
        assert not is_compiled
        assert vars(kernels) == before


@torch_warns_of_itself
def test_a_failing_compiler_falls_back_to_eager_kernels(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(device: torch.device) -> None:
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(module, "compiler", lambda: "g++")
    monkeypatch.setattr(module, "_smoke_test", broken)
    before = vars(kernels).copy()
    with caplog.at_level(logging.WARNING), compiled_kernels(True, CPU) as is_compiled:
        assert not is_compiled
        assert vars(kernels) == before
    assert "no space left on device" in caplog.text


def test_errors_of_the_block_are_raised() -> None:
    before = vars(kernels).copy()
    with pytest.raises(RuntimeError, match="of the work"), compiled_kernels(False, CPU):
        raise RuntimeError("of the work")
    assert vars(kernels) == before
