"""An interpreter of ONNX graphs as a torch module, whose tensors can be read and replaced by name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx
import onnx.inliner
import torch
from onnx import ModelProto, TensorProto
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.lowering import lowered
from faceter.graphs.node_failure import NodeFailure, note_failure
from faceter.graphs.operators import unsupported
from faceter.graphs.opset_upgrade import at_opset
from faceter.graphs.view import opset_of, unique_names
from workers.operators import OPERATORS
from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import from_proto, torch_dtype

Replacement = Callable[[Tensor], Tensor]
"""Maps a tensor to the value that all readers get instead, such as its fake-quantized value."""

_OLDEST_OPSET = 11
"""Models of older opsets are converted: their operators have attributes where later ones have inputs."""

_MAX_CPU_COPY_ELEMENTS = 4096


@dataclass(frozen=True, slots=True)
class _ExecutionStep:
    """A node to run, and the tensors that no later node reads."""

    node: Node
    unused_after: tuple[str, ...]


class OnnxModule(nn.Module):
    """An ONNX graph that torch runs, differentiates and moves between devices.

    Float initializers are parameters, except inputs that are not trained (scales of a Resize, bounds of a Clip, running
    statistics of a BatchNormalization, scales of a QuantizeLinear) and scalars of rank 0 (the 0.5 of a GELU, the √d of
    an attention). Those and all other initializers are buffers. Nodes that depend on buffers alone are folded in the
    constructor. :meth:`train` has no effect on nodes: BatchNormalization and Dropout are in training mode only if the
    graph's attributes say so.

    In ``state_dict`` an initializer has the key ``tensor:`` + its ONNX name, with ``%`` escaped as ``%25`` and ``.`` as
    ``%2E``.

    Args:
        model: A checked model; it is not changed. Control flow, sequences and strings are not supported.

    Raises:
        FaceterError: ``UNSUPPORTED_OPERATOR`` with the operator and the node.

    Example:
        >>> network = OnnxModule(onnx.load("resnet20.onnx"))
        >>> logits = network(torch.zeros(8, 3, 32, 32))["logits"]
        >>> weight = network.parameter("conv1.weight")
    """

    inputs: list[str]
    """Names of the required inputs, in the graph's order."""
    outputs: list[str]
    """Names of the outputs, in the graph's order."""

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        model = lowered(at_opset(model, _OLDEST_OPSET))
        graph = model.graph
        opset = opset_of(model) or 1
        for operator, name in unsupported(model):
            raise FaceterError(
                ProblemKind.UNSUPPORTED_OPERATOR,
                f"The operator {operator} of the node {name!r} is not supported here; the model can still be served.",
                operator=operator,
                node=name,
            )
        types = _element_types(model)
        self._nodes = [
            Node.parse(proto, name, opset, types) for proto, name in zip(graph.node, unique_names(graph), strict=True)
        ]
        self._producers = {name: i for i, node in enumerate(self._nodes) for name in node.outputs if name}
        self._state_names: dict[str, str] = {}
        self._cpu_copies: dict[str, Tensor] = {}
        self._plans: dict[tuple[frozenset[str], frozenset[str]], list[_ExecutionStep]] = {}

        initializers = {tensor.name: from_proto(tensor) for tensor in graph.initializer}
        self.inputs = [entry.name for entry in graph.input if entry.name not in initializers]
        self.outputs = [entry.name for entry in graph.output]
        trainable = _trainable(initializers, self._nodes)
        for name, value in initializers.items():
            self._register(name, value, trainable=name in trainable, persistent=True)
        self._folded: set[str] = set()
        self._fold(initializers, trainable)

    def forward(
        self,
        inputs: Mapping[str, Tensor] | Tensor,
        *,
        watch: Collection[str] = (),
        replace: Mapping[str, Replacement] | None = None,
        outputs: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run the graph.

        Only nodes that the returned tensors depend on are run, and a tensor is freed after its last use.

        Args:
            inputs: Tensors by input name, with the shapes and dtypes of the graph; the batch size may differ if the
                graph's operators allow it. A single tensor if the graph has one input.
            watch: Names of further tensors to return: activations, inputs or initializers.
            replace: Functions by tensor name; each is applied once to its input, initializer or activation, and
                all readers, including ``watch``, get the result.
            outputs: The graph's outputs to compute; all if None.

        Returns:
            The outputs, then the watched tensors, by name.

        Raises:
            FaceterError: ``INVALID_INPUT`` if an input is missing or unknown.
            ValueError: If ``watch`` or ``replace`` names a tensor the graph does not have.
        """
        given = self._checked_inputs(inputs)
        replace = replace or {}
        names = list(dict.fromkeys([*(self.outputs if outputs is None else outputs), *watch]))
        values: dict[str, Tensor] = {}

        def read(name: str) -> Tensor:
            if name not in values:
                value = given[name] if name in given else self.tensor(name)
                values[name] = replace[name](value) if name in replace else value
            return values[name]

        for step in self._plan(frozenset(names), frozenset(replace)):
            results = self._run(step, read)
            for name, result in zip(step.node.outputs, results, strict=False):
                if name and result is not None:
                    values[name] = replace[name](result) if name in replace else result
            for name in step.unused_after:
                values.pop(name, None)
        return {name: read(name) for name in names}

    def parameter(self, name: str) -> nn.Parameter:
        """Return the parameter of a float initializer, by its ONNX name.

        Raises:
            KeyError: If there is no such initializer, or it is a buffer.
        """
        value = self.tensor(name)
        if not isinstance(value, nn.Parameter):
            raise KeyError(f"{name} is not a parameter of the graph")
        return value

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return all parameters by ONNX name, in the order of the initializers."""
        named = ((name, self.tensor(name)) for name in self._state_names)
        return {name: value for name, value in named if isinstance(value, nn.Parameter)}

    def tensor(self, name: str) -> Tensor:
        """Return an initializer, parameter or buffer, by its ONNX name.

        Raises:
            KeyError: If there is none of that name.
        """
        value: Tensor = getattr(self, self._state_names[name])
        return value

    def _register(self, name: str, value: Tensor, *, trainable: bool, persistent: bool) -> None:
        key = "tensor:" + name.replace("%", "%25").replace(".", "%2E")
        self._state_names[name] = key
        if trainable:
            self.register_parameter(key, nn.Parameter(value))
            return
        self.register_buffer(key, value, persistent=persistent)
        if value.numel() <= _MAX_CPU_COPY_ELEMENTS:
            self._cpu_copies[name] = value

    @torch.no_grad()
    def _fold(self, initializers: Mapping[str, Tensor], trainable: Collection[str]) -> None:
        known = dict(initializers)
        fixed = set(initializers) - set(trainable)
        variable: set[str] = set(self.outputs)
        for node in self._nodes:
            operator = OPERATORS[node.op_type]
            value_inputs = [name for i, name in enumerate(node.inputs) if name and i not in operator.shape_only]
            if all(name in fixed for name in value_inputs) and all(name in known for name in node.inputs if name):
                results = _call(node, operator, [known.get(name) for name in node.inputs])
                folded = {n: r for n, r in zip(node.outputs, results, strict=False) if n and r is not None}
                known.update(folded)
                fixed.update(folded)
            else:
                variable.update(node.inputs)
        for name in sorted(fixed & variable):
            if name not in initializers:
                self._register(name, known[name], trainable=False, persistent=False)
                self._folded.add(name)

    def _checked_inputs(self, inputs: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
        if isinstance(inputs, Tensor):
            if len(self.inputs) != 1:
                raise FaceterError(
                    ProblemKind.INVALID_INPUT,
                    f"The model takes {len(self.inputs)} inputs by name: {', '.join(self.inputs)}.",
                )
            return {self.inputs[0]: inputs}
        missing = [name for name in self.inputs if name not in inputs]
        unknown = [name for name in inputs if name not in self.inputs]
        if missing or unknown:
            fault = f"needs an input {missing[0]!r}" if missing else f"has no input {unknown[0]!r}"
            raise FaceterError(ProblemKind.INVALID_INPUT, f"The model {fault}; it takes {', '.join(self.inputs)}.")
        return inputs

    def _plan(self, names: frozenset[str], replaced: frozenset[str]) -> list[_ExecutionStep]:
        key = (names, replaced)
        if key not in self._plans:
            for name in names | replaced:
                if name not in self._producers and name not in self._state_names and name not in self.inputs:
                    raise ValueError(f"the graph has no tensor {name!r}")
            self._plans[key] = self._make_plan(names, replaced)
        return self._plans[key]

    def _make_plan(self, names: frozenset[str], replaced: frozenset[str]) -> list[_ExecutionStep]:
        changed = self._descendants(replaced)
        needed: set[int] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            index = self._producers.get(name)
            if index is None or index in needed or (name in self._folded and name not in changed):
                continue
            needed.add(index)
            pending.extend(n for n in self._nodes[index].inputs if n)
        steps: list[_ExecutionStep] = []
        seen = set(names)
        for index in sorted(needed, reverse=True):
            node = self._nodes[index]
            last = {name for name in (*node.inputs, *node.outputs) if name and name not in seen}
            seen.update(node.inputs)
            steps.append(_ExecutionStep(node, tuple(sorted(last))))
        return steps[::-1]

    def _descendants(self, names: frozenset[str]) -> set[str]:
        """Return every tensor computed from the named ones, without those."""
        descendants: set[str] = set()
        for node in self._nodes:
            if any(name in names or name in descendants for name in node.inputs):
                descendants.update(node.outputs)
        return descendants

    def _run(self, step: _ExecutionStep, read: Callable[[str], Tensor]) -> Iterable[Tensor | None]:
        node = step.node
        operator = OPERATORS[node.op_type]
        cpu_inputs = operator.cpu_inputs
        arguments: list[Tensor | None] = [read(name) if name else None for name in node.inputs]
        for i in cpu_inputs:
            if i < len(arguments) and (value := arguments[i]) is not None:
                arguments[i] = self._on_cpu(node.inputs[i], value)
        others = [(i, value) for i, value in enumerate(arguments) if value is not None and i not in cpu_inputs]
        device = next((value.device for _, value in others if not value.is_cpu), None)
        if device is not None:
            all_on_cpu = all(value.is_cpu for i, value in others if node.inputs[i] not in self._cpu_copies)
            for i, value in others:
                arguments[i] = self._on_cpu(node.inputs[i], value) if all_on_cpu else value.to(device)
        return _call(node, operator, arguments)

    def _on_cpu(self, name: str, value: Tensor) -> Tensor:
        if name in self._cpu_copies and value is self.tensor(name):
            return self._cpu_copies[name]
        return value.detach().cpu()


def _call(node: Node, operator: TorchOperator, arguments: Iterable[Tensor | None]) -> tuple[Tensor | None, ...]:
    values = list(arguments)
    try:
        results = operator.run(node, *values)
    except Exception as error:
        inputs = tuple("absent" if value is None else _described(value) for value in values)
        note_failure(error, NodeFailure(node.name, node.op_type, inputs))
        raise
    return results if isinstance(results, tuple) else (results,)


def _described(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


def _element_types(model: ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        if entry.type.WhichOneof("value") not in (None, "tensor_type"):
            raise FaceterError(
                ProblemKind.UNSUPPORTED_OPERATOR,
                f"{entry.name!r} is a sequence or an optional value; only tensors are supported here.",
            )
        types.setdefault(entry.name, entry.type.tensor_type.elem_type)
    for element_type in set(types.values()) - {TensorProto.UNDEFINED}:
        torch_dtype(element_type)
    return types


def _trainable(initializers: Mapping[str, Tensor], nodes: Iterable[Node]) -> set[str]:
    read_as_parameter: set[str] = set()
    read: set[str] = set()
    for node in nodes:
        operator = OPERATORS[node.op_type]
        for i, name in enumerate(node.inputs):
            read.add(name)
            if i not in operator.cpu_inputs and i not in operator.non_trainable:
                read_as_parameter.add(name)
    return {
        name
        for name, value in initializers.items()
        if value.is_floating_point() and value.ndim > 0 and value.element_size() > 1
        if name in read_as_parameter or name not in read
    }
