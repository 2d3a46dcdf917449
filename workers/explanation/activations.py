"""Activation maps of a model's layers, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.dequantization import with_dequantized_tensors
from faceter.graphs.describe import input_specs
from faceter.graphs.float_types import in_float32
from faceter.graphs.operators import unsupported
from faceter.graphs.packing import unpack_weights
from faceter.graphs.subgraph import extract_subgraph
from faceter.graphs.working import load_working_graph
from faceter.host import processor_count
from workers.explanation.parallel import map_in_order
from workers.explanation.probe.dataset import Array, InputPlacement, ProbeBatch, ProbeDataset, SampleConcepts
from workers.host import compute_device
from workers.model_input import inference_batch_size, pad_batch
from workers.onnx_module import OnnxModule

Maps = NDArray[np.float32]

_BATCH_BYTES = 2**22
_LARGEST_BATCH = 8


@dataclass(frozen=True)
class SampleActivations:
    """Activations and concepts of one sample."""

    concepts: SampleConcepts
    """Its concepts."""
    placement: InputPlacement
    """Where it lies in the model's input."""
    maps: list[Maps]
    """Activation maps of each layer, float32 [units, rows, columns]."""
    predicted: int
    """Predicted class; −1 if the model is no classifier."""


class ActivationExtractor(Protocol):
    """Runs a model on samples of a probe dataset."""

    @property
    def device(self) -> torch.device:
        """Device for further work on activations."""

    def batch_size(self, probe: ProbeDataset) -> int:
        """Return how many samples to run at a time."""

    def run(self, probe: ProbeDataset, indices: Sequence[int]) -> list[SampleActivations]:
        """Read and run some samples. Safe to call from several threads."""


class OnnxActivationExtractor:
    """Runs the subgraph of an ONNX model that its layers need: by torch on a GPU, else by ONNX Runtime.

    Args:
        content: The ONNX file.
        metadata: Of the model.
        layers: Names of the tensors to return.
        classes: Name of the output with class scores; None if the model is no classifier.
    """

    def __init__(self, content: bytes, metadata: ModelMetadata, layers: Sequence[str], classes: str | None) -> None:
        self._layers, self._classes = list(layers), classes
        outputs = list(dict.fromkeys([*layers, *([classes] if classes else [])]))
        graph = load_working_graph(content, metadata).model
        self._inputs = input_specs(graph)
        model = with_dequantized_tensors(unpack_weights(graph), outputs)
        subgraph = extract_subgraph(model, outputs)
        self._outputs = outputs
        self._device = compute_device()
        on_gpu = self._device.type == "cuda" and not unsupported(subgraph)
        self._run = self._torch(subgraph) if on_gpu else self._runtime(subgraph)

    @property
    def device(self) -> torch.device:
        """Device for further work on activations."""
        return self._device

    def run(self, probe: ProbeDataset, indices: Sequence[int]) -> list[SampleActivations]:
        """Read and run some samples. Safe to call from several threads.

        Raises:
            FaceterError: ``INFERENCE_FAILED`` if a layer has no axis of units or values that are not finite.
        """
        batch = probe.read(indices)
        size, fixed = inference_batch_size(self._inputs, 1)
        outputs = self._run(pad_batch(batch.inputs, size) if fixed else batch.inputs)
        maps = [self._maps(outputs[layer], layer, batch, probe) for layer in self._layers]
        predicted = np.full(len(indices), -1)
        if self._classes is not None:
            predicted = outputs[self._classes][: len(indices)].reshape(len(indices), -1).argmax(axis=1)
        return [
            SampleActivations(concepts, placement, [layer[row] for layer in maps], int(predicted[row]))
            for row, (concepts, placement) in enumerate(zip(batch.concepts, batch.placements, strict=True))
        ]

    def batch_size(self, probe: ProbeDataset) -> int:
        """Return how many samples to run at a time."""
        size, fixed = inference_batch_size(self._inputs, probe.input_size)
        return size if fixed else max(1, min(_LARGEST_BATCH, size, _BATCH_BYTES // (4 * probe.input_size)))

    def _maps(self, values: Array, layer: str, batch: ProbeBatch, probe: ProbeDataset) -> Maps:
        """Return a layer's activations as [B, units, rows, columns]; of tokens, the largest over those of words."""
        count = len(batch.concepts)
        if batch.words is not None and values.ndim == 3 and values.shape[1] == batch.words.shape[1]:
            values = np.where(batch.words[:, :, None], values[:count], -np.inf).max(axis=1)
        ranks = {"images": (2, 4), "signals": (2, 3), "text": (2,)}[probe.about]
        if values.ndim not in ranks or len(values) < count:
            axes = " or ".join(
                {2: "[N, units]", 3: "[N, units, length]", 4: "[N, units, height, width]"}[r] for r in ranks
            )
            axes += " or [N, length, units]" if batch.words is not None else ""
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The tensor {layer!r} is {list(values.shape)} for {count} {probe.about}, so it has no axis of "
                f"units. A layer must be {axes}. Choose another layer.",
                field="layer",
            )
        maps = np.asarray(values[:count], np.float32)
        if not np.isfinite(maps).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The model gives values at {layer!r} that are not finite (NaN or infinite). Choose another layer.",
                field="layer",
            )
        missing = 4 - maps.ndim
        return maps.reshape(*maps.shape[:2], *([1] * missing), *maps.shape[2:])

    def _runtime(self, subgraph: onnx.ModelProto) -> Callable[[dict[str, Array]], dict[str, Array]]:
        loaded = OnnxRuntimeEngine().load(subgraph.SerializeToString(), threads=1)
        names = {spec.name for spec in loaded.inputs}

        def run(inputs: dict[str, Array]) -> dict[str, Array]:
            return loaded.run({name: values for name, values in inputs.items() if name in names}, self._outputs)

        return run

    def _torch(self, subgraph: onnx.ModelProto) -> Callable[[dict[str, Array]], dict[str, Array]]:
        network = OnnxModule(in_float32(subgraph)).to(self._device)

        @torch.inference_mode()
        def run(inputs: dict[str, Array]) -> dict[str, Array]:
            arrays = {name: np.ascontiguousarray(inputs[name]) for name in network.inputs}
            tensors = {name: self._to_device(torch.from_numpy(values)) for name, values in arrays.items()}
            return {name: value.float().cpu().numpy() for name, value in network(tensors).items()}

        return run

    def _to_device(self, values: torch.Tensor) -> torch.Tensor:
        if self._device.type == "cuda":
            return values.pin_memory().to(self._device, non_blocking=True)
        return values.to(self._device)


def stream_activations(
    extractor: ActivationExtractor, probe: ProbeDataset, start: int = 0, stop: int | None = None
) -> Iterator[SampleActivations]:
    """Yield samples from ``start`` to ``stop``, or the last, in order; a few batches are read and run ahead."""
    size, end = extractor.batch_size(probe), len(probe) if stop is None else stop
    batches = [range(begin, min(begin + size, end)) for begin in range(start, end, size)]
    threads = 1 if extractor.device.type == "cuda" else processor_count()
    for samples in map_in_order(lambda indices: extractor.run(probe, indices), batches, threads):
        yield from samples
