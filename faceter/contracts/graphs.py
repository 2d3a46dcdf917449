"""What is inside a model: layers, tensors, operators."""

from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.models import TensorSpec


class Layer(Contract):
    """One node of the graph."""

    name: str = Field(examples=["node_conv2d_1"])
    """Its name; made from its first output where it has none."""
    operator: str = Field(examples=["Conv"])
    """ONNX operator."""
    inputs: list[str] = Field(examples=[["image", "conv1.weight"]])
    """Names of the tensors it takes, weights included."""
    outputs: list[str] = Field(examples=[["relu_1"]])
    """Names of the tensors it makes."""
    parameters: int = Field(examples=[2304])
    """Trained values it holds."""
    macs: int | None = Field(default=None, examples=[2359296])
    """Multiply-accumulates for one input; null where a size is unknown."""
    batch_norm: bool = Field(default=False)
    """Whether a BatchNormalization with statistics follows it directly."""


class Tensor(TensorSpec):
    """A tensor between layers."""

    produced_by: str | None = Field(default=None, examples=["node_conv2d_1"])
    """The layer that makes it; null for an input of the graph."""


class Graph(Contract):
    """What is inside a model."""

    opset: int = Field(examples=[20])
    """Version of the standard operator set."""
    operators: dict[str, int] = Field(examples=[{"Conv": 19, "Relu": 19}])
    """How often each operator is used."""
    layers: list[Layer]
    """Nodes in the order they run."""
    tensors: list[Tensor]
    """Every tensor that is not a weight, with its shape as inferred."""
    parameters: int = Field(examples=[272474])
    """Trained values in all."""
    macs: int | None = Field(examples=[40813184])
    """Multiply-accumulates for one input; null where a size is unknown."""
    unsupported_operators: list[str] = Field(default_factory=list, examples=[["Loop"]])
    """Operators that jobs do not know; `predict` works all the same."""
