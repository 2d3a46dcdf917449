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


def mel_weight_matrix(
    node: Node, mel_bins: Tensor, dft_length: Tensor, sample_rate: Tensor, lowest: Tensor, highest: Tensor
) -> Tensor:
    """Triangles on the mel scale, [dft_length // 2 + 1, mel_bins], that turn a spectrum into a mel spectrum."""
    bins, length = int(mel_bins.item()), int(dft_length.item())
    low, high = (2595 * math.log10(1 + float(edge.item()) / 700) for edge in (lowest, highest))
    mels = torch.arange(bins + 2, dtype=torch.float64) * ((high - low) / (bins + 2)) + low
    hertz = 700 * (10 ** (mels / 2595) - 1)
    edges = ((length + 1) * hertz / int(sample_rate.item())).floor().long()
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    row = torch.arange(length // 2 + 1)[:, None]
    rising = (row - left).double() / (centre - left).clamp_min(1)
    falling = (right - row).double() / (right - centre).clamp_min(1)
    total = torch.where((row >= left) & (row <= centre), rising, 0.0)
    total = torch.where((left == centre) & (row == centre), 1.0, total)
    total = torch.where((row >= centre) & (row < right), falling, total)
    return total.to(torch_dtype(node.integer("output_datatype", 1)))


OPERATORS = {
    "MelWeightMatrix": TorchOperator(mel_weight_matrix, cpu_inputs=(0, 1, 2, 3, 4)),
    "DFT": TorchOperator(dft, cpu_inputs=(1, 2)),
    "STFT": TorchOperator(stft, cpu_inputs=(1, 3), non_trainable=(2,)),
    "HannWindow": TorchOperator(hann_window, cpu_inputs=(0,)),
    "HammingWindow": TorchOperator(hamming_window, cpu_inputs=(0,)),
    "BlackmanWindow": TorchOperator(blackman_window, cpu_inputs=(0,)),
}
