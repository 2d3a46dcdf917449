"""What an operator's function is given, and what a row of the operator table holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from onnx import AttributeProto, NodeProto

from workers.operators.tensors import from_proto

Results = torch.Tensor | tuple[torch.Tensor | None, ...]
"""What a function answers: its one output, or all of them in ONNX's order."""

Function = Callable[..., Results]
"""``function(node, *inputs)``; an input the graph leaves out is None or not passed at all."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of the operator table.

    Args:
        run: The function.
        host: Positions of the inputs it reads as Python numbers (shapes, axes, scales); they are kept on the CPU.
        settings: Positions of the inputs that are settings and not trained weights (bounds, running statistics,
            quantization scales); a float initializer read only there is a buffer, not a parameter.
        described: Positions of the inputs of which it reads the shape or type only, not the values.
    """

    run: Function
    host: tuple[int, ...] = ()
    settings: tuple[int, ...] = ()
    described: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph, read once: what it is called and what its attributes say.

    Args:
        op_type: ONNX operator.
        name: What the node is called, as `unique_names` says.
        opset: Version of the standard operator set the graph was written in.
        inputs: Names of its inputs; an empty one is left out.
        outputs: Names of its outputs; an empty one is not wanted.
        attributes: Attribute values: int, float, str, tuple of those, or tensor.
        input_types: ONNX element type of each input where the graph says it, else 0.
    """

    op_type: str
    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    input_types: tuple[int, ...] = ()

    @classmethod
    def read(cls, proto: NodeProto, name: str, opset: int, types: Mapping[str, int]) -> "Node":
        """Read a node; ``types`` gives the element type of the tensors that have a known one."""
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
        """Return the ONNX element type of an input, 0 where it is not known."""
        return self.input_types[position] if position < len(self.input_types) else 0

    def wants(self, position: int) -> bool:
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
