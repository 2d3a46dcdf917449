"""A small convolutional network with BatchNorm for scikit-learn's handwritten digits, and datasets for Faceter.

``faceter export-torch examples.digits:trained --input-shape 1,1,8,8`` exports it to ONNX.
``python -m examples.digits FOLDER`` writes ``metadata.json`` (labels and preprocessing), ``held-out.zip`` (evaluation
images), ``labelled.zip`` (the same images with concept masks), ``digit.png`` (one image), ``chalk-and-ink.zip`` (two
image domains: digits in chalk on slate and in ink on paper) and ``chalk.png`` (one image of the first).
"""

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
MEAN, STD = 0.305, 0.376
HELD_OUT = 597
INK = 96
"""Threshold of ink pixels, 0 to 255."""
SLATE, CHALK = (38, 52, 48), (235, 238, 228)
PAPER, BLUE_INK = (247, 236, 206), (28, 42, 118)
_DRAWN = 400
_SIDE = 32
_BATCH = 64
EXAMPLE = 8
"""Index of a held-out digit for predictions: a two."""

METADATA: dict[str, Any] = {
    "task": "image_classification",
    "labels": LABELS,
    "preprocessing": {"size": [8, 8], "channel_order": "gray", "scale": 1 / 255, "mean": [MEAN], "std": [STD]},
}
"""Metadata for the upload of the network."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Digits:
    """Images of digits, 8 × 8 grey values, and their labels."""

    images: Pixels
    """[N, 8, 8], 0 to 255."""
    targets: npt.NDArray[np.int64]
    """[N], 0 to 9."""

    def inputs(self) -> torch.Tensor:
        """Return the images as normalized network inputs, float32 [N, 1, 8, 8]."""
        return (torch.from_numpy(self.images).float()[:, None] / 255 - MEAN) / STD

    def png(self, index: int) -> bytes:
        """Return one image as a PNG file."""
        file = io.BytesIO()
        Image.fromarray(self.images[index]).save(file, format="PNG")
        return file.getvalue()

    def archive(self) -> bytes:
        """Return a dataset of kind ``images``: a zip of PNG files in class folders."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for index, target in enumerate(self.targets):
                archive.writestr(zipfile.ZipInfo(f"{LABELS[target]}/{index:04d}.png"), self.png(index))
        return file.getvalue()

    def labelled(self) -> bytes:
        """Return a dataset of kind ``concepts``: masks of ink and paper, and the digit as an image label."""
        file = io.BytesIO()
        rows = ["image,category,concept"]
        with zipfile.ZipFile(file, "w") as archive:
            for index, target in enumerate(self.targets):
                labels = io.BytesIO()
                Image.fromarray(np.where(self.images[index] > INK, 1, 2).astype(np.uint8)).save(labels, format="PNG")
                archive.writestr(zipfile.ZipInfo(f"images/{index:04d}.png"), self.png(index))
                archive.writestr(zipfile.ZipInfo(f"labels/surface/{index:04d}.png"), labels.getvalue())
                rows.append(f"{index:04d},digit,{LABELS[target]}")
            concepts = {"surface": ["ink", "paper"], "digit": LABELS}
            archive.writestr(zipfile.ZipInfo("concepts.json"), json.dumps(concepts))
            archive.writestr(zipfile.ZipInfo("image_labels.csv"), "\n".join(rows))
        return file.getvalue()

    def drawn(self, index: int, ground: tuple[int, int, int], stroke: tuple[int, int, int]) -> bytes:
        """Return one image as a PNG file, enlarged to 32 × 32 and in two colors."""
        grey = Image.fromarray(self.images[index]).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
        coverage = np.asarray(grey, np.float32)[..., None] / 255
        colors = np.array(ground, np.float32) * (1 - coverage) + np.array(stroke, np.float32) * coverage
        file = io.BytesIO()
        Image.fromarray(np.rint(colors).astype(np.uint8)).save(file, format="PNG")
        return file.getvalue()

    def chalk_and_ink(self) -> bytes:
        """Return a dataset of kind ``domains``: A is chalk on slate, B is ink on paper, with different digits."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for index in range(_DRAWN):
                name, style = ("B", (PAPER, BLUE_INK)) if index % 2 else ("A", (SLATE, CHALK))
                archive.writestr(zipfile.ZipInfo(f"{name}/{index:04d}.png"), self.drawn(index, *style))
        return file.getvalue()


def load() -> tuple[Digits, Digits]:
    """Return training and held-out digits, which were written by different people."""
    raw = load_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)
    targets = raw.target.astype(np.int64)
    split = len(targets) - HELD_OUT
    return Digits(images[:split], targets[:split]), Digits(images[split:], targets[split:])


class DigitNetwork(nn.Module):
    """Four convolutions with BatchNorm, a residual addition, pooling and a classifier: 61 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _block(1, 32)
        self.down = _block(32, 64, stride=2)
        self.left = _block(64, 64)
        self.right = nn.Sequential(
            nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 1)
        )
        self.classifier = nn.Linear(64, len(LABELS))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, 10] of images [N, 1, 8, 8]."""
        features = self.left(self.down(self.stem(image)))
        features = torch.relu(features + self.right(features))
        logits: torch.Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


def train(digits: Digits, *, epochs: int = 8, seed: int = 0) -> DigitNetwork:
    """Train the network from scratch, which takes seconds on a CPU; reproducible on the same hardware."""
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        network = DigitNetwork().train()
        inputs, targets = digits.inputs(), torch.from_numpy(digits.targets)
        steps = epochs * -(-len(targets) // _BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps)
        for _ in range(epochs):
            for chosen in torch.randperm(len(targets)).split(_BATCH):  # type: ignore[no-untyped-call]
                loss = nn.functional.cross_entropy(network(inputs[chosen]), targets[chosen], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return network.eval()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, which is fastest for a small network and makes sums reproducible."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def accuracy(network: nn.Module, digits: Digits) -> float:
    """Return the top-1 accuracy of ``network`` on ``digits``."""
    with torch.no_grad():
        predictions = network(digits.inputs()).argmax(dim=1)
    return float((predictions == torch.from_numpy(digits.targets)).float().mean())


def trained() -> DigitNetwork:
    """Return the network trained on the training digits."""
    return train(load()[0])


def main(folder: Path) -> None:
    """Write metadata and datasets to ``folder``, which is created if missing."""
    training, held_out = load()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    (folder / "held-out.zip").write_bytes(held_out.archive())
    (folder / "labelled.zip").write_bytes(held_out.labelled())
    (folder / "digit.png").write_bytes(held_out.png(EXAMPLE))
    (folder / "chalk-and-ink.zip").write_bytes(training.chalk_and_ink())
    (folder / "chalk.png").write_bytes(held_out.drawn(EXAMPLE, SLATE, CHALK))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
