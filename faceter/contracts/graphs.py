"""Graph of a model: layers, tensors, operators."""

from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.models import TensorSpec


class Layer(Contract):
    """Node of the graph."""

    name: str = Field(examples=["node_conv2d_1"])
    """Name of the node; if it has none, derived from its first output."""
    operator: str = Field(examples=["Conv"])
    """ONNX operator."""
    inputs: list[str] = Field(examples=[["image", "conv1.weight"]])
    """Names of the input tensors, including weights."""
    outputs: list[str] = Field(examples=[["relu_1"]])
    """Names of the output tensors."""
    parameters: int = Field(examples=[2304])
    """Number of trainable parameters."""
    macs: int | None = Field(default=None, examples=[2359296])
    """Multiply-accumulate operations for one input; null if a size is unknown."""
    batch_norm: bool = Field(default=False)
    """Whether it is directly followed by a BatchNormalization with statistics."""


class Tensor(TensorSpec):
    """Tensor of the graph that is not a weight."""

    produced_by: str | None = Field(default=None, examples=["node_conv2d_1"])
    """Name of the layer that outputs it; null for an input of the graph."""


class Graph(Contract):
    """Graph of a model."""

    opset: int = Field(examples=[20])
    """Version of the standard operator set."""
    operators: dict[str, int] = Field(examples=[{"Conv": 19, "Relu": 19}])
    """Number of nodes per operator."""
    layers: list[Layer]
    """Nodes in execution order."""
    tensors: list[Tensor]
    """All tensors except weights, with inferred shapes."""
    parameters: int = Field(examples=[272474])
    """Total number of trainable parameters."""
    macs: int | None = Field(examples=[40813184])
    """Multiply-accumulate operations for one input; null if a size is unknown."""
    feature_tensor: str | None = Field(default=None, examples=["avgpool"])
    """Tensor that usually serves as features, for evaluations and explanations: the input of the last fully connected
    layer; null if there is no such layer."""
    producer: str | None = Field(default=None, examples=["pytorch 2.11.0"])
    """Exporter of the file, with its version, if the file says so."""
    properties: dict[str, str] = Field(default_factory=dict, examples=[{"author": "Ultralytics", "task": "detect"}])
    """What the file says of itself (`metadata_props`): at most 100 values, of each the first 2,000 characters."""
    properties_cut: dict[str, int] = Field(default_factory=dict, examples=[{"character": 13245}])
    """Lengths, in characters, of values that are longer than what `properties` shows of them."""
    properties_left_out: int = Field(default=0, ge=0, examples=[0])
    """Number of values that `properties` does not show."""
    unsupported_operators: list[str] = Field(default_factory=list, examples=[["Loop"]])
    """Operators that jobs do not support; `predict` does."""
