"""Samples one after the other: the pattern of each pixel, and the activations of the layers.

They come from the model the first time, several samples read and run at once, and are kept in files of the worker's
own on the way; the second time they are read from there.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.check import load_model
from faceter.graphs.cut import cut
from faceter.graphs.moved_codes import with_values
from faceter.graphs.operators import unsupported
from faceter.graphs.packing import unpack_weights
from workers.explanation.samples import Array, Frame, Labels, Samples
from workers.host import compute_device, processor_count
from workers.jobs.scratch import write_rows
from workers.model_input import batch_of, filled
from workers.network import OnnxModule

Maps = NDArray[np.float32]

_BATCH_BYTES = 2**22
_MOST_AT_ONCE = 8

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Run:
    """A sample that was run."""

    labels: Labels
    """Its concepts."""
    frame: Frame
    """Where it lies in the model's input."""
    maps: list[Maps]
    """Activations of each layer, float32 [units, rows, columns]."""
    predicted: int
    """Class the model predicts; −1 if it is no classifier."""


class Source(Protocol):
    """What runs samples; `Network` is one."""

    @property
    def device(self) -> torch.device:
        """Where activations are looked at."""

    def batch(self, samples: Samples) -> int:
        """Return how many samples to run at a time."""

    def run(self, samples: Samples, indices: Sequence[int]) -> list[Run]:
        """Read and run some samples; safe from several threads at once."""


class Network:
    """A model cut off after the layers looked at.

    Args:
        content: Its ONNX file.
        layers: Names of the tensors.
        inputs: What the model takes.
        classes: Name of the output that holds class scores, if it is a classifier.
    """

    def __init__(
        self, content: bytes, layers: Sequence[str], inputs: Sequence[TensorSpec], classes: str | None
    ) -> None:
        self._layers, self._inputs, self._classes = list(layers), list(inputs), classes
        wanted = list(dict.fromkeys([*layers, *([classes] if classes else [])]))
        model = with_values(unpack_weights(load_model(content, max_bytes=len(content))), wanted)
        part = cut(model, wanted)
        self._wanted = wanted
        self._device = compute_device()
        on_gpu = self._device.type == "cuda" and not unsupported(part)
        self._run = self._torch(part) if on_gpu else self._runtime(part)

    @property
    def device(self) -> torch.device:
        """Where activations are looked at."""
        return self._device

    def run(self, samples: Samples, indices: Sequence[int]) -> list[Run]:
        """Read and run some samples; safe from several threads at once.

        Raises:
            FaceterError: ``INFERENCE_FAILED`` if a layer has no channel axis or gives what is not finite.
        """
        read = samples.read(indices)
        size, fixed = batch_of(self._inputs, 1)
        values = self._run(filled(read.inputs, size) if fixed else read.inputs)
        maps = [self._maps(values[layer], layer, len(indices), samples) for layer in self._layers]
        predicted = np.full(len(indices), -1)
        if self._classes is not None:
            predicted = values[self._classes][: len(indices)].reshape(len(indices), -1).argmax(axis=1)
        return [
            Run(labels, frame, [layer[row] for layer in maps], int(predicted[row]))
            for row, (labels, frame) in enumerate(zip(read.labels, read.frames, strict=True))
        ]

    def batch(self, samples: Samples) -> int:
        """Return how many samples to run at a time."""
        size, fixed = batch_of(self._inputs, samples.input_values)
        return size if fixed else max(1, min(_MOST_AT_ONCE, size, _BATCH_BYTES // (4 * samples.input_values)))

    def _maps(self, values: Array, layer: str, count: int, samples: Samples) -> Maps:
        """Return a layer's activations as [B, units, rows, columns]."""
        ranks = {"images": (2, 4), "signals": (2, 3), "text": (2,)}[samples.about]
        if values.ndim not in ranks or len(values) < count:
            axes = " or ".join(
                {2: "[N, units]", 3: "[N, units, length]", 4: "[N, units, height, width]"}[r] for r in ranks
            )
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The tensor {layer!r} is {list(values.shape)} for {count} {samples.about}, so it has no axis of "
                f"units: that takes {axes}. Choose another layer.",
                field="layer",
            )
        found = np.asarray(values[:count], np.float32)
        if not np.isfinite(found).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The model gives values at {layer!r} that are not finite (NaN or infinite). Choose another layer.",
                field="layer",
            )
        missing = 4 - found.ndim
        shape = (*found.shape[:2], *([1] * missing), *found.shape[2:])
        return found.reshape(shape)

    def _runtime(self, part: onnx.ModelProto) -> Callable[[dict[str, Array]], dict[str, Array]]:
        loaded = OnnxRuntimeEngine().load(part.SerializeToString(), threads=1)
        takes = {spec.name for spec in loaded.inputs}

        def run(inputs: dict[str, Array]) -> dict[str, Array]:
            return loaded.run({name: values for name, values in inputs.items() if name in takes}, self._wanted)

        return run

    def _torch(self, part: onnx.ModelProto) -> Callable[[dict[str, Array]], dict[str, Array]]:
        network = OnnxModule(part).to(self._device)

        @torch.inference_mode()
        def run(inputs: dict[str, Array]) -> dict[str, Array]:
            given = {name: self._moved(torch.from_numpy(np.ascontiguousarray(inputs[name]))) for name in network.inputs}
            return {name: value.float().cpu().numpy() for name, value in network(given).items()}

        return run

    def _moved(self, values: torch.Tensor) -> torch.Tensor:
        """Return values where the network is; to a GPU they go by memory that it reads itself."""
        if self._device.type == "cuda":
            return values.pin_memory().to(self._device, non_blocking=True)
        return values.to(self._device)


def runs(network: Source, samples: Samples, start: int = 0) -> Iterator[Run]:
    """Yield samples from one on, in order, a few of them read and run ahead."""
    size = network.batch(samples)
    parts = [range(begin, min(begin + size, len(samples))) for begin in range(start, len(samples), size)]
    threads = 1 if network.device.type == "cuda" else processor_count()
    for found in in_order(lambda part: network.run(samples, part), parts, threads):
        yield from found


def in_order(work: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """Yield the results of work on items, in their order, done by several threads, twice as many as these in memory."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Spill:
    """Rows of equal shape in a file.

    Args:
        file: The file; what it holds stays.
        shape: Of one row.
        dtype: Of the values.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file = file
        self._shape, self._dtype = shape, dtype
        self._row = int(np.prod(shape)) * dtype.itemsize

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size // self._row

    def append(self, row: NDArray[Any]) -> None:
        """Add a row.

        Raises:
            FaceterError: ``STORAGE_FULL``.
        """
        write_rows(self._file, np.ascontiguousarray(row, self._dtype))

    def keep(self, count: int) -> None:
        """Drop all rows but the first ones."""
        self._file.truncate(count * self._row)

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows [start, stop), [stop − start, …]; safe from several threads at once."""
        content = bytearray((stop - start) * self._row)
        view, done = memoryview(content), 0
        while done < len(content):
            done += os.preadv(self._file.fileno(), [view[done:]], start * self._row + done)
        return np.frombuffer(content, self._dtype).reshape(stop - start, *self._shape)
