"""A small 1-D residual network that classifies rhythms of a simulated ECG, with its training and test signals.

``python -m benchmarks.ecg_network FOLDER`` writes ``ecg.onnx``, ``metadata.json``, ``train.npz`` and ``test.npz``
(datasets of kind `signals`) in a few minutes, and prints the accuracy of the methods without tuning. Recordings come
from ``ecg_simulate`` of neurokit2 (``pip install neurokit2``), which solves the equations of McSharry et al. 2003
(doi 10.1109/TBME.2003.808805). Reproducible on the same hardware.
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.post_training import print_table, report_on
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.datasets.signals import signals_file
from faceter.export.module import export

RATE = 100
LENGTH = 512
INPUT = "signal"
MODEL, METADATA, TRAIN, TEST = "ecg.onnx", "metadata.json", "train.npz", "test.npz"
METHODS = (QuantizationMethod.RQ, QuantizationMethod.DFQ, QuantizationMethod.ACIQ)

TRAIN_RECORDINGS, TEST_RECORDINGS = 160, 120
EPOCHS = 30
_SECONDS = 60
_TIMEOUT_SECONDS = 15.0
"""A recording takes less than 1 s, but ecg_simulate of neurokit2 0.2.13 does not return for about one in 500, where a
beat is at the last internal sample; then another recording is made."""


@dataclass(frozen=True)
class Rhythm:
    """Range of the heart rate in beats per minute, and of its relative standard deviation."""

    rate: tuple[float, float]
    variation: tuple[float, float]


RHYTHMS = {
    "slow": Rhythm((38, 57), (0.01, 0.04)),
    "normal": Rhythm((60, 95), (0.01, 0.04)),
    "fast": Rhythm((100, 150), (0.01, 0.04)),
    "irregular": Rhythm((55, 110), (0.10, 0.20)),
}
"""The classes. Five seconds of an irregular rhythm may look regular, so 100 % accuracy is not possible."""

Floats = NDArray[np.float32]
Classes = NDArray[np.int64]


@contextmanager
def cpu_seconds(limit: float) -> Iterator[None]:
    """Raise TimeoutError after ``limit`` seconds of CPU time in the block."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def recording(rhythm: Rhythm, rng: np.random.Generator) -> Floats:
    """Return a minute of ECG at 100 Hz, float32 [6000], with an R peak of about 1."""
    from neurokit2 import ecg_simulate

    while True:
        rate, variation = rng.uniform(*rhythm.rate), rng.uniform(*rhythm.variation)
        with suppress(TimeoutError), cpu_seconds(_TIMEOUT_SECONDS):
            minute = ecg_simulate(
                duration=_SECONDS + 1,
                sampling_rate=RATE,
                heart_rate=rate,
                heart_rate_std=rate * variation,
                noise=0,
                random_state=int(rng.integers(2**31)),
            )
            return np.asarray(minute, np.float32)[: _SECONDS * RATE]


def with_artifacts(windows: Floats, rng: np.random.Generator) -> Floats:
    """Return windows [N, LENGTH] with random gain, baseline drift, hum and noise."""
    count = len(windows)
    seconds = np.arange(LENGTH) / RATE

    def each(low: float, high: float) -> NDArray[np.float64]:
        return rng.uniform(low, high, (count, 1))

    drift = each(0, 0.4) * np.sin(2 * np.pi * (each(0.1, 0.6) * seconds + each(0, 1)))
    hum = each(0, 0.1) * np.sin(2 * np.pi * (each(10, 40) * seconds + each(0, 1)))
    noise = each(0.02, 0.3) * rng.normal(size=windows.shape)
    return np.asarray(each(0.7, 1.4) * windows + drift + hum + noise, np.float32)


def make_signals(recordings: int, seed: int, stride: int = LENGTH) -> tuple[Floats, Classes]:
    """Return signals [N, 1, LENGTH], one from every ``stride`` values of each recording, and their classes [N]."""
    rng = np.random.default_rng(seed)
    signals, classes = [], []
    for index in range(recordings):
        number = index % len(RHYTHMS)
        minute = recording(list(RHYTHMS.values())[number], rng)
        windows = np.lib.stride_tricks.sliding_window_view(minute, LENGTH)[::stride]
        signals.append(with_artifacts(windows, rng)[:, None])
        classes += [number] * len(windows)
    return np.concatenate(signals), np.array(classes, np.int64)


