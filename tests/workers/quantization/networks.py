"""Networks to quantize: a depthwise one trained on digits in seconds, and badly scaled versions of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationRequest
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.export.module import export
from faceter.graphs.layouts import PLAIN, UNSIGNED
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.model_input import Batch
from workers.quantization.prepare import PreparedNetwork, prepare
from workers.quantization.statistics import StatisticsSource

Floats = NDArray[np.float32]

PREPROCESSING = Preprocessing(size=[8, 8], channel_order="gray", scale=1 / 255, mean=[0.3], std=[0.35])


class DepthwiseDigits(nn.Module):
    """Pointwise and depthwise convolutions by turns, each with BatchNorm and ReLU, for 8 × 8 digits."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 16, 24, 24, 32)
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            depthwise = index in (1, 3)
            kernel = 3 if depthwise or index == 0 else 1
            groups = inputs if depthwise else 1
            self.convolutions.append(nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False))
            self.norms.append(nn.BatchNorm2d(outputs))
        self.classifier = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.relu(norm(convolution(x)))
        logits: Tensor = self.classifier(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits

    @torch.no_grad()
    def scale_badly(self, spread: float, seed: int) -> None:
        """Multiply channels before ReLU by factors e^±spread and divide the next layer's weights by them."""
        generator = torch.Generator().manual_seed(seed)
        for index, norm in enumerate(self.norms[:-1]):
            assert isinstance(norm, nn.BatchNorm2d)
            factor = torch.exp(spread * (2 * torch.rand(norm.num_features, generator=generator) - 1))
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
            following = self.convolutions[index + 1]
            assert isinstance(following, nn.Conv2d)
            per_input = factor.view(1, -1, 1, 1) if following.groups == 1 else factor.view(-1, 1, 1, 1)
            following.weight.div_(per_input)


@dataclass(frozen=True)
class Digits:
    """A trained network and held-out digits."""

    model: onnx.ModelProto
    badly_scaled: onnx.ModelProto
    calibration: Floats
    images: Floats
    classes: NDArray[np.int64]


def train_digits(seed: int = 0) -> Digits:
    """Train for a few seconds."""
    data = load_digits()
    images = (data.images.astype(np.float32)[:, None] / 16 - 0.3) / 0.35
    classes = data.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    fit, held_out = order[:1200], order[1200:]
    torch.manual_seed(seed)
    network = DepthwiseDigits()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    epochs, batch = 12, 64
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - epoch / epochs)
        shuffled = fit[torch.randperm(len(fit)).numpy()]
        for start in range(0, len(fit), batch):
            chosen = shuffled[start : start + batch]
            loss = functional.cross_entropy(
                network(torch.from_numpy(images[chosen])), torch.from_numpy(classes[chosen])
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    model = export(network, [1, 1, 8, 8])
    network.scale_badly(3.0, seed)
    return Digits(model, export(network, [1, 1, 8, 8]), images[fit[:256]], images[held_out], classes[held_out])


def prepared_for(model: onnx.ModelProto, seed: int = 0, batches: Sequence[Batch] | None = None) -> PreparedNetwork:
    """Prepare a network of digits, or of images without preprocessing, with noise or with given batches."""
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    preprocessing = PREPROCESSING if channels == 1 else Preprocessing(size=[16, 16], mean=[0.5], std=[0.25])
    prepared = prepare(model, ModelMetadata(preprocessing=preprocessing), seed=seed)
    return prepared if batches is None else replace(prepared, batches=batches, source=StatisticsSource.CALIBRATION)


def served(plan: QuantizationPlan, inputs: Floats, name: str = "image") -> NDArray[np.float32]:
    """Return the first output of a plan's integer graph in ONNX Runtime."""
    return outputs_of(write_qdq(plan), inputs, name)


def exact_layout() -> str:
    """Return a layout of quantized graphs whose sums do not saturate on this host."""
    return UNSIGNED if sums_saturate(OnnxRuntimeEngine()) else PLAIN


def outputs_of(model: onnx.ModelProto, inputs: Floats, name: str = "image") -> NDArray[np.float32]:
    """Return the first output of a graph in ONNX Runtime, in a layout that is exact on this host."""
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=1, layout=exact_layout())
    output = loaded.run({name: inputs})[loaded.outputs[0].name]
    loaded.close()
    return np.asarray(output, np.float32)


def accuracy(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Return the share of right answers."""
    return float((logits.argmax(axis=1) == classes).mean())


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: two that share a core wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def request_for(**fields: object) -> QuantizationRequest:
    """Return a request with these fields."""
    return QuantizationRequest.model_validate(fields)
