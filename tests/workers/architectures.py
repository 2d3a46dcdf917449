"""Small networks of common architectures with seeded weights, and their export to ONNX."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

SEED = 20260703


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Inverted residual block (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [*_conv_bn(inputs, hidden, 1), nn.ReLU6()]
        self.layers = nn.Sequential(
            *expand, *_conv_bn(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *_conv_bn(hidden, outputs, 1)
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 with a quarter of its width, for small images."""

    STAGES: ClassVar[tuple[tuple[int, int, int, int], ...]] = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers = [*_conv_bn(3, 8, 3), nn.ReLU6()]
        inputs = 8
        for expansion, width, repeats, stride in self.STAGES:
            for i in range(repeats):
                layers.append(InvertedResidual(inputs, width // 4, stride if i == 0 else 1, expansion))
                inputs = width // 4
        self.features = nn.Sequential(*layers, *_conv_bn(inputs, 160, 1), nn.ReLU6())
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(160, classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return y


class VisionTransformer(nn.Module):
    """ViT with two encoder layers (Dosovitskiy et al. 2021)."""

    def __init__(self, size: int = 32, patch: int = 8, width: int = 48, heads: int = 4, classes: int = 10) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(x.shape[0], -1, -1), y], dim=1) + self.positions
        scores: Tensor = self.head(self.norm(self.encoder(y))[:, 0])
        return scores


class UNet(nn.Module):
    """U-Net with two levels, upsampled by a transposed convolution and by resizing (Ronneberger et al. 2015)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"),
                nn.InstanceNorm2d(outputs, affine=True),
                nn.LeakyReLU(0.2),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.GroupNorm(4, outputs),
                nn.SiLU(),
            )

        self.first, self.second, self.bottom = block(3, width), block(width, 2 * width), block(2 * width, 4 * width)
        self.up = nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, output_padding=1)
        self.third, self.fourth = block(4 * width, 2 * width), block(3 * width, width)
        self.out = nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.second(functional.max_pool2d(a, 2))
        y = self.up(self.bottom(functional.avg_pool2d(b, 3, 2, 1)))
        y = self.third(torch.cat([y, b], dim=1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)
        return torch.tanh(self.out(self.fourth(torch.cat([y, a], dim=1))))


class ConvNet1d(nn.Module):
    """Dilated and strided convolutions over a signal."""

    def __init__(self, channels: int = 2, classes: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, 16, 7, stride=2, padding=3),
            nn.BatchNorm1d(16),
            nn.PReLU(16),
            nn.MaxPool1d(3, 2, 1),
            nn.Conv1d(16, 24, 5, padding=4, dilation=2, groups=4),
            nn.BatchNorm1d(24),
            nn.ELU(),
            nn.AvgPool1d(4, ceil_mode=True),
            nn.Flatten(2),
        )
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layers(x).amax(-1))
        return y


def seeded(module: nn.Module) -> nn.Module:
    """Set random BatchNorm statistics, as after training; return the module in evaluation mode."""
    generator = torch.Generator().manual_seed(SEED)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator) * 0.2)
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.weight.data.copy_(torch.rand(part.num_features, generator=generator) + 0.5)
            part.bias.data.copy_(torch.randn(part.num_features, generator=generator) * 0.2)
    return module.eval()


def exported(
    module: nn.Module, inputs: Sequence[Tensor], *, opset: int = 20, optimize: bool = False
) -> onnx.ModelProto:
    """Export with a dynamic batch; BatchNorm is not folded unless ``optimize`` is set."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs),
            dynamo=True,
            optimize=optimize,
            opset_version=opset,
            dynamic_shapes=[{0: batch} for _ in inputs],
            verbose=False,
        )
        assert program is not None
        return program.model_proto


def exported_by_tracing(module: nn.Module, inputs: Sequence[Tensor], folder: Path, *, opset: int) -> onnx.ModelProto:
    """Export by the TorchScript exporter: opsets before 18, without constant folding."""
    path = folder / "traced.onnx"
    names = [f"input{index}" for index in range(len(inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs),
            path,
            dynamo=False,
            opset_version=opset,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=names,
            dynamic_axes={name: {0: "batch"} for name in names},
        )
    return onnx.load(path)


SHAPES: dict[Callable[[], nn.Module], tuple[int, ...]] = {
    MobileNetV2: (3, 32, 32),
    VisionTransformer: (3, 32, 32),
    UNet: (3, 32, 32),
    ConvNet1d: (2, 128),
}
"""Architectures, and the shape of one input."""


def seeded_module(architecture: Callable[[], nn.Module]) -> nn.Module:
    """Return a module with the same weights at every call."""
    torch.manual_seed(SEED)
    return seeded(architecture())


@cache
def export_of(architecture: Callable[[], nn.Module]) -> onnx.ModelProto:
    """Return the export of what `seeded_module` returns at opset 20. It is cached and must not be changed."""
    return exported(seeded_module(architecture), [torch.zeros(2, *SHAPES[architecture])])
