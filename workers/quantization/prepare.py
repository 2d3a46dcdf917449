"""Preparing a network to be quantized: canonical operators, folded BatchNorm, calibration batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationRequest
from faceter.datasets.kinds import InputDataset
from faceter.engines.input_shapes import InputShapes, choose_input_shapes, with_input_shapes
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.batch_norm_folding import BatchNormStatistics, fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.check import check_model
from faceter.graphs.describe import input_specs
from faceter.graphs.finite_weights import check_finite_weights
from faceter.graphs.float_tail import FloatTail, split_tail
from faceter.graphs.float_types import float_signature, float_type_warnings, has_bfloat16_signature, in_float32
from faceter.graphs.open_axes import open_axes
from faceter.graphs.quantization_sites import QuantizationSites, find_quantization_sites
from faceter.graphs.quantized_operators import check_not_quantized
from faceter.graphs.weight_rows import weights_as_rows
from faceter.graphs.working import working_graph
from faceter.host import processor_count
from faceter.text.inputs import job_shapes
from workers.model_input import Batch, as_model_input
from workers.quantization.calibration_inputs import calibration_batches, noise_in_memory, observed_batch, tuning_inputs
from workers.quantization.datasets import JobDatasets
from workers.quantization.packed_inputs import InputPacking, input_packing
from workers.quantization.statistics import StatisticsSource

_TRIAL_SECONDS = 60.0


@dataclass(frozen=True)
class FloatModel:
    """The model to quantize.

    Args:
        content: The ONNX file; if the metadata fix a part of the graph, that graph.
        model: The same, parsed.
        warnings: How the graph differs from the file, and the types that are not quantized as they are.
        tail: The end of the graph that is left out here and stays as it is.
        signature: ONNX element types of inputs and outputs that are float32 here; of bfloat16, which numpy lacks.
    """

    content: bytes
    model: onnx.ModelProto
    warnings: tuple[str, ...] = ()
    tail: FloatTail | None = None
    signature: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedNetwork:
    """A network ready to be quantized.

    Args:
        original: Canonical float model, BatchNorm not folded.
        model: The same with BatchNorm folded.
        statistics: BatchNorm's β and γ, by the tensor they describe.
        inputs: Inputs with concrete shapes; only the batch axis is open, if the batch size may vary.
        shapes: Shapes of one run at batch 1, or at the batch size that the model fixes, by input.
        batches: Calibration batches, or seeded noise without calibration data.
        source: Which of the two.
        progress: Called with the fraction of the measuring of activations that is done.
        tuning_inputs: Loads the calibration data to tune on, packed float32 [N, …]; empty without calibration data.
    """

    original: onnx.ModelProto
    model: onnx.ModelProto
    statistics: Mapping[str, BatchNormStatistics]
    inputs: Sequence[TensorSpec]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: ModelMetadata
    batches: Sequence[Batch]
    source: StatisticsSource
    progress: Callable[[float], None] = lambda _: None
    tuning_inputs: Callable[[], NDArray[np.float32]] = lambda: np.empty(0, np.float32)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images become the model's input, if it takes images."""
        return self.metadata.preprocessing

    @property
    def packing(self) -> InputPacking:
        """How the inputs become one tensor."""
        return input_packing(self.inputs, self.preprocessing)

    @property
    def calibrated(self) -> bool:
        """Whether the batches are the user's calibration data."""
        return self.source is StatisticsSource.CALIBRATION

    def sites(self) -> QuantizationSites:
        """Return the weights and activations to quantize."""
        return find_quantization_sites(self.model)

    def with_model(
        self, model: onnx.ModelProto, statistics: Mapping[str, BatchNormStatistics] | None = None
    ) -> PreparedNetwork:
        """Return the same with another model and, if given, other statistics."""
        return replace(self, model=model, statistics=self.statistics if statistics is None else statistics)


