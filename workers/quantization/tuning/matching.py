"""Giving every channel of a rounded network the mean and the deviation back that it has in the float network.

Rounding to few bits changes what a channel gives on average and how much it varies, and a deep network multiplies that.
Both can be put right, layer by layer, without touching a weight's code: the deviation in the weight and its step alike,
the mean in the bias.

References:
    Finkelstein, Almog, Grobman, "Fighting Quantization Bias With Bias", 2019, arXiv 1906.03193 (the mean).
    Banner et al., NeurIPS 2019, arXiv 1810.05723, section 4 (mean and norm, of the weights instead).
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.quantization.prepared import layers_with_bias
from workers.quantization.tuning.moments import channel_moments
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.session import Session

_LEAST, _MOST = 0.5, 2.0
_ALIVE = 1e-5


@torch.no_grad()
def match_moments(session: Session, student: QuantizedNetwork, x: Tensor) -> None:
    """Match mean and deviation of every layer's output channels on a batch, first layer first.

    A factor on the deviation is kept between ½ and 2; it is left out where a weight has one step for all channels, and
    for channels that are constant. Changes the student in place.

    Args:
        session: Has the float network.
        student: The rounded network.
        x: Inputs, [N, …].
    """
    weights = student.weight_quantizers_by_name()
    values = student.network.trainable()
    layers = layers_with_bias(session.prepared.model)
    answers = session.run(session.teacher, x, [layer.result for layer in layers], heads=False)
    moments = {name: channel_moments(answers.pop(name)) for name in list(answers)}
    for layer in layers:
        quantizer = weights.get(layer.weight)
        bias = None if layer.bias is None else values.get(layer.bias)
        if quantizer is None or bias is None:
            continue
        wanted, variance = moments[layer.result]
        given, spread = channel_moments(session.run(student, x, [layer.result], heads=False)[layer.result])
        if len(given) != bias.numel():
            continue
        factor = torch.ones_like(given)
        if quantizer.step.numel() == bias.numel():
            alive = (variance > _ALIVE * variance.max()) & (spread > 0)
            factor = torch.where(alive, (variance / spread).sqrt().clamp(_LEAST, _MOST), factor)
            spread_out = factor.reshape(quantizer.step.shape)
            quantizer.step.mul_(spread_out)
            values[layer.weight].mul_(spread_out)
        flat = bias.view(-1)
        flat.copy_(wanted - factor * (given - student.bias(str(layer.bias)).view(-1)))
