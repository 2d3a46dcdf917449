"""Entries of the operator table, and nodes as their functions get them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from onnx import AttributeProto, NodeProto

from workers.operators.tensors import from_proto

Results = torch.Tensor | tuple[torch.Tensor | None, ...]
"""The only output, or all outputs in ONNX's order."""

Function = Callable[..., Results]
"""``function(node, *inputs)``; an omitted optional input is None or not passed."""


@dataclass(frozen=True, slots=True)
class TorchOperator:
    """The torch implementation of an ONNX operator.

    Attributes:
        run: The function.
        cpu_inputs: Positions of inputs that it reads as Python numbers (shapes, axes, scales); they stay on the CPU.
        non_trainable: Positions of inputs that are not trained (bounds, running statistics, quantization scales); a
            float initializer that is read only there is a buffer, not a parameter.
        shape_only: Positions of inputs of which it reads shape or dtype only, not values.
    """

    run: Function
    cpu_inputs: tuple[int, ...] = ()
    non_trainable: tuple[int, ...] = ()
    shape_only: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a graph with parsed attributes.

    Attributes:
        op_type: ONNX operator.
        name: Unique name; see `unique_names`.
        opset: Version of the graph's standard operator set.
        inputs: Names of its inputs; an omitted optional one is empty.
        outputs: Names of its outputs; an unused one is empty.
        attributes: Attribute values: int, float, str, tuple of those, or tensor.
        input_types: ONNX element type of each input, 0 if unknown.
    """

    op_type: str
    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    input_types: tuple[int, ...] = ()

    @classmethod
    def parse(cls, proto: NodeProto, name: str, opset: int, types: Mapping[str, int]) -> "Node":
        """Parse a node; ``types`` has the known element types by tensor name."""
        return cls(
            op_type=proto.op_type,
            name=name,
            opset=opset,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes={attribute.name: _value(attribute) for attribute in proto.attribute},
            input_types=tuple(types.get(item, 0) for item in proto.input),
        )

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self.attributes

    def integer(self, name: str, default: int = 0) -> int:
        """Return an INT attribute."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a FLOAT attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """Return a STRING attribute."""
        return str(self.attributes.get(name, default))

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return an INTS attribute."""
        return tuple(self.attributes.get(name, default))

    def numbers(self, name: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Return a FLOATS attribute."""
        return tuple(self.attributes.get(name, default))

    def input_type(self, position: int) -> int:
        """Return the ONNX element type of an input, 0 if unknown."""
        return self.input_types[position] if position < len(self.input_types) else 0

    def uses_output(self, position: int) -> bool:
        """Whether the graph uses the output at this position."""
        return position < len(self.outputs) and bool(self.outputs[position])


def _value(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        return from_proto(value)
    if attribute.type == AttributeProto.STRING:
        return value.decode()
    if attribute.type == AttributeProto.STRINGS:
        return tuple(item.decode() for item in value)
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(value)
    return value
