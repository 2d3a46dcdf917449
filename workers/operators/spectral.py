"""Fourier transforms and their windows; complex numbers are pairs along the last axis."""

import math

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import torch_dtype


def dft(node: Node, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None) -> Tensor:
    """Discrete Fourier transform along an axis, or its inverse; ``onesided`` for real signals."""
    along = int(axis.item()) if axis is not None else node.integer("axis", -2 if node.opset >= 20 else 1)
    along = along % x.ndim
    count = None if length is None else int(length.item())
    onesided = bool(node.integer("onesided"))
    if node.integer("inverse"):
        numbers = _complex(x)
        if onesided:
            real: Tensor = torch.fft.irfft(numbers, n=count, dim=along)
            return real.unsqueeze(-1)
        return torch.view_as_real(torch.fft.ifft(numbers, n=count, dim=along))
    if onesided:
        return torch.view_as_real(torch.fft.rfft(x[..., 0], n=count, dim=along))
    return torch.view_as_real(torch.fft.fft(_complex(x), n=count, dim=along))


def _complex(x: Tensor) -> Tensor:
    if x.shape[-1] == 1:
        x = torch.cat([x, torch.zeros_like(x)], dim=-1)
    return torch.view_as_complex(x.contiguous())


def stft(
    node: Node,
    signal: Tensor,
    frame_step: Tensor,
    window: Tensor | None = None,
    frame_length: Tensor | None = None,
) -> Tensor:
    """Fourier transforms [N, frames, bins, 2] of windowed frames of a signal [N, length, 1 or 2]."""
    if frame_length is not None:
        length = int(frame_length.item())
    else:
        length = signal.shape[1] if window is None else len(window)
    frames = signal.unfold(1, length, int(frame_step.item())).transpose(2, 3)
    if window is not None:
        frames = frames * window[:, None]
    if node.integer("onesided", 1):
        return torch.view_as_real(torch.fft.rfft(frames[..., 0], dim=2))
    return torch.view_as_real(torch.fft.fft(_complex(frames), dim=2))


def _window(node: Node, size: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Return Σ (−1)^k · c_k · cos(2πkn / N), periodic or symmetric."""
    count = int(size.item())
    period = count if node.integer("periodic", 1) else count - 1
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / period)
    total = torch.zeros(count, dtype=torch.float64)
    for k, coefficient in enumerate(coefficients):
        total += (-1) ** k * coefficient * torch.cos(k * angle)
    return total.to(torch_dtype(node.integer("output_datatype", 1)))


def hann_window(node: Node, size: Tensor) -> Tensor:
    """Hann's window."""
    return _window(node, size, (0.5, 0.5))


def hamming_window(node: Node, size: Tensor) -> Tensor:
    """Hamming's window."""
    return _window(node, size, (25 / 46, 21 / 46))


def blackman_window(node: Node, size: Tensor) -> Tensor:
    """Blackman's window."""
    return _window(node, size, (0.42, 0.5, 0.08))


OPERATORS = {
    "DFT": TorchOperator(dft, cpu_inputs=(1, 2)),
    "STFT": TorchOperator(stft, cpu_inputs=(1, 3), non_trainable=(2,)),
    "HannWindow": TorchOperator(hann_window, cpu_inputs=(0,)),
    "HammingWindow": TorchOperator(hamming_window, cpu_inputs=(0,)),
    "BlackmanWindow": TorchOperator(blackman_window, cpu_inputs=(0,)),
}
