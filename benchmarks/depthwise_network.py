"""A small MobileNetV2 for 32 × 32 images, trained in minutes: inverted residuals, depthwise layers, ReLU6.

``python -m benchmarks.post_training depthwise`` trains it on the `images` dataset of CIFAR-10 and quantizes it.
Reproducible on the same hardware.
"""

import copy
import time
import zipfile
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SIZE = 32

# expansion, output channels, stride
BLOCKS = ((1, 16, 1), (6, 24, 1), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 64, 2), (6, 64, 1))


def layer(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, active: bool = True
) -> nn.Sequential:
    """Return convolution, BatchNorm and, if ``active``, ReLU6."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    parts: list[nn.Module] = [convolution, nn.BatchNorm2d(outputs)]
    return nn.Sequential(*parts, *([nn.ReLU6()] if active else []))


class InvertedResidual(nn.Module):
    """1×1 expansion, 3×3 depthwise, linear 1×1 projection, with a shortcut if shapes are equal."""

    def __init__(self, inputs: int, expansion: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        first = [layer(inputs, hidden, 1)] if expansion > 1 else []
        self.body = nn.Sequential(
            *first, layer(hidden, hidden, 3, stride, groups=hidden), layer(hidden, outputs, 1, active=False)
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class DepthwiseNetwork(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) with 7 blocks and a total stride of 8."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = [layer(3, 16, 3, 2)]
        channels = 16
        for expansion, outputs, stride in BLOCKS:
            blocks.append(InvertedResidual(channels, expansion, outputs, stride))
            channels = outputs
        self.features = nn.Sequential(*blocks, layer(channels, 128, 1))
        self.classifier = nn.Linear(128, classes)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, 3, 32, 32]."""
        return self.classifier(functional.adaptive_avg_pool2d(self.features(image), 1).flatten(1))  # type: ignore[no-any-return]


def load(path: Path) -> tuple[Tensor, Tensor]:
    """Return images [N, 3, 32, 32], normalized, and classes [N] of a zip of class folders."""
    images, names = [], []
    with zipfile.ZipFile(path) as archive:
        for entry in sorted(archive.namelist()):
            if entry.lower().endswith((".jpg", ".jpeg", ".png")):
                with Image.open(BytesIO(archive.read(entry))) as image:
                    images.append(np.asarray(image.convert("RGB").resize((SIZE, SIZE))))
                names.append(Path(entry).parent.name)
    order = {name: index for index, name in enumerate(sorted(set(names)))}
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std, torch.tensor([order[name] for name in names])


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return images with independent random shifts by up to 4 pixels and random flips."""
    count = len(images)
    padded = functional.pad(images, (4, 4, 4, 4), mode="reflect")
    rows, columns = (torch.randint(0, 9, (count,), generator=generator) for _ in range(2))
    span = torch.arange(SIZE)
    index = torch.arange(count).view(-1, 1, 1, 1)
    channel = torch.arange(3).view(1, -1, 1, 1)
    mirrored = torch.rand(count, generator=generator) < 0.5
    across = torch.where(mirrored.view(-1, 1), span.flip(0), span) + columns.view(-1, 1)
    down = rows.view(-1, 1) + span
    return padded[index, channel, down.view(count, 1, SIZE, 1), across.view(count, 1, 1, SIZE)]


def train(images: Tensor, classes: Tensor, *, epochs: int, seed: int = 0, bfloat16: bool = False) -> DepthwiseNetwork:
    """Train for ``epochs`` with SGD, Nesterov momentum, weight decay and one cycle of the learning rate.

    ``bfloat16`` uses autocast, which is much faster on processors with AMX and slow on others.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = DepthwiseNetwork(int(classes.max()) + 1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = 128
    steps = len(images) // batch
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=epochs * steps, pct_start=0.25)
    for epoch in range(epochs):
        network.train()
        start, losses = time.monotonic(), 0.0
        order = torch.randperm(len(images), generator=generator)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            x = augmented(images[chosen], generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = functional.cross_entropy(network(x), classes[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {losses / steps:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    network.eval()
    return network


def with_relu(network: DepthwiseNetwork) -> DepthwiseNetwork:
    """Return a copy with ReLU instead of ReLU6, as in DFQ; activations above 6 are rare after training."""
    changed = copy.deepcopy(network)
    for part in changed.modules():
        if isinstance(part, nn.Sequential):
            for index, inner in enumerate(part):
                if isinstance(inner, nn.ReLU6):
                    part[index] = nn.ReLU()
    return changed


@torch.no_grad()
def badly_scaled(network: DepthwiseNetwork, spread: float, seed: int = 0) -> DepthwiseNetwork:
    """Return an equivalent network with channels around depthwise layers scaled by e^−spread to e^spread.

    BatchNorm's scale and shift are multiplied, the next layer's weights divided. Pretrained MobileNetV2s have such
    ranges (figure 2 of the DFQ paper: channels of one layer differ by two orders of magnitude); networks trained for
    minutes do not. The network must have ReLU, which is positively homogeneous.
    """
    changed = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    for block in changed.features:
        if not isinstance(block, InvertedResidual):
            continue
        layers = [part for part in block.body if isinstance(part, nn.Sequential)]
        for first, second in pairwise(layers):
            norm, convolution = first[1], second[0]
            assert isinstance(norm, nn.BatchNorm2d)
            assert isinstance(convolution, nn.Conv2d)
            factor = torch.exp(spread * (2 * torch.rand(norm.num_features, generator=generator) - 1))
            norm.weight.mul_(factor)
            norm.bias.mul_(factor)
            shape = (-1, 1, 1, 1) if convolution.groups > 1 else (1, -1, 1, 1)
            convolution.weight.div_(factor.view(shape))
    return changed
