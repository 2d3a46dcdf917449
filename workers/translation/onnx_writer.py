"""Writes a trained generator as an ONNX model of any height and width, straight from its weights.

No exporter comes between, so reflection padding and instance norm are the operators of these names, with the attributes
of training, and batch, height and width stay free.
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
"""Name of the output, of the input's shape and range."""

_SHAPE: list[str | int | None] = ["batch", 3, "height", "width"]


def write_generator(module: ResnetGenerator | UnetGenerator, *, opset: int = 18) -> onnx.ModelProto:
    """Return a generator as an ONNX model that computes what the module does in evaluation mode, in float32.

    Its input ``image`` and output ``translation`` are float32 [batch, 3, height, width] in [−1, 1], and all but the
    channels are free; height and width are multiples of ``module.multiple``. Dropout is left out: it is noise for
    training.

    Args:
        module: The generator, on any device and in any memory format; it is not changed.
        opset: Version of the standard operators to write, at least 13.

    Raises:
        ValueError: If the opset is below 13.
        TypeError: If the module is neither of the two generators.
    """
    if opset < 13:
        raise ValueError(f"the generator cannot be written in opset {opset}; it takes at least 13")
    writer = _Writer()
    if isinstance(module, ResnetGenerator):
        found = _resnet(writer, module)
    elif isinstance(module, UnetGenerator):
        found = _unet(writer, module)
    else:
        raise TypeError(f"a {type(module).__name__} cannot be written; ResnetGenerator and UnetGenerator can")
    writer.add("Tanh", [found], "tanh", output=OUTPUT)
    return writer.model(type(module).__name__, opset)


def _resnet(writer: _Writer, module: ResnetGenerator) -> str:
    x = writer.normalized(module.head, writer.pad(INPUT, 3, "head"), "head")
    x = writer.add("Relu", [x], "head/relu")
    for kind, layers in (("down", module.down), ("blocks", module.blocks), ("up", module.up)):
        for index, layer in enumerate(layers):
            name = f"{kind}.{index}"
            if isinstance(layer, ResidualBlock):
                x = _residual(writer, layer, x, name)
            else:
                x = writer.add("Relu", [writer.normalized(layer, x, name)], f"{name}/relu")
    return writer.convolution(module.tail, writer.pad(x, 3, "tail"), "tail")


def _residual(writer: _Writer, block: ResidualBlock, x: str, name: str) -> str:
    inner = writer.normalized(block.first, writer.pad(x, 1, f"{name}.first"), f"{name}.first")
    inner = writer.add("Relu", [inner], f"{name}.first/relu")
    inner = writer.normalized(block.second, writer.pad(inner, 1, f"{name}.second"), f"{name}.second")
    return writer.add("Add", [x, inner], f"{name}/add")


def _unet(writer: _Writer, module: UnetGenerator) -> str:
    depth = len(module.encoder)
    levels = [writer.convolution(module.encoder[0], INPUT, "encoder.0")]
    for level in range(1, depth):
        name = f"encoder.{level}"
        x = writer.add("LeakyRelu", [levels[-1]], f"{name}/leaky_relu", alpha=SLOPE)
        write = writer.convolution if level == depth - 1 else writer.normalized
        levels.append(write(module.encoder[level], x, name))
    x = levels.pop()
    for index, layer in enumerate(module.decoder):
        name = f"decoder.{index}"
        x = writer.add("Relu", [x], f"{name}/relu")
        if not levels:
            return writer.convolution(layer, x, name)
        x = writer.add("Concat", [levels.pop(), writer.normalized(layer, x, name)], f"{name}/concat", axis=1)
    return x


class _Writer:
    """A graph in the making. Every node is named after the module's layer and what it does there."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, inputs: list[str], name: str, *, output: str | None = None, **attributes: Any) -> str:
        """Add a node; returns its output's name, which is the node's unless another is given."""
        made = output or name
        self._nodes.append(helper.make_node(operator, inputs, [made], name=name, **attributes))
        return made

    def pad(self, x: str, border: int, name: str) -> str:
        """Pad height and width on both sides by reflection, the edge itself not repeated."""
        pads = self._constant(f"pads_{border}", np.array([0, 0, border, border] * 2, np.int64))
        return self.add("Pad", [x, pads], f"{name}/pad", mode="reflect")

    def convolution(self, layer: nn.Module, x: str, name: str) -> str:
        """Add a convolution, transposed or not, as it is set up and with its weights."""
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

    def normalized(self, layer: nn.Module, x: str, name: str) -> str:
        """Add a convolution and the instance norm after it."""
        x = self.convolution(layer, x, name)
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        channels = layer.out_channels
        scale = self._constant(f"ones_{channels}", np.ones(channels, np.float32))
        bias = self._constant(f"zeros_{channels}", np.zeros(channels, np.float32))
        return self.add("InstanceNormalization", [x, scale, bias], f"{name}/norm", epsilon=EPSILON)

    def model(self, name: str, opset: int) -> onnx.ModelProto:
        """Return what was added as a model."""
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
