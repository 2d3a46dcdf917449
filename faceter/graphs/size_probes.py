"""Shapes of a graph's tensors at several sizes of its inputs, to tell which sizes follow the input and which are fixed.

Every node is inferred by itself at each probe: at the model's own size first, then at multiples of it by different
primes. A size that is the same at all probes is fixed. One that changes is identified by its values at the probes,
since the primes tell its factors apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from faceter.graphs.shapes import value_info
from faceter.graphs.view import attribute, is_standard, node_name, subgraphs

PRIMES = ((2, 3, 5, 7, 11, 13), (3, 7, 2, 13, 5, 11))
"""Factors by which the open axes are multiplied, at the second and third probe, in order of the axes."""

PROBES = 1 + len(PRIMES)
"""Number of probes."""

Sizes = tuple[int, ...]
"""One size at every probe."""

_SMALL_ELEMENTS = 1024
_OPEN_SIZE, _OPEN_BATCH = 64, 2
"""Sizes at the first probe of axes that are open already."""


class FixedSizeError(Exception):
    """An operator fixes the size of the graph; the message is a clause without full stop that names it."""


@dataclass(frozen=True)
class ProbedTensor:
    """A tensor at every probe.

    Attributes:
        elem_type: ONNX element type.
        shapes: Shape at each probe; all have the same rank.
        values: Value at each probe, for small tensors that do not depend on the inputs' values; else None.
    """

    elem_type: int
    shapes: tuple[tuple[int, ...], ...]
    values: tuple[NDArray[Any], ...] | None = None

    @property
    def own(self) -> tuple[int, ...]:
        """Shape at the model's own size."""
        return self.shapes[0]

    @property
    def sizes(self) -> tuple[Sizes, ...]:
        """Sizes of each axis at all probes."""
        return tuple(zip(*self.shapes, strict=True))

    @property
    def constant(self) -> NDArray[Any] | None:
        """The value, if it is known and equal at all probes."""
        if self.values is None or not all(np.array_equal(value, self.values[0]) for value in self.values):
            return None
        return self.values[0]


def follows(sizes: Sizes) -> bool:
    """Whether a size is not the same at all probes."""
    return len(set(sizes)) > 1


def probed_constants(model: onnx.ModelProto) -> dict[str, ProbedTensor]:
    """Return the initializers of a graph, which are the same at every probe."""
    tensors: dict[str, ProbedTensor] = {}
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        small = prod(shape) <= _SMALL_ELEMENTS
        values = (numpy_helper.to_array(tensor),) * PROBES if small else None
        tensors[tensor.name] = ProbedTensor(tensor.data_type, (shape,) * PROBES, values)
    return tensors


def probed_inputs(model: onnx.ModelProto, axes: Mapping[str, Mapping[int, str]]) -> dict[str, ProbedTensor]:
    """Return the inputs of a graph at every probe.

    Args:
        model: A model. Sizes of its inputs that are open already are probed like those to open.
        axes: Axes to open, with the names of their sizes, by input.
    """
    tensors: dict[str, ProbedTensor] = {}
    weights = {tensor.name for tensor in model.graph.initializer}
    numbers: dict[str, int] = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        info = value_info(value)
        if info is None or info.shape is None:
            raise FixedSizeError(f"the input {value.name!r} has no shape")
        shapes: list[list[int]] = [[] for _ in range(PROBES)]
        for axis, size in enumerate(info.shape):
            own = size if isinstance(size, int) else _OPEN_SIZE if axis else _OPEN_BATCH
            fixed = isinstance(size, int) and axis not in axes.get(value.name, {})
            symbol = axes.get(value.name, {}).get(axis) or (size if isinstance(size, str) else f"{value.name}_{axis}")
            number = 0 if fixed else numbers.setdefault(symbol, len(numbers))
            for probe, shape in enumerate(shapes):
                factor = 1 if fixed or not probe else PRIMES[probe - 1][number % len(PRIMES[0])]
                shape.append(own * factor)
        tensors[value.name] = ProbedTensor(value.type.tensor_type.elem_type, tuple(map(tuple, shapes)))
    return tensors