class Block(nn.Module):
    """Two convolutions of width 5 with BatchNorm, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, 5, stride, 2, bias=False)
        self.first_norm = nn.BatchNorm1d(outputs)
        self.second = nn.Conv1d(outputs, outputs, 5, 1, 2, bias=False)
        self.second_norm = nn.BatchNorm1d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, L] to [N, outputs, L / stride]."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class EcgNetwork(nn.Module):
    """ResNet (He et al. 2015, arXiv 1512.03385) in one dimension: a stem, six blocks and a linear layer."""

    def __init__(self, classes: int = len(RHYTHMS)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 16, 9, 2, 4, bias=False), nn.BatchNorm1d(16), nn.ReLU())
        blocks = [Block(16, 16, 2), Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1), Block(32, 64, 2)]
        self.blocks = nn.Sequential(*blocks, Block(64, 64, 1))
        self.classifier = nn.Linear(64, classes)

    def forward(self, signal: Tensor) -> Tensor:
        """Return logits [N, classes] of signals [N, 1, LENGTH]."""
        pooled = functional.adaptive_avg_pool1d(self.blocks(self.stem(signal)), 1).flatten(1)
        logits: Tensor = self.classifier(pooled)
        return logits


def train(signals: Floats, classes: Classes, *, epochs: int = EPOCHS, seed: int = 0) -> EcgNetwork:
    """Train for ``epochs`` with AdamW and one cycle of the learning rate, with random gain and noise."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = EcgNetwork()
    x, y = torch.from_numpy(signals), torch.from_numpy(classes)
    batch = 128
    steps = len(x) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            gain = torch.empty(batch, 1, 1).uniform_(0.8, 1.25, generator=generator)
            noise = 0.05 * torch.randn(batch, 1, LENGTH, generator=generator)
            loss = functional.cross_entropy(network(gain * x[chosen] + noise), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network.eval()


def exported(network: EcgNetwork) -> onnx.ModelProto:
    """Return the network as ONNX with BatchNorm; its input is ``signal`` [batch, 1, LENGTH]."""
    return export(network, [1, 1, LENGTH], input_name=INPUT)


def metadata() -> ModelMetadata:
    """Return the metadata for the upload of the network."""
    return ModelMetadata(task=Task.SIGNAL_CLASSIFICATION, labels=list(RHYTHMS))


def make(folder: Path, *, seed: int = 0) -> None:
    """Write the network and its datasets to a folder; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / TRAIN).exists():
        signals, classes = make_signals(TRAIN_RECORDINGS, seed, LENGTH // 2)
        (folder / TRAIN).write_bytes(signals_file(signals, classes, list(RHYTHMS)))
    if not (folder / TEST).exists():
        signals, classes = make_signals(TEST_RECORDINGS, seed + 1000)
        (folder / TEST).write_bytes(signals_file(signals, classes, list(RHYTHMS)))
    if not (folder / MODEL).exists():
        with np.load(folder / TRAIN) as data:
            network = train(data["signals"], data["labels"], seed=seed)
        (folder / MODEL).write_bytes(exported(network).SerializeToString())
    (folder / METADATA).write_text(metadata().model_dump_json(indent=2, exclude_none=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the network and its datasets")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    start = time.monotonic()
    make(folder)
    print(f"written in {time.monotonic() - start:.0f} s\n")
    content = (folder / MODEL).read_bytes()

    def rows() -> list[list[str]]:
        lines = []
        for bits in (8, 4):
            for method in METHODS:
                report = report_on(
                    content,
                    metadata(),
                    folder / TEST,
                    DatasetKind.SIGNALS,
                    method=method,
                    bits=bits,
                    granularity=Granularity.CHANNEL,
                )
                (quality,) = report.quality
                agreement = report.agreement.top1 or 0.0
                lines.append(
                    [
                        f"W{bits}A{bits}",
                        method.value,
                        f"{100 * quality.before:.1f}",
                        f"{100 * quality.after:.1f}",
                        f"{100 * agreement:.1f}",
                    ]
                )
        return lines

    print_table(["bits", "method", "float accuracy %", "accuracy %", "agreement %"], rows())


if __name__ == "__main__":
    main()
