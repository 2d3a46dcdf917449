"""Any ONNX graph as a torch module: initializers become parameters, any tensor can be watched or replaced by name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx
import onnx.inliner
import torch
from onnx import ModelProto, TensorProto
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.operators import unsupported
from faceter.graphs.view import opset_of, unique_names
from workers.operators import OPERATORS
from workers.operators.node import Node, Operator
from workers.operators.tensors import from_proto, torch_dtype

Replacement = Callable[[Tensor], Tensor]
"""What is done to a tensor before anything reads it, such as fake quantization."""

_HOST_COPY_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class _Step:
    node: Node
    frees: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    steps: tuple[_Step, ...]


class OnnxModule(nn.Module):
    """An ONNX graph that torch runs, differentiates and moves between devices.

    Float initializers are parameters, but for those a node reads as settings (scales of a Resize, bounds of a Clip,
    running statistics of a BatchNormalization, scales of a QuantizeLinear) and for single numbers of rank 0 (the 0.5
    of a GELU, the √d of an attention): those, and all other initializers, are buffers. Whatever depends on buffers
    alone is computed once, here. Nodes keep ONNX's meaning of inference whatever :meth:`train` says: a
    BatchNormalization or Dropout trains only where the graph itself says so.

    In ``state_dict`` an initializer is called by its ONNX name, with ``%`` written ``%25`` and ``.`` written ``%2E``,
    after the prefix ``tensor:``.

    Args:
        model: A checked model; it is not changed. Control flow, sequences and strings are not supported.

    Raises:
        FaceterError: ``UNSUPPORTED_OPERATOR``, naming the operator and the node, if it is not in the table.

    Example:
        >>> network = OnnxModule(onnx.load("resnet20.onnx"))
        >>> logits = network(torch.zeros(8, 3, 32, 32))["logits"]
        >>> weight = network.parameter("conv1.weight")
    """

    inputs: list[str]
    """Names of the inputs that must be given, in the graph's order."""
    outputs: list[str]
    """Names of the outputs, in the graph's order."""

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
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
            Node.read(proto, name, opset, types) for proto, name in zip(graph.node, unique_names(graph), strict=True)
        ]
        self._producers = {name: i for i, node in enumerate(self._nodes) for name in node.outputs if name}
        self._state_names: dict[str, str] = {}
        self._host: dict[str, Tensor] = {}
        self._plans: dict[tuple[frozenset[str], frozenset[str]], _Plan] = {}

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

        Only what the wanted tensors depend on is computed, and a tensor is let go after its last use.

        Args:
            inputs: Tensors by input name, of the shapes and dtypes the graph declares; the batch may be any that the
                graph's operators allow. A single tensor where the graph has a single input.
            watch: Names of further tensors to answer: activations, inputs or initializers.
            replace: Functions by tensor name; each is applied to its tensor (input, initializer or activation) once per
                run, and everything that reads the tensor, ``watch`` included, sees the result.
            outputs: Which of the graph's outputs to compute; all of them if not given.

        Returns:
            The outputs, then the watched tensors, by name.

        Raises:
            FaceterError: ``INVALID_INPUT`` if an input is missing or unknown.
            ValueError: If ``watch`` or ``replace`` names a tensor the graph does not have.
        """
        given = self._given(inputs)
        replace = replace or {}
        wanted = list(dict.fromkeys([*(self.outputs if outputs is None else outputs), *watch]))
        plan = self._plan(frozenset(wanted), frozenset(replace))
        values: dict[str, Tensor] = {}

        def read(name: str) -> Tensor:
            if name not in values:
                value = given[name] if name in given else self.tensor(name)
                values[name] = replace[name](value) if name in replace else value
            return values[name]

        for step in plan.steps:
            results = self._run(step, read)
            for name, result in zip(step.node.outputs, results, strict=False):
                if name and result is not None:
                    values[name] = replace[name](result) if name in replace else result
            for name in step.frees:
                values.pop(name, None)
        return {name: read(name) for name in wanted}

    def parameter(self, name: str) -> nn.Parameter:
        """Return the parameter made from a float initializer, by its ONNX name.

        Raises:
            KeyError: If there is no such initializer, or it is a buffer.
        """
        value = self.tensor(name)
        if not isinstance(value, nn.Parameter):
            raise KeyError(f"{name} is not a parameter of the graph")
        return value

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return every parameter by its ONNX name, in the order of the initializers."""
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
        if value.numel() <= _HOST_COPY_LIMIT:
            self._host[name] = value

    @torch.no_grad()
    def _fold(self, initializers: Mapping[str, Tensor], trainable: Collection[str]) -> None:
        known = dict(initializers)
        fixed = set(initializers) - set(trainable)
        varying: set[str] = set(self.outputs)
        for node in self._nodes:
            operator = OPERATORS[node.op_type]
            valued = [name for i, name in enumerate(node.inputs) if name and i not in operator.described]
            if all(name in fixed for name in valued) and all(name in known for name in node.inputs if name):
                results = _call(node, operator, [known.get(name) for name in node.inputs])
                found = {n: r for n, r in zip(node.outputs, results, strict=False) if n and r is not None}
                known.update(found)
                fixed.update(found)
            else:
                varying.update(node.inputs)
        for name in sorted(fixed & varying):
            if name not in initializers:
                self._register(name, known[name], trainable=False, persistent=False)
                self._folded.add(name)

    def _given(self, inputs: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
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

    def _plan(self, wanted: frozenset[str], replaced: frozenset[str]) -> _Plan:
        key = (wanted, replaced)
        if key not in self._plans:
            for name in wanted | replaced:
                if name not in self._producers and name not in self._state_names and name not in self.inputs:
                    raise ValueError(f"the graph has no tensor {name!r}")
            self._plans[key] = self._make_plan(wanted, replaced)
        return self._plans[key]

    def _make_plan(self, wanted: frozenset[str], replaced: frozenset[str]) -> _Plan:
        tainted = self._descendants(replaced)
        needed: set[int] = set()
        pending = list(wanted)
        while pending:
            name = pending.pop()
            index = self._producers.get(name)
            if index is None or index in needed or (name in self._folded and name not in tainted):
                continue
            needed.add(index)
            pending.extend(n for n in self._nodes[index].inputs if n)
        steps: list[_Step] = []
        seen = set(wanted)
        for index in sorted(needed, reverse=True):
            node = self._nodes[index]
            last = {name for name in (*node.inputs, *node.outputs) if name and name not in seen}
            seen.update(node.inputs)
            steps.append(_Step(node, tuple(sorted(last))))
        return _Plan(tuple(reversed(steps)))

    def _descendants(self, names: frozenset[str]) -> set[str]:
        """Return every tensor computed from the named ones, but not the named ones themselves."""
        reached: set[str] = set()
        for node in self._nodes:
            if any(name in names or name in reached for name in node.inputs):
                reached.update(node.outputs)
        return reached

    def _run(self, step: _Step, read: Callable[[str], Tensor]) -> Iterable[Tensor | None]:
        node = step.node
        operator = OPERATORS[node.op_type]
        host = operator.host
        arguments: list[Tensor | None] = [read(name) if name else None for name in node.inputs]
        for i in host:
            if i < len(arguments) and (value := arguments[i]) is not None:
                arguments[i] = self._on_host(node.inputs[i], value)
        others = [(i, value) for i, value in enumerate(arguments) if value is not None and i not in host]
        device = next((value.device for _, value in others if not value.is_cpu), None)
        if device is not None:
            on_host = all(value.is_cpu for i, value in others if node.inputs[i] not in self._host)
            for i, value in others:
                arguments[i] = self._on_host(node.inputs[i], value) if on_host else value.to(device)
        return _call(node, operator, arguments)

    def _on_host(self, name: str, value: Tensor) -> Tensor:
        if name in self._host and value is self.tensor(name):
            return self._host[name]
        return value.detach().cpu()


def _call(node: Node, operator: Operator, arguments: Iterable[Tensor | None]) -> tuple[Tensor | None, ...]:
    try:
        results = operator.run(node, *arguments)
    except Exception as error:
        error.add_note(f"in the {node.op_type} node {node.name!r}")
        raise
    return results if isinstance(results, tuple) else (results,)


def _element_types(model: ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        if entry.type.WhichOneof("value") not in (None, "tensor_type"):
            raise FaceterError(
                ProblemKind.UNSUPPORTED_OPERATOR,
                f"{entry.name!r} is no tensor but a sequence or an option; only tensors are supported here.",
            )
        types.setdefault(entry.name, entry.type.tensor_type.elem_type)
    for element_type in set(types.values()) - {TensorProto.UNDEFINED}:
        torch_dtype(element_type)
    return types


def _trainable(initializers: Mapping[str, Tensor], nodes: Iterable[Node]) -> set[str]:
    read_as_weight: set[str] = set()
    read: set[str] = set()
    for node in nodes:
        operator = OPERATORS[node.op_type]
        for i, name in enumerate(node.inputs):
            read.add(name)
            if i not in operator.host and i not in operator.settings:
                read_as_weight.add(name)
    return {
        name
        for name, value in initializers.items()
        if value.is_floating_point() and value.ndim > 0 and value.element_size() > 1
        if name in read_as_weight or name not in read
    }
