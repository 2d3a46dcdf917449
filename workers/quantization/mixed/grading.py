"""How good a quantized network would be as it is served: its accuracy, or its agreement with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from faceter.contracts.models import TensorSpec
from faceter.contracts.quantizations import Agreement, Quality, QuantizationRequest
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.samples import spread
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.layouts import PLAIN, UNSIGNED
from faceter.graphs.qdq import QuantizationPlan, write_qdq
from workers.host import processor_count
from workers.quantization.data import Comparison, Data, Sample, data_comparison
from workers.quantization.evaluation import compare
from workers.quantization.measurement import comparison
from workers.quantization.prepared import Prepared
from workers.quantization.tuned import TunedOutcome

MOST_SAMPLES = 5000
_BYTES_IN_MEMORY = 256 * 2**20


@dataclass(frozen=True)
class Grade:
    """One number for what quantization did.

    Args:
        measure: Accuracy on the evaluation data, or agreement with the original.
        before: The original's; 1 for agreement.
        after: The quantized network's.
    """

    measure: Literal["accuracy", "agreement"]
    before: float
    after: float


def grade_of(agreement: Agreement, quality: Sequence[Quality]) -> Grade:
    """Return the grade of a comparison.

    With a score on evaluation data it is the first: accuracy, or for a detector mAP@0.5. Without, it is agreement: the
    share of equal first classes, F1 of a detector's boxes, or for other outputs 1 − ‖difference‖ / ‖original‖ and not
    below 0.

    Args:
        agreement: How well the outputs agree.
        quality: The scores.
    """
    if quality:
        return Grade("accuracy", quality[0].before, quality[0].after)
    for share in (agreement.top1, agreement.boxes):
        if share is not None:
            return Grade("agreement", 1.0, share)
    return Grade("agreement", 1.0, max(0.0, 1.0 - agreement.relative_error))


class Grader:
    """Grades quantized networks by the engine that serves them, always on the same inputs.

    These are those of the report: the evaluation data if there are any, else inputs held out, else calibration data or
    noise. Of evaluation data it takes 5,000 samples spread over all, but all images for a detector.

    Args:
        prepared: The network.
        request: What is asked for.
        data: The job's datasets.
        made: What there is to compare on without evaluation data.

    Attributes:
        count: How many networks were graded.
        samples: On how many inputs.
        source: Where these come from.
    """

    def __init__(self, prepared: Prepared, request: QuantizationRequest, data: Data, made: TunedOutcome) -> None:
        self._engine = OnnxRuntimeEngine()
        self._layout = UNSIGNED if sums_saturate(self._engine) else PLAIN
        self._metadata = prepared.metadata
        self._evaluation = data.evaluation
        self._inputs = _inputs(prepared, request, data, made)
        first = self._inputs()
        self.count = 0
        self.samples = first.samples
        self.source = first.source
        original = self._engine.load(prepared.original.SerializeToString(), threads=processor_count())
        self._original: LoadedModel = original
        kept = _in_memory(first)
        if kept is not None:
            self._inputs = lambda: replace(first, batches=iter(kept))
            self._original = _Remembered(original)

    def __call__(self, plan: QuantizationPlan) -> Grade:
        """Grade the network of a plan."""
        content = write_qdq(plan).SerializeToString()
        loaded = self._engine.load(content, threads=processor_count(), layout=self._layout)
        found = compare(self._original, loaded, self._inputs(), self._metadata, self._evaluation)
        loaded.close()
        self.count += 1
        return grade_of(*found)

    def close(self) -> None:
        """Give the memory back."""
        self._original.close()


def _inputs(
    prepared: Prepared, request: QuantizationRequest, data: Data, made: TunedOutcome
) -> Callable[[], Comparison]:
    specs = list(prepared.inputs)
    evaluation = data.evaluation
    if evaluation is None or isinstance(evaluation, DetectionDataset) or len(evaluation) <= MOST_SAMPLES:
        return lambda: comparison(prepared.original, specs, prepared.metadata, request, data, made)
    chosen = spread(len(evaluation), MOST_SAMPLES)
    return lambda: data_comparison(evaluation, "evaluation", prepared.metadata, specs, chosen)


def _in_memory(inputs: Comparison) -> list[Sample] | None:
    """Return all batches; None if they are too large to be kept."""
    kept, size = [], 0
    for sample in inputs.batches:
        kept.append(sample)
        size += sum(values.nbytes for values in sample.inputs.values())
        if size > _BYTES_IN_MEMORY:
            return None
    return kept


class _Remembered:
    """A model whose answers to batches that stay in memory are worked out once."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._answers: dict[int, dict[str, Array]] = {}
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

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        known = self._answers.get(id(inputs))
        if known is not None:
            return known
        answers = self._model.run(inputs, outputs, interrupt=interrupt)
        size = sum(values.nbytes for values in answers.values())
        if self._size + size <= _BYTES_IN_MEMORY:
            self._answers[id(inputs)] = answers
            self._size += size
        return answers

    def close(self) -> None:
        self._answers.clear()
        self._model.close()
