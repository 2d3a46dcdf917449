"""Splits a generator into stages that run tile by tile over an image with the same result as on the whole image.

A graph of local operators gives the same values on a tile if it also reads the tile's halo. InstanceNormalization is
not local: its mean and variance are those of the whole image. So the graph is split before each one: a stage ends with
the tensors to be normalized, whose mean and variance are accumulated over its tiles, and the next stage normalizes with
them. There each InstanceNormalization becomes a BatchNormalization whose mean and variance are inputs.

A stage is also split where its halo would exceed `MAX_HALO` pixels, so that deep networks without normalization do not
compute most values several times.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import onnx

from faceter.contracts.errors import FaceterError
from faceter.graphs.canonical import canonicalize
from faceter.graphs.describe import input_specs, output_specs
from faceter.graphs.packing import unpack_weights
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView, attribute, inputs_used, is_standard, node_name, subgraphs
from faceter.translation.local_operators import FeatureMapShape, LocalNode, NotTileableError, ReceptiveFieldAnalysis
from faceter.translation.receptive_field import AxisLength, SlidingWindow

MAX_HALO = 48
"""A stage ends before the operator whose halo, added to those before it, exceeds this many pixels on one side."""


@dataclass(frozen=True)
class InstanceNormInputs:
    """The inputs of a stage that carry the statistics of an instance normalization over the whole image.

    Attributes:
        source: Name of the tensor that is normalized.
        mean: Name of the input for the means, float32 [C].
        variance: Name of the input for the population variances, float32 [C].
    """

    source: str
    mean: str
    variance: str


@dataclass(frozen=True)
class GeneratorStage:
    """A subgraph of a generator.

    Attributes:
        content: Its ONNX file. Inputs are `inputs` and the statistics of `norms`, outputs are `outputs`.
        nodes: Its nodes in order.
        inputs: Tensors of earlier stages, or the image itself, that it reads.
        outputs: Tensors that later stages read, or the generator's output.
        norms: Instance normalizations it begins with.
        normalized: Those of `outputs` that a later stage normalizes, and so needs the mean and variance of.
        released: Tensors that no later stage reads.
        stride: Its tiles begin at multiples of this many pixels, vertically and horizontally.
    """

    content: bytes
    nodes: tuple[LocalNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    norms: tuple[InstanceNormInputs, ...]
    normalized: tuple[str, ...]
    released: tuple[str, ...]
    stride: tuple[int, int]


@dataclass(frozen=True)
class TilingPlan:
    """A generator in stages.

    Attributes:
        stages: In execution order.
        shapes: Shape of each tensor, by name.
        stride: Height and width of the image must be multiples of this.
        input: Name of the tensor that holds the image.
        output: Name of the tensor that holds the translation.
    """

    stages: tuple[GeneratorStage, ...]
    shapes: Mapping[str, FeatureMapShape]
    stride: tuple[int, int]
    input: str
    output: str


def plan_stages(content: bytes) -> TilingPlan:
    """Split a generator into stages.

    Args:
        content: Its ONNX file, as `faceter.translation.check.check_generator` accepts it.

    Raises:
        NotTileableError: If it cannot be split; the message names the node and the reason.
    """
    try:
        model = canonicalize(unpack_weights(onnx.load_model_from_string(content)))
    except FaceterError as error:
        raise NotTileableError(error.detail) from error
    return _StagePlanner(model).plan()


class _StagePlanner:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.view = GraphView(model)
        self.tensors = infer_shapes(model)
        self.input = input_specs(model)[0].name
        self.output = output_specs(model)[0].name
        self.constants = {tensor.name for tensor in model.graph.initializer}
        self.constant_nodes: list[onnx.NodeProto] = []
        self.shapes = {self.input: FeatureMapShape(3, AxisLength(Fraction(1), 0), AxisLength(Fraction(1), 0))}
        self.stage_of = {self.input: 0}
        self.halos = {self.input: Fraction(0)}
        self.nodes: list[list[LocalNode]] = []
        self.norms: dict[str, InstanceNormInputs] = {}

    def plan(self) -> TilingPlan:
        for node in self.model.graph.node:
            if list(subgraphs(node)) or not is_standard(node):
                raise NotTileableError(f"{node.op_type} {node_name(node)!r} is a custom operator or has subgraphs")
            if all(name in self.constants for name in inputs_used(node)):
                self.constant_nodes.append(node)
                self.constants.update(node.output)
            else:
                self._assign(node)
        if self.output not in self.shapes:
            raise NotTileableError("the output does not depend on the image")
        return TilingPlan(tuple(self._stages()), self.shapes, _stride(self.shapes.values()), self.input, self.output)

    def _assign(self, node: onnx.NodeProto) -> None:
        """Assign a node to a stage: not before those of its inputs, and after the one whose output it normalizes."""
        fields = ReceptiveFieldAnalysis(self.view, self.tensors, self.constants)
        norm = node.op_type == "InstanceNormalization"
        local = self._norm(node) if norm else fields.analyze(node, self.shapes)
        stage = max(self.stage_of[name] for name in local.inputs) + norm
        source = self.shapes[local.inputs[0]]
        own = max(local.rows.halo / source.rows.scale, local.columns.halo / source.columns.scale)
        before = max(self.halos[name] if self.stage_of[name] == stage else Fraction(0) for name in local.inputs)
        if own and before and before + own > MAX_HALO:
            stage, before = stage + 1, Fraction(0)
        name = node.output[0]
        self.shapes[name], self.stage_of[name], self.halos[name] = local.shape, stage, before + own
        while len(self.nodes) <= stage:
            self.nodes.append([])
        self.nodes[stage].append(local)

    def _norm(self, node: onnx.NodeProto) -> LocalNode:
        source, *weights = node.input
        if source == self.input:
            raise NotTileableError(f"InstanceNormalization {node_name(node)!r} normalizes the image itself")
        if any(name not in self.constants for name in weights):
            raise NotTileableError(f"InstanceNormalization {node_name(node)!r} has weights that depend on the image")
        if source not in self.norms:
            names = self.view.unique(f"{source}/mean"), self.view.unique(f"{source}/variance")
            self.norms[source] = InstanceNormInputs(source, *names)
        return LocalNode(node, (source,), SlidingWindow(), SlidingWindow(), self.shapes[source])

    def _stages(self) -> Iterator[GeneratorStage]:
        last_reader = {name: index for index, nodes in enumerate(self.nodes) for node in nodes for name in node.inputs}
        last_reader[self.output] = len(self.nodes)
        for index, nodes in enumerate(self.nodes):
            written = [node.node.output[0] for node in nodes]
            outputs = tuple(name for name in written if last_reader.get(name, index) > index)
            inputs = tuple(dict.fromkeys(name for node in nodes for name in node.inputs if name not in written))
            for name in (*outputs, *inputs):
                self._check_float(name)
            normalized = (node.inputs[0] for node in nodes if node.node.op_type == "InstanceNormalization")
            norms = tuple(self.norms[name] for name in dict.fromkeys(normalized))
            yield GeneratorStage(
                content=self._graph(nodes, inputs, outputs, norms),
                nodes=tuple(nodes),
                inputs=inputs,
                outputs=outputs,
                norms=norms,
                normalized=tuple(name for name in outputs if name in self.norms),
                released=tuple(name for name in inputs if last_reader[name] == index and name != self.input),
                stride=_stride(self.shapes[name] for name in (*inputs, *written)),
            )

    def _check_float(self, name: str) -> None:
        info = self.tensors.get(name)
        if info is not None and info.dtype != "float32":
            raise NotTileableError(
                f"the tensor {name!r}, at which the graph would be split, is {info.dtype} instead of float32"
            )

    def _graph(
        self,
        local: list[LocalNode],
        input_names: tuple[str, ...],
        output_names: tuple[str, ...],
        norms: tuple[InstanceNormInputs, ...],
    ) -> bytes:
        nodes = [self._with_statistics(node.node) for node in local]
        needed = {name for node in nodes for name in node.input}
        constant_nodes: list[onnx.NodeProto] = []
        for node in reversed(self.constant_nodes):
            if needed & set(node.output):
                constant_nodes.insert(0, node)
                needed |= set(node.input)
        inputs = [_float(name, [1, self.shapes[name].channels, None, None]) for name in input_names]
        for norm in norms:
            channels = self.shapes[norm.source].channels
            inputs += [_float(norm.mean, [channels]), _float(norm.variance, [channels])]
        outputs = [_float(name, [1, self.shapes[name].channels, None, None]) for name in output_names]
        weights = [tensor for tensor in self.model.graph.initializer if tensor.name in needed]
        graph = onnx.helper.make_graph([*constant_nodes, *nodes], "stage", inputs, outputs, weights)
        opsets = list(self.model.opset_import)
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=self.model.ir_version)
        return bytes(model.SerializeToString())

    def _with_statistics(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return an InstanceNormalization as a BatchNormalization with given statistics, any other node unchanged."""
        if node.op_type != "InstanceNormalization":
            return node
        norm = self.norms[node.input[0]]
        inputs, epsilon = [*node.input, norm.mean, norm.variance], attribute(node, "epsilon", 1e-5)
        return onnx.helper.make_node("BatchNormalization", inputs, list(node.output), node.name, epsilon=epsilon)


def _stride(shapes: Iterable[FeatureMapShape]) -> tuple[int, int]:
    """Return the least common stride of feature maps in pixels, vertically and horizontally."""
    shapes = list(shapes)
    rows = lcm(*(shape.rows.scale.denominator for shape in shapes))
    return rows, lcm(*(shape.columns.scale.denominator for shape in shapes))


def _float(name: str, shape: list[int | None]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