def load_float_model(content: bytes, metadata: ModelMetadata, max_bytes: int) -> FloatModel:
    """Parse and check the model to quantize.

    Raises:
        FaceterError: ``ALREADY_QUANTIZED``, ``INVALID_MODEL`` for weights that are not finite, or that the file is not
            a valid model.
    """
    checked = check_model(content, max_bytes=max_bytes)
    working = working_graph(checked.model, metadata)
    model = working.model
    check_not_quantized(model)
    check_finite_weights(model)
    model, tail = split_tail(model)
    warnings = (*checked.warnings, *working.warnings, *float_type_warnings(model))
    if tail is not None:
        warnings += (tail.warning,)
    signature = float_signature(model) if has_bfloat16_signature(model) else {}
    if signature:
        model = in_float32(model, keep_signature=False)
    if working.warnings or tail is not None or signature:
        content = model.SerializeToString()
    return FloatModel(content, model, warnings, tail, signature)


def sized_metadata(
    original: FloatModel, metadata: ModelMetadata, request: QuantizationRequest, datasets: JobDatasets
) -> ModelMetadata:
    """Return metadata with the shapes of the request, else, where the file leaves sizes open, those of its datasets.

    A text model without a dataset is run on short texts.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if a dataset does not fit the model.
    """
    inputs = input_specs(original.model)
    metadata = with_input_shapes(metadata, inputs, request.input_shapes)
    for role, dataset in (("calibration", datasets.calibration), ("evaluation", datasets.evaluation)):
        if dataset is not None and metadata.preprocessing is None and not metadata.input_shapes:
            source = as_model_input(dataset, metadata, inputs, f"{role}_dataset_id")
            open_inputs = [spec.name for spec in inputs if open_axes(spec.shape[1:])]
            shapes = {name: [1, *shape] for name, shape in source.shapes.items() if name in open_inputs}
            metadata = with_input_shapes(metadata, inputs, shapes)
    if metadata.text is not None and not metadata.input_shapes:
        metadata = with_input_shapes(metadata, inputs, job_shapes(metadata.text, inputs))
    return metadata


def run_shapes(original: FloatModel, metadata: ModelMetadata) -> InputShapes:
    """Return the shapes to run a model at; see :func:`choose_input_shapes`."""
    loaded = OnnxRuntimeEngine().load(original.content, threads=processor_count())
    try:
        return choose_input_shapes(loaded, original.model, metadata, seconds=_TRIAL_SECONDS, field="input_shapes")
    finally:
        loaded.close()


def prepare(
    original: onnx.ModelProto,
    metadata: ModelMetadata,
    *,
    seed: int,
    calibration: InputDataset | None = None,
    shapes: InputShapes | None = None,
) -> PreparedNetwork:
    """Return a checked model ready for a method: canonical, BatchNorm folded, with calibration batches or noise.

    Args:
        original: The model; it is not changed.
        seed: Chooses the calibration samples, or makes the noise.
        calibration: Dataset to measure activation ranges on.
        shapes: Concrete shapes of the inputs; chosen by trial runs if not given.
    """
    shapes = shapes or run_shapes(FloatModel(original.SerializeToString(), original), metadata)
    specs = shapes.specs(input_specs(original))
    canonical = canonicalize(original)
    folded = fold_batch_norms(canonical)
    largest = observed_batch(folded.model, shapes.shapes)
    if calibration is not None:
        batches = calibration_batches(calibration, metadata, specs, seed, largest)
    else:
        batches = noise_in_memory(canonical, specs, metadata.preprocessing, seed, largest)
    return PreparedNetwork(
        original=canonical,
        model=weights_as_rows(folded.model),
        statistics=folded.statistics,
        inputs=specs,
        shapes=shapes.shapes,
        metadata=metadata,
        batches=batches,
        source=StatisticsSource.NOISE if calibration is None else StatisticsSource.CALIBRATION,
        tuning_inputs=lambda: tuning_inputs(calibration, metadata, specs, seed),
    )
