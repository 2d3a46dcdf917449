"""Small torch modules whose export at one size fixes that size in the graph, each in its own way."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

SIZE = 64


class Module(nn.Module):
    """Calls a function with layers and the input."""

    def __init__(self, function: Callable[[nn.ModuleList, torch.Tensor], torch.Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.layers, x)


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def _interpolated(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    first = layers[0](x)
    second = layers[1](first)
    third = layers[2](second)
    up = F.interpolate(third, size=second.shape[-2:], mode="bilinear", align_corners=False)
    up = layers[3](torch.cat([up, second], 1))
    up = F.interpolate(up, size=first.shape[-2:], mode="nearest")
    result: torch.Tensor = layers[4](torch.cat([up, first], 1))
    return result


def _attention(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    features = layers[0](x)
    n, c, h, w = features.shape
    query = layers[1](features).view(n, -1, h * w).permute(0, 2, 1)
    key = layers[2](features).view(n, -1, h * w)
    weights = torch.softmax(torch.bmm(query, key), -1)
    value = torch.bmm(features.view(n, c, h * w), weights.permute(0, 2, 1)).view(n, c, h, w)
    result: torch.Tensor = layers[3](value + features)
    return result


def _groups_by_hand(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    features = layers[0](x)
    n, c, h, w = features.shape
    groups = features.view(n, 4, c // 4, h, w)
    mean, variance = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), keepdim=True)
    result: torch.Tensor = layers[1](((groups - mean) / (variance + 1e-5).sqrt()).view(n, c, h, w))
    return result


def _pooled_context(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    features = layers[0](x)
    context = layers[1](F.adaptive_avg_pool2d(features, 1))
    context = F.interpolate(context, size=features.shape[-2:], mode="bilinear", align_corners=False)
    result: torch.Tensor = layers[2](torch.cat([features, context], 1))
    return result


def _squeeze_excite(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    features = layers[0](x)
    n, c = features.shape[:2]
    weights = torch.sigmoid(layers[1](F.adaptive_avg_pool2d(features, 1).view(n, c))).view(n, c, 1, 1)
    result: torch.Tensor = layers[2](features * weights.expand_as(features))
    return result


def _ones(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    n, _, h, w = x.shape
    result: torch.Tensor = layers[0](torch.cat([x, torch.ones(n, 1, h, w)], 1))
    return result


def _mean_by_sum(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    features = layers[0](x)
    mean = features.sum((2, 3), keepdim=True) / (features.shape[2] * features.shape[3])
    result: torch.Tensor = layers[1](features - mean)
    return result


def _coordinates(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    n, _, h, w = x.shape
    rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(n, 1, h, w)
    result: torch.Tensor = layers[0](torch.cat([x, rows], 1))
    return result


def _windows(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    parts = x.view(n, c, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1)
    result: torch.Tensor = layers[0](parts).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)
    return result


def _cropped(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layers[0](x)[:, :, : SIZE - 8]
    return result


class Positioned(nn.Module):
    """Adds a learned value for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 3, SIZE, SIZE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.position


OPENED: dict[str, Callable[[], nn.Module]] = {
    "instance norm": lambda: nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(3, 16, 3), nn.InstanceNorm2d(16), nn.ReLU(), conv(16, 3)
    ),
    "group norm": lambda: nn.Sequential(conv(3, 16), nn.GroupNorm(4, 16), nn.SiLU(), conv(16, 3)),
    "group norm by hand": lambda: Module(_groups_by_hand, conv(3, 16), conv(16, 3)),
    "mean by sum": lambda: Module(_mean_by_sum, conv(3, 16), conv(16, 3)),
    "u-net": lambda: Module(_interpolated, conv(3, 8), conv(8, 8, 3, 2), conv(8, 8, 3, 2), conv(16, 8), conv(16, 3)),
    "pixel shuffle": lambda: nn.Sequential(nn.PixelUnshuffle(4), conv(48, 48), nn.PixelShuffle(4)),
    "attention": lambda: Module(_attention, conv(3, 16), conv(16, 4), conv(16, 4), conv(16, 3)),
    "pooled context": lambda: Module(_pooled_context, conv(3, 8), conv(8, 8, 1), conv(16, 3)),
    "squeeze and excite": lambda: Module(_squeeze_excite, conv(3, 8), nn.Linear(8, 8), conv(8, 3)),
    "constant channel": lambda: Module(_ones, conv(4, 3)),
    "upsampling": lambda: nn.Sequential(
        conv(3, 8, 3, 2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), conv(8, 3)
    ),
}
"""Modules that take any size, by what fixes it on export."""

FIXED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "flatten": (
        lambda: nn.Sequential(conv(3, 1), nn.Flatten(), nn.Linear(SIZE**2, 12)),
        r"Gemm .* takes no other size: its inputs would be \[1, 24576\] and \[12, 4096\]",
    ),
    "positions": (
        Positioned,
        r"Add .* uses the constant .*position.* of shape \[1, 3, 64, 64\], which is made for one",
    ),
    "coordinates": (lambda: Module(_coordinates, conv(4, 3)), r"Concat .* uses the constant .* made for one size"),
    "norm of positions": (lambda: nn.LayerNorm([3, SIZE, SIZE]), "a weight for each position"),
    "windows": (lambda: Module(_windows, nn.Linear(3, 3)), r"makes \[8, 8\] of \[64\], and nothing tells"),
    "crop": (lambda: Module(_cropped, conv(3, 3)), "takes 0 to 56 of 64, and nothing tells"),
    "constant size": (
        lambda: Module(lambda _, x: F.interpolate(x, size=(40, 40))),
        r"resizes \[1, 3, 64, 64\] to \[1, 3, 40, 40\], by no simple factor",
    ),
}
"""Modules of one size, with the reason."""


def seeded(module: nn.Module) -> nn.Module:
    """Return a module with random parameters, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return module.eval()


def noise(*shape: int) -> torch.Tensor:
    """Return normally distributed values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def exported(module: nn.Module, *, dynamo: bool) -> onnx.ModelProto:
    """Return a module as torch exports it at one size."""
    example = noise(1, 3, SIZE, SIZE)
    if dynamo:
        program = torch.onnx.export(module, (example,), dynamo=True, opset_version=18, verbose=False)
        assert program is not None
        return program.model_proto
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(module, (example,), path, dynamo=False, opset_version=17)
        return onnx.load(path)
