"""What every method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.fold import BatchNormStatistics
from faceter.graphs.qdq import QuantizationPlan, Sites, quantizable
from faceter.graphs.view import GraphView
from workers.model_input import Batch
from workers.quantization.statistics import Source


@dataclass(frozen=True)
class Prepared:
    """A network ready to be quantized.

    Args:
        original: Canonical float model with BatchNorm as it came.
        model: The same with BatchNorm folded.
        statistics: BatchNorm's β and γ, by the tensor they describe.
        inputs: The model's inputs.
        metadata: What it is for, and how images become its input if it takes images.
        batches: Calibration data, or noise where there are none.
        source: Which of the two.
        progress: Called with the share of the method's work done.
        tuning_inputs: Loads the calibration data to tune on, float32 [N, …]; nothing where there are none.
    """

    original: onnx.ModelProto
    model: onnx.ModelProto
    statistics: Mapping[str, BatchNormStatistics]
    inputs: Sequence[TensorSpec]
    metadata: ModelMetadata
    batches: Sequence[Batch]
    source: Source
    progress: Callable[[float], None] = lambda _: None
    tuning_inputs: Callable[[], NDArray[np.float32]] = lambda: np.empty(0, np.float32)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images become the model's input, if it takes images."""
        return self.metadata.preprocessing

    @property
    def calibrated(self) -> bool:
        """Whether the batches are the user's own data."""
        return self.source is Source.CALIBRATION

    def sites(self) -> Sites:
        """Return what is to be quantized."""
        return quantizable(self.model)

    def with_model(
        self, model: onnx.ModelProto, statistics: Mapping[str, BatchNormStatistics] | None = None
    ) -> Prepared:
        """Return the same with another model and, if given, other statistics."""
        return replace(self, model=model, statistics=self.statistics if statistics is None else statistics)


@dataclass(frozen=True)
class Outcome:
    """What a method made.

    Args:
        plan: Quantizers for everything, and the float model they belong to.
        notes: What a reader of the report should know.
    """

    plan: QuantizationPlan
    notes: list[str] = field(default_factory=list)


Method = Callable[[Prepared, QuantizationRequest], Outcome]
"""A method of quantization: a pure function."""


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product whose second input is a constant weight.

    Args:
        node: The node.
        weight: Its weight's initializer.
        bias: Its bias's initializer; None if it has none.
        source: The activation it takes.
        result: The tensor it makes, before any activation function.
    """

    node: NodeProto
    weight: str
    bias: str | None
    source: str
    result: str


def layers_with_bias(model: onnx.ModelProto) -> list[Layer]:
    """Return the Conv and Gemm nodes with constant weights, whose bias can be given or changed, in order."""
    view = GraphView(model)
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or not view.is_initializer(node.input[1]):
            continue
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if bias is None or view.is_initializer(bias):
            found.append(Layer(node, node.input[1], bias, node.input[0], node.output[0]))
    return found
