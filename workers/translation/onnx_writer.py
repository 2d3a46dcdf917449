"""Writes a trained generator as an ONNX model with dynamic batch, height and width.

The graph is built directly from the weights, without an exporter, so reflection padding and instance norm are single
operators with the attributes of training.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from workers.translation.networks import EPSILON, SLOPE, ResidualBlock, ResnetGenerator, UnetGenerator

INPUT: Final = "image"
"""Name of the input, float32 [batch, 3, height, width] in [−1, 1]."""

OUTPUT: Final = "translation"
"""Name of the output; same shape and range as the input."""

_SHAPE: list[str | int | None] = ["batch", 3, "height", "width"]


def write_generator(module: ResnetGenerator | UnetGenerator, *, opset: int = 18) -> onnx.ModelProto:
    """Return a generator in evaluation mode as an ONNX model, in float32.

    Its input ``image`` and output ``translation`` are float32 [batch, 3, height, width] in [−1, 1], with all dimensions
    but the channels dynamic; height and width must be multiples of ``module.multiple``.

    Args:
        module: The generator, on any device and in any memory format; it is not changed.
        opset: Version of the standard operator set, at least 13.

    Raises:
        ValueError: If the opset is below 13.
        TypeError: If the module is neither of the two generators.
    """
    if opset < 13:
        raise ValueError(f"the generator cannot be written in opset {opset}; it needs at least 13")
    graph = _GeneratorGraph()
    if isinstance(module, ResnetGenerator):
        output = _resnet(graph, module)
    elif isinstance(module, UnetGenerator):
        output = _unet(graph, module)
    else:
        raise TypeError(f"a {type(module).__name__} cannot be written; ResnetGenerator and UnetGenerator can")
    graph.add("Tanh", [output], "tanh", output=OUTPUT)
    return graph.model(type(module).__name__, opset)


def _resnet(graph: _GeneratorGraph, module: ResnetGenerator) -> str:
    x = graph.convolution_and_norm(module.head, graph.pad(INPUT, 3, "head"), "head")
    x = graph.add("Relu", [x], "head/relu")
    for kind, layers in (("down", module.down), ("blocks", module.blocks), ("up", module.up)):
        for index, layer in enumerate(layers):
            name = f"{kind}.{index}"
            if isinstance(layer, ResidualBlock):
                x = _residual(graph, layer, x, name)
            else:
                x = graph.add("Relu", [graph.convolution_and_norm(layer, x, name)], f"{name}/relu")
    return graph.convolution(module.tail, graph.pad(x, 3, "tail"), "tail")


def _residual(graph: _GeneratorGraph, block: ResidualBlock, x: str, name: str) -> str:
    inner = graph.convolution_and_norm(block.first, graph.pad(x, 1, f"{name}.first"), f"{name}.first")
    inner = graph.add("Relu", [inner], f"{name}.first/relu")
    inner = graph.convolution_and_norm(block.second, graph.pad(inner, 1, f"{name}.second"), f"{name}.second")
    return graph.add("Add", [x, inner], f"{name}/add")


def _unet(graph: _GeneratorGraph, module: UnetGenerator) -> str:
    depth = len(module.encoder)
    levels = [graph.convolution(module.encoder[0], INPUT, "encoder.0")]
    for level in range(1, depth):
        name = f"encoder.{level}"
        x = graph.add("LeakyRelu", [levels[-1]], f"{name}/leaky_relu", alpha=SLOPE)
        write = graph.convolution if level == depth - 1 else graph.convolution_and_norm
        levels.append(write(module.encoder[level], x, name))
    x = levels.pop()
    for index, layer in enumerate(module.decoder):
        name = f"decoder.{index}"
        x = graph.add("Relu", [x], f"{name}/relu")
        if not levels:
            return graph.convolution(layer, x, name)
        x = graph.add("Concat", [levels.pop(), graph.convolution_and_norm(layer, x, name)], f"{name}/concat", axis=1)
    return x


class _GeneratorGraph:
    """Builder of a generator's graph. Nodes are named after the module's layer and their operator."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, inputs: list[str], name: str, *, output: str | None = None, **attributes: Any) -> str:
        """Add a node, and return the name of its output, by default that of the node."""
        output = output or name
        self._nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def pad(self, x: str, border: int, name: str) -> str:
        """Add reflection padding of height and width on both sides."""
        pads = self._constant(f"pads_{border}", np.array([0, 0, border, border] * 2, np.int64))
        return self.add("Pad", [x, pads], f"{name}/pad", mode="reflect")

    def convolution(self, layer: nn.Module, x: str, name: str) -> str:
        """Add a convolution, transposed or not, with its attributes and weights."""
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        assert layer.bias is not None
        weights = [
            self._constant(f"{name}.{part}", _values(values))
            for part, values in (("weight", layer.weight), ("bias", layer.bias))
        ]
        assert not isinstance(layer.padding, str)
        attributes: dict[str, Any] = {
            "kernel_shape": list(layer.kernel_size),
            "strides": list(layer.stride),
            "pads": [*layer.padding, *layer.padding],
        }
        if isinstance(layer, nn.ConvTranspose2d):
            attributes["output_padding"] = list(layer.output_padding)
            return self.add("ConvTranspose", [x, *weights], f"{name}/conv_transpose", **attributes)
        return self.add("Conv", [x, *weights], f"{name}/conv", **attributes)

    def convolution_and_norm(self, layer: nn.Module, x: str, name: str) -> str:
        """Add a convolution followed by an instance norm."""
        x = self.convolution(layer, x, name)
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        channels = layer.out_channels
        scale = self._constant(f"ones_{channels}", np.ones(channels, np.float32))
        bias = self._constant(f"zeros_{channels}", np.zeros(channels, np.float32))
        return self.add("InstanceNormalization", [x, scale, bias], f"{name}/norm", epsilon=EPSILON)

    def model(self, name: str, opset: int) -> onnx.ModelProto:
        """Return the graph as a model."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, _SHAPE)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, _SHAPE)],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets), producer_name="faceter"
        )

    def _constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(values, name)
        return name


def _values(weights: Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(weights.detach().float().cpu().numpy())