class NodeProber:
    """Infers the outputs of nodes at every probe.

    Args:
        model: The model, for its opsets and IR version.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._opsets = list(model.opset_import)
        self._ir_version = max(model.ir_version, 4)

    def outputs(self, node: onnx.NodeProto, tensors: Mapping[str, ProbedTensor]) -> dict[str, ProbedTensor]:
        """Return a node's outputs at every probe.

        Raises:
            FixedSizeError: If it does not run at another size, its output size is unknown, or it has subgraphs.
        """
        if not is_standard(node) or list(subgraphs(node)):
            raise FixedSizeError(f"{_title(node)} is a custom operator or has subgraphs")
        probes = [self._at(node, tensors, probe) for probe in range(PROBES)]
        outputs: dict[str, ProbedTensor] = {}
        for name in filter(None, node.output):
            parts = [probe[name] for probe in probes]
            if len({len(shape) for _, shape, _ in parts}) > 1:
                raise FixedSizeError(f"the rank of {_title(node)} depends on the size")
            values = tuple(value for _, _, value in parts if value is not None)
            shapes = tuple(shape for _, shape, _ in parts)
            outputs[name] = ProbedTensor(parts[0][0], shapes, values if len(values) == PROBES else None)
        return outputs

    def _at(
        self, node: onnx.NodeProto, tensors: Mapping[str, ProbedTensor], probe: int
    ) -> dict[str, tuple[int, tuple[int, ...], NDArray[Any] | None]]:
        if node.op_type in ("Shape", "Size"):
            shape = tensors[node.input[0]].shapes[probe]
            part = shape[attribute(node, "start", 0) : attribute(node, "end")]
            value = np.array(part if node.op_type == "Shape" else prod(shape), np.int64)
            return {node.output[0]: (onnx.TensorProto.INT64, value.shape, value)}
        shapes = self._inferred(node, tensors, probe)
        names = [name for name in dict.fromkeys(node.input) if name]
        known = {name: tensors[name].values for name in names}
        small = all(prod(shape) <= _SMALL_ELEMENTS for _, shape in shapes.values())
        values: dict[str, NDArray[Any]] = {}
        if small and all(value is not None for value in known.values()):
            values = self._evaluated(node, {name: value[probe] for name, value in known.items() if value is not None})
        return {name: (kind, shape, values.get(name)) for name, (kind, shape) in shapes.items()}

    def _inferred(
        self, node: onnx.NodeProto, tensors: Mapping[str, ProbedTensor], probe: int
    ) -> dict[str, tuple[int, tuple[int, ...]]]:
        inputs, initializers = [], []
        for name in filter(None, dict.fromkeys(node.input)):
            tensor = tensors[name]
            if tensor.values is not None:
                initializers.append(_tensor(tensor.values[probe], name))
            else:
                shape = list(tensor.shapes[probe])
                inputs.append(onnx.helper.make_tensor_value_info(name, tensor.elem_type, shape))
        model = self._model(node, inputs, initializers)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
            shown = " and ".join(str(list(tensors[name].shapes[probe])) for name in node.input if name)
            raise FixedSizeError(f"{_title(node)} takes no other size: its inputs would be {shown}") from error
        result: dict[str, tuple[int, tuple[int, ...]]] = {}
        for value in inferred.graph.output:
            info = value_info(value)
            if info is None or info.static is None:
                raise FixedSizeError(f"the output size of {_title(node)} cannot be inferred")
            result[value.name] = value.type.tensor_type.elem_type, info.static
        return result

    def _evaluated(self, node: onnx.NodeProto, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        values = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape)
            )
            for name, value in inputs.items()
        ]
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(self._model(node, values, [])).run(None, inputs)
        except (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
            return {}
        assert isinstance(results, list)
        names = [name for name in node.output if name]
        return {name: np.asarray(value) for name, value in zip(names, results, strict=True)}

    def _model(
        self, node: onnx.NodeProto, inputs: list[onnx.ValueInfoProto], initializers: list[onnx.TensorProto]
    ) -> onnx.ModelProto:
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", inputs, outputs, initializers)
        return onnx.helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)


def _title(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node_name(node)!r}"


def _tensor(value: NDArray[Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
