"""Cuts a generator into stages that can run part by part over an image, and give what the whole would.

A graph of local operators gives the same values for a part of an image if it sees the part's surroundings. An
InstanceNormalization does not: its mean and variance are the whole image's. So the graph is cut in front of each: a
stage ends with the tensors to be normalized, over which mean and variance are taken while they are made, and the next
stage normalizes by them. In it each InstanceNormalization is a BatchNormalization whose mean and variance are inputs.

A stage is cut too where the surroundings it needs grow beyond `MOST_MARGIN` pixels, so that deep networks without
normalizations do not compute everything several times over.
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
from faceter.graphs.shapes import infer
from faceter.graphs.view import GraphView, attribute, inputs_used, is_standard, node_name, subgraphs
from faceter.translation.locality import Grid, Locality, NotLocal, Step
from faceter.translation.reach import Extent, Slide

MOST_MARGIN = 48
"""A stage that has gone this many pixels beyond its part on some side ends before the next operator that goes on."""


@dataclass(frozen=True)
class Norm:
    """An InstanceNormalization: takes mean and variance of each channel over the whole image.

    Attributes:
        source: Name of the tensor that it normalizes.
        mean: Name of the stage's input that takes the means, float32 [C].
        variance: Name of the stage's input that takes the variances (of the whole image, not of a sample).
    """

    source: str
    mean: str
    variance: str


@dataclass(frozen=True)
class Stage:
    """A part of a generator's graph.

    Attributes:
        content: Its ONNX file. Inputs are `sources` and the statistics of `norms`, outputs are `results`.
        steps: Its nodes in order.
        sources: Tensors of earlier stages, or the image itself, that it reads.
        results: Tensors that later stages read, or the generator's output.
        norms: Normalizations it begins with.
        measured: Those of `results` whose mean and variance a later stage wants.
        done_with: Tensors that nobody reads after it.
        unit: Its parts begin at multiples of so many pixels, downwards and across.
    """

    content: bytes
    steps: tuple[Step, ...]
    sources: tuple[str, ...]
    results: tuple[str, ...]
    norms: tuple[Norm, ...]
    measured: tuple[str, ...]
    done_with: tuple[str, ...]
    unit: tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """A generator in stages.

    Attributes:
        stages: In the order they run.
        grids: Where the values of each tensor lie, by name.
        unit: Height and width must be multiples of this.
        input: Name of the tensor that holds the image.
        output: Name of the tensor that holds the translation.
    """

    stages: tuple[Stage, ...]
    grids: Mapping[str, Grid]
    unit: tuple[int, int]
    input: str
    output: str


def plan_stages(content: bytes) -> Plan:
    """Cut a generator into stages.

    Args:
        content: Its ONNX file, as `faceter.translation.check.check_generator` accepts it.

    Raises:
        NotLocal: If it cannot be cut; the message names the node and says why.
    """
    try:
        model = canonicalize(unpack_weights(onnx.load_model_from_string(content)))
    except FaceterError as error:
        raise NotLocal(error.detail) from error
    return _Planning(model).plan()


class _Planning:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.view = GraphView(model)
        self.shapes = infer(model)
        self.input = input_specs(model)[0].name
        self.output = output_specs(model)[0].name
        self.constants = {tensor.name for tensor in model.graph.initializer}
        self.constant_nodes: list[onnx.NodeProto] = []
        self.grids = {self.input: Grid(3, Extent(Fraction(1), 0), Extent(Fraction(1), 0))}
        self.levels = {self.input: 0}
        self.margins = {self.input: Fraction(0)}
        self.steps: list[list[Step]] = []
        self.norms: dict[str, Norm] = {}

    def plan(self) -> Plan:
        for node in self.model.graph.node:
            if list(subgraphs(node)) or not is_standard(node):
                raise NotLocal(f"{node.op_type} {node_name(node)!r} is not an operator that can be cut")
            if all(name in self.constants for name in inputs_used(node)):
                self.constant_nodes.append(node)
                self.constants.update(node.output)
            else:
                self._place(node)
        if self.output not in self.grids:
            raise NotLocal("the output does not depend on the image")
        return Plan(tuple(self._stages()), self.grids, _unit(self.grids.values()), self.input, self.output)

    def _place(self, node: onnx.NodeProto) -> None:
        """Say in which stage a node runs: after what it reads, and after the stage that makes what it normalizes."""
        locality = Locality(self.view, self.shapes, self.constants)
        norm = node.op_type == "InstanceNormalization"
        step = self._norm(node) if norm else locality.step(node, self.grids)
        level = max(self.levels[name] for name in step.sources) + norm
        source = self.grids[step.sources[0]]
        own = max(step.rows.margin / source.rows.scale, step.columns.margin / source.columns.scale)
        before = max(self.margins[name] if self.levels[name] == level else Fraction(0) for name in step.sources)
        if own and before and before + own > MOST_MARGIN:
            level, before = level + 1, Fraction(0)
        name = node.output[0]
        self.grids[name], self.levels[name], self.margins[name] = step.grid, level, before + own
        while len(self.steps) <= level:
            self.steps.append([])
        self.steps[level].append(step)

    def _norm(self, node: onnx.NodeProto) -> Step:
        source, *weights = node.input
        if source == self.input:
            raise NotLocal(f"InstanceNormalization {node_name(node)!r} normalizes the image itself")
        if any(name not in self.constants for name in weights):
            raise NotLocal(f"InstanceNormalization {node_name(node)!r} has weights that depend on the image")
        if source not in self.norms:
            names = self.view.unique(f"{source}/mean"), self.view.unique(f"{source}/variance")
            self.norms[source] = Norm(source, *names)
        return Step(node, (source,), Slide(), Slide(), self.grids[source])

    def _stages(self) -> Iterator[Stage]:
        last_reader = {name: level for level, steps in enumerate(self.steps) for step in steps for name in step.sources}
        last_reader[self.output] = len(self.steps)
        for level, steps in enumerate(self.steps):
            made = [step.node.output[0] for step in steps]
            results = tuple(name for name in made if last_reader.get(name, level) > level)
            sources = tuple(dict.fromkeys(name for step in steps for name in step.sources if name not in made))
            for name in (*results, *sources):
                self._check_float(name)
            normalized = (step.sources[0] for step in steps if step.node.op_type == "InstanceNormalization")
            norms = tuple(self.norms[name] for name in dict.fromkeys(normalized))
            yield Stage(
                content=self._graph(steps, sources, results, norms),
                steps=tuple(steps),
                sources=sources,
                results=results,
                norms=norms,
                measured=tuple(name for name in results if name in self.norms),
                done_with=tuple(name for name in sources if last_reader[name] == level and name != self.input),
                unit=_unit(self.grids[name] for name in (*sources, *made)),
            )

    def _check_float(self, name: str) -> None:
        info = self.shapes.get(name)
        if info is not None and info.dtype != "float32":
            raise NotLocal(f"the tensor {name!r}, at which the graph would be cut, is {info.dtype} instead of float32")

    def _graph(
        self, steps: list[Step], sources: tuple[str, ...], results: tuple[str, ...], norms: tuple[Norm, ...]
    ) -> bytes:
        nodes = [self._with_statistics(step.node) for step in steps]
        needed = {name for node in nodes for name in node.input}
        constant_nodes: list[onnx.NodeProto] = []
        for node in reversed(self.constant_nodes):
            if needed & set(node.output):
                constant_nodes.insert(0, node)
                needed |= set(node.input)
        inputs = [_float(name, [1, self.grids[name].channels, None, None]) for name in sources]
        for norm in norms:
            channels = self.grids[norm.source].channels
            inputs += [_float(norm.mean, [channels]), _float(norm.variance, [channels])]
        outputs = [_float(name, [1, self.grids[name].channels, None, None]) for name in results]
        weights = [tensor for tensor in self.model.graph.initializer if tensor.name in needed]
        graph = onnx.helper.make_graph([*constant_nodes, *nodes], "stage", inputs, outputs, weights)
        opsets = list(self.model.opset_import)
        made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=self.model.ir_version)
        return bytes(made.SerializeToString())

    def _with_statistics(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return an InstanceNormalization as the BatchNormalization of its statistics, another node as it is."""
        if node.op_type != "InstanceNormalization":
            return node
        norm = self.norms[node.input[0]]
        inputs, epsilon = [*node.input, norm.mean, norm.variance], attribute(node, "epsilon", 1e-5)
        return onnx.helper.make_node("BatchNormalization", inputs, list(node.output), node.name, epsilon=epsilon)


def _unit(grids: Iterable[Grid]) -> tuple[int, int]:
    """Return the pixels, downwards and across, at whose multiples a value of every grid begins."""
    grids = list(grids)
    return lcm(*(grid.rows.scale.denominator for grid in grids)), lcm(
        *(grid.columns.scale.denominator for grid in grids)
    )


def _float(name: str, shape: list[int | None]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
