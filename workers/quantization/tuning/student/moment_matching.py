"""Moment matching: restore the mean and deviation of every channel after rounding.

Rounding to few bits shifts and scales the outputs of every channel, and the errors multiply over the depth. Both are
corrected layer by layer without changing any code: the deviation by a factor on the weight and its step alike, the mean
by the bias.

References:
    Finkelstein, Almog, Grobman, "Fighting Quantization Bias With Bias", 2019, arXiv 1906.03193 (the mean).
    Banner et al., NeurIPS 2019, arXiv 1810.05723, section 4 (mean and norm, of the weights instead).
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.quantization.layers import layers_with_bias
from workers.quantization.tuning.channel_moments import channel_moments
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.network import QuantizedNetwork

_MIN_FACTOR, _MAX_FACTOR = 0.5, 2.0
_CONSTANT_BELOW = 1e-5


@torch.no_grad()
def match_channel_moments(session: TuningSession, student: QuantizedNetwork, x: Tensor) -> None:
    """Match mean and deviation of every layer's output channels to the teacher's on a batch, in graph order, in place.

    The factor σ_P / σ_Q is clamped to [½, 2]; it is 1 for weights with one step per tensor and for constant channels.

    Args:
        student: The rounded network.
        x: Inputs, [N, …].
    """
    quantizers = student.weight_quantizers_by_name()
    parameters = student.network.trainable()
    layers = layers_with_bias(session.prepared.model)
    outputs = session.run(session.teacher, x, [layer.result for layer in layers], heads=False)
    moments = {name: channel_moments(outputs.pop(name)) for name in list(outputs)}
    for layer in layers:
        quantizer = quantizers.get(layer.weight)
        bias = None if layer.bias is None else parameters.get(layer.bias)
        if quantizer is None or bias is None:
            continue
        mean, variance = moments[layer.result]
        student_mean, student_variance = channel_moments(
            session.run(student, x, [layer.result], heads=False)[layer.result]
        )
        if len(student_mean) != bias.numel():
            continue
        factor = torch.ones_like(student_mean)
        if quantizer.step.numel() == bias.numel():
            alive = (variance > _CONSTANT_BELOW * variance.max()) & (student_variance > 0)
            factor = torch.where(alive, (variance / student_variance).sqrt().clamp(_MIN_FACTOR, _MAX_FACTOR), factor)
            per_channel = factor.reshape(quantizer.step.shape)
            quantizer.step.mul_(per_channel)
            parameters[layer.weight].mul_(per_channel)
        flat = bias.view(-1)
        flat.copy_(mean - factor * (student_mean - student.bias(str(layer.bias)).view(-1)))
