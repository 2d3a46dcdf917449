"""Measuring the accuracy of many candidates on the same inputs, by the engine that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from faceter.contracts.models import TensorSpec
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.samples import evenly_spaced
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.layouts import PLAIN, UNSIGNED
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.host import processor_count
from workers.quantization.agreement import measure_agreement
from workers.quantization.comparison_inputs import (
    ComparisonBatch,
    ComparisonInputs,
    HeldOutInputs,
    comparison_inputs,
    dataset_inputs,
)
from workers.quantization.datasets import JobDatasets
from workers.quantization.mixed.accuracy import AccuracyMeasurement, accuracy_of
from workers.quantization.prepare import PreparedNetwork

_MAX_SAMPLES = 5000
_BYTES_IN_MEMORY = 256 * 2**20


class AccuracyMeter:
    """Measures candidates on the inputs of the report: evaluation data, else held-out inputs, calibration data, noise.

    Of evaluation data it takes up to 5,000 evenly spaced samples; for a detector, all images.

    Attributes:
        samples: Number of inputs.
        source: Where they come from.
    """

    def __init__(
        self, prepared: PreparedNetwork, datasets: JobDatasets, held_out: HeldOutInputs | None, seed: int
    ) -> None:
        self._engine = OnnxRuntimeEngine()
        self._layout = UNSIGNED if sums_saturate(self._engine) else PLAIN
        self._metadata = prepared.metadata
        self._evaluation = datasets.evaluation
        self._inputs = _inputs(prepared, datasets, held_out, seed)
        first = self._inputs()
        self.samples = first.samples
        self.source = first.source
        original = self._engine.load(prepared.original.SerializeToString(), threads=processor_count())
        self._original: LoadedModel = original
        batches = _in_memory(first)
        if batches is not None:
            self._inputs = lambda: replace(first, batches=iter(batches))
            self._original = _CachedModel(original)

    def __call__(self, plan: QuantizationPlan) -> AccuracyMeasurement:
        """Measure the network of a plan."""
        content = write_qdq(plan).SerializeToString()
        loaded = self._engine.load(content, threads=processor_count(), layout=self._layout)
        agreement, quality = measure_agreement(self._original, loaded, self._inputs(), self._metadata, self._evaluation)
        loaded.close()
        return accuracy_of(agreement, quality)

    def close(self) -> None:
        """Free the memory of the float model."""
        self._original.close()


def _inputs(
    prepared: PreparedNetwork, datasets: JobDatasets, held_out: HeldOutInputs | None, seed: int
) -> Callable[[], ComparisonInputs]:
    evaluation, metadata, specs = datasets.evaluation, prepared.metadata, list(prepared.inputs)
    if evaluation is None or isinstance(evaluation, DetectionDataset) or len(evaluation) <= _MAX_SAMPLES:
        return lambda: comparison_inputs(prepared.original, specs, metadata, datasets, held_out, seed)
    indices = evenly_spaced(len(evaluation), _MAX_SAMPLES)
    return lambda: dataset_inputs(evaluation, "evaluation", metadata, specs, indices)


def _in_memory(inputs: ComparisonInputs) -> list[ComparisonBatch] | None:
    """Return all batches; None if they take more than 256 MiB."""
    batches, size = [], 0
    for batch in inputs.batches:
        batches.append(batch)
        size += sum(values.nbytes for values in batch.inputs.values())
        if size > _BYTES_IN_MEMORY:
            return None
    return batches


class _CachedModel:
    """A model whose outputs for batches that stay in memory are computed once, up to 256 MiB of outputs."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._outputs: dict[int, dict[str, Array]] = {}
        self._size = 0

    @property
    def inputs(self) -> list[TensorSpec]:
        return self._model.inputs

    @property
    def outputs(self) -> list[TensorSpec]:
        return self._model.outputs

    @property
    def bytes(self) -> int:
        return self._model.bytes + self._size

    @property
    def probability_outputs(self) -> frozenset[str]:
        return self._model.probability_outputs

    @property
    def substitutes_float32(self) -> bool:
        return self._model.substitutes_float32

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        cached = self._outputs.get(id(inputs))
        if cached is not None:
            return cached
        computed = self._model.run(inputs, outputs, interrupt=interrupt)
        size = sum(values.nbytes for values in computed.values())
        if self._size + size <= _BYTES_IN_MEMORY:
            self._outputs[id(inputs)] = computed
            self._size += size
        return computed

    def close(self) -> None:
        self._outputs.clear()
        self._model.close()
