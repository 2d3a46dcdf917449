"""Exporting a plan as an ONNX file of quantized operators, weights packed at their bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from faceter.contracts.models import TensorSpec
from faceter.graphs.describe import output_specs, parameter_count
from faceter.graphs.float_tail import FloatTail, with_tail
from faceter.graphs.float_types import with_signature
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import opset_of


@dataclass(frozen=True)
class ExportedModel:
    """A quantized ONNX model.

    Args:
        content: The file: ``packed``, serialized.
        plain: The QDQ graph with one 8-bit code per weight.
        packed: The same with weights packed at their bits.
    """

    content: bytes
    plain: onnx.ModelProto
    packed: onnx.ModelProto

    @property
    def outputs(self) -> list[TensorSpec]:
        """Its outputs."""
        return output_specs(self.packed)

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return opset_of(self.packed)

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return parameter_count(self.packed)

    def with_ends(self, tail: FloatTail | None, signature: Mapping[str, int]) -> ExportedModel:
        """Return it with the end of the graph that was not quantized, and the types of inputs and outputs."""
        if tail is None and not signature:
            return self
        plain, packed = (with_signature(with_tail(model, tail), signature) for model in (self.plain, self.packed))
        return ExportedModel(packed.SerializeToString(), plain, packed)


def export(plan: QuantizationPlan) -> ExportedModel:
    """Write a plan as a QDQ graph and pack its weights."""
    plain = write_qdq(plan)
    packed = pack_weights(plain)
    return ExportedModel(packed.SerializeToString(), plain, packed)
