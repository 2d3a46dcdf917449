"""Small hand-made generators of the common architectures."""

from typing import Any, Protocol

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.graphs.builders import GraphBuilder


class Build(Protocol):
    """Makes a generator."""

    def __call__(self, **sizes: Any) -> bytes:
        """Return its ONNX file, with fixed sizes if given."""


class GeneratorBuilder(GraphBuilder):
    """Adds the layers of generators."""

    def __init__(self, *, height: int | str = "height", width: int | str = "width", batch: int | str = "batch") -> None:
        super().__init__([batch, 3, height, width], name="image")
        self.sizes = (batch, 3, height, width)

    def pad(self, width: int, mode: str = "reflect") -> str:
        return self.add("Pad", self.last, self.constant(np.array([0, 0, width, width] * 2, np.int64)), mode=mode)

    def norm(self, channels: int) -> str:
        scale = self.constant(self.rng.uniform(0.5, 1.5, channels).astype(np.float32))
        shift = self.constant(self.rng.normal(0, 0.3, channels).astype(np.float32))
        return self.add("InstanceNormalization", self.last, scale, shift, epsilon=1e-5)

    def up(self, outputs: int, inputs: int, **attributes: Any) -> str:
        weight, bias = self.weight(inputs, outputs, 3, 3), self.weight(outputs)
        attributes = {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1], **attributes}
        return self.add("ConvTranspose", self.last, weight, bias, **attributes)

    def content(self, *, opset: int = 17, dtype: int = onnx.TensorProto.FLOAT) -> bytes:
        for node in self.nodes:
            node.output[:] = ["translation" if name == self.last else name for name in node.output]
        self.inputs[0].type.tensor_type.elem_type = dtype
        output = helper.make_tensor_value_info("translation", dtype, ["n", 3, "h", "w"])
        graph = helper.make_graph(self.nodes, "generator", self.inputs, [output], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        return bytes(model.SerializeToString())


def resnet(
    channels: int = 8, blocks: int = 2, *, norm: str = "instance", up: str = "transposed", **sizes: Any
) -> bytes:
    """Return CycleGAN's generator: reflection padding, two strided convolutions, residual blocks, two upsamplings."""
    builder = GeneratorBuilder(**sizes)

    def norm_relu(count: int) -> None:
        if norm == "instance":
            builder.norm(count)
        elif norm == "batch":
            builder.batch_norm(count)
        builder.add("Relu")

    builder.pad(3)
    builder.conv(channels, 3, 7, pads=[0] * 4)
    norm_relu(channels)
    for factor in (1, 2):
        builder.conv(2 * factor * channels, factor * channels, strides=[2, 2])
        norm_relu(2 * factor * channels)
    wide = 4 * channels
    for _ in range(blocks):
        before = builder.last
        builder.pad(1)
        builder.conv(wide, wide, pads=[0] * 4)
        norm_relu(wide)
        builder.pad(1)
        builder.conv(wide, wide, pads=[0] * 4)
        if norm == "instance":
            builder.norm(wide)
        builder.add("Add", before, builder.last)
    for factor in (2, 1):
        if up == "transposed":
            builder.up(factor * channels, 2 * factor * channels)
        else:
            scales = builder.constant(np.array([1, 1, 2, 2], np.float32))
            builder.add("Resize", builder.last, "", scales, mode=up)
            builder.conv(factor * channels, 2 * factor * channels)
        norm_relu(factor * channels)
    builder.pad(3)
    builder.conv(3, channels, 7, pads=[0] * 4)
    builder.add("Tanh")
    return builder.content()


def unet(channels: int = 4, depth: int = 4, *, norm: bool = True, **sizes: Any) -> bytes:
    """Return pix2pix's generator, a U-Net: strided convolutions, transposed convolutions, skip connections."""
    builder = GeneratorBuilder(**sizes)
    down: list[tuple[str, int]] = []
    count = 3
    for level in range(depth):
        wider = channels * 2 ** min(level, 3)
        builder.conv(wider, count, 4, strides=[2, 2], pads=[1] * 4)
        if norm and 0 < level < depth - 1:
            builder.norm(wider)
        builder.add("LeakyRelu", alpha=0.2)
        down.append((builder.last, wider))
        count = wider
    for level in reversed(range(depth)):
        narrower = 3 if level == 0 else down[level - 1][1]
        weight, bias = builder.weight(count, narrower, 4, 4), builder.weight(narrower)
        builder.add("ConvTranspose", builder.last, weight, bias, strides=[2, 2], pads=[1] * 4)
        if level:
            if norm:
                builder.norm(narrower)
            builder.add("Concat", builder.last, down[level - 1][0], axis=1)
            builder.add("Relu")
            count = 2 * narrower
    builder.add("Tanh")
    return builder.content()


def inverter(**sizes: Any) -> bytes:
    """Return a generator that inverts colours: y = −x."""
    builder = GeneratorBuilder(**sizes)
    builder.add("Neg")
    return builder.content()


def positioned(height: int, width: int) -> bytes:
    """Return a generator of one size: it inverts colours and adds a little noise, one value for each position."""
    builder = GeneratorBuilder(height=height, width=width, batch=1)
    builder.add("Neg")
    noise = builder.rng.uniform(-0.01, 0.01, (1, 3, height, width)).astype(np.float32)
    builder.add("Add", builder.last, builder.constant(noise))
    return builder.content()


def dense(height: int, width: int) -> bytes:
    """Return a generator of one size: a matrix that reverses the columns, of as many rows as the image has columns."""
    builder = GeneratorBuilder(height=height, width=width, batch=1)
    builder.add("Neg")
    builder.add("MatMul", builder.last, builder.constant(np.eye(width, dtype=np.float32)[::-1].copy()))
    return builder.content()


def one_node(operator: str, *constants: np.ndarray, opset: int = 17, **attributes: Any) -> bytes:
    """Return a model of one node that reads the image and constants."""
    builder = GeneratorBuilder()
    names = [builder.constant(value) for value in constants]
    builder.add(operator, "image", *names, **attributes)
    return builder.content(opset=opset)


def quantized(content: bytes, *, bits: int = 8) -> bytes:
    """Return a generator whose convolutions have quantized weights and inputs (QDQ, 8-bit codes)."""
    model = onnx.load_model_from_string(content)
    nodes, weights = [], {tensor.name: tensor for tensor in model.graph.initializer}
    scale = numpy_helper.from_array(np.array(0.05, np.float32), "activation_scale")
    zero = numpy_helper.from_array(np.array(128, np.uint8), "activation_zero")
    model.graph.initializer.extend([scale, zero])
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = numpy_helper.to_array(weights[node.input[1]])
            step = np.abs(weight).max() / (2 ** (bits - 1) - 1)
            codes = numpy_helper.from_array(np.rint(weight / step).astype(np.int8), f"{node.input[1]}/codes")
            steps = numpy_helper.from_array(np.array(step, np.float32), f"{node.input[1]}/step")
            model.graph.initializer.extend([codes, steps])
            dequantized = f"{node.input[1]}/dequantized"
            nodes.append(helper.make_node("DequantizeLinear", [codes.name, steps.name], [dequantized]))
            source = f"{node.input[0]}/{node.output[0]}"
            nodes.append(
                helper.make_node("QuantizeLinear", [node.input[0], scale.name, zero.name], [f"{source}/codes"])
            )
            nodes.append(
                helper.make_node("DequantizeLinear", [f"{source}/codes", scale.name, zero.name], [f"{source}/values"])
            )
            node.input[0], node.input[1] = f"{source}/values", dequantized
        nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return bytes(model.SerializeToString())
