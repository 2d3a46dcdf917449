"""Preparing a network to be quantized: canonical operators, folded BatchNorm, calibration batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.kinds import InputDataset
from faceter.graphs.batch_norm_folding import BatchNormStatistics, fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs, is_quantized
from faceter.graphs.quantization_sites import QuantizationSites, find_quantization_sites
from workers.model_input import Batch
from workers.quantization.calibration_inputs import calibration_batches, noise_in_memory, tuning_inputs
from workers.quantization.statistics import StatisticsSource


@dataclass(frozen=True)
class FloatModel:
    """The model to quantize.

    Args:
        content: The ONNX file.
        model: The same, parsed.
    """

    content: bytes
    model: onnx.ModelProto


@dataclass(frozen=True)
class PreparedNetwork:
    """A network ready to be quantized.

    Args:
        original: Canonical float model, BatchNorm not folded.
        model: The same with BatchNorm folded.
        statistics: BatchNorm's β and γ, by the tensor they describe.
        batches: Calibration batches, or seeded noise without calibration data.
        source: Which of the two.
        progress: Called with the fraction of the measuring of activations that is done.
        tuning_inputs: Loads the calibration data to tune on, float32 [N, …]; empty without calibration data.
    """

    original: onnx.ModelProto
    model: onnx.ModelProto
    statistics: Mapping[str, BatchNormStatistics]
    inputs: Sequence[TensorSpec]
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


def load_float_model(content: bytes, max_bytes: int) -> FloatModel:
    """Parse and check the model to quantize.

    Raises:
        FaceterError: ``ALREADY_QUANTIZED``, or that the file is not a valid model.
    """
    model = load_model(content, max_bytes=max_bytes)
    if is_quantized(model):
        raise FaceterError(
            ProblemKind.ALREADY_QUANTIZED,
            "The model is already quantized. Quantize the float model it was made from.",
            field="model_id",
        )
    return FloatModel(content, model)


def prepare(
    original: onnx.ModelProto,
    metadata: ModelMetadata,
    *,
    seed: int,
    calibration: InputDataset | None = None,
) -> PreparedNetwork:
    """Return a checked model ready for a method: canonical, BatchNorm folded, with calibration batches or noise.

    Args:
        original: The model; it is not changed.
        seed: Chooses the calibration samples, or makes the noise.
        calibration: Dataset to measure activation ranges on.
    """
    specs = input_specs(original)
    canonical = canonicalize(original)
    folded = fold_batch_norms(canonical)
    if calibration is not None:
        batches = calibration_batches(calibration, metadata, specs, seed)
    else:
        batches = noise_in_memory(original, specs, metadata.preprocessing, seed)
    return PreparedNetwork(
        original=canonical,
        model=folded.model,
        statistics=folded.statistics,
        inputs=specs,
        metadata=metadata,
        batches=batches,
        source=StatisticsSource.NOISE if calibration is None else StatisticsSource.CALIBRATION,
        tuning_inputs=lambda: tuning_inputs(calibration, metadata, specs, seed),
    )
