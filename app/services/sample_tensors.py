"""Validation of a model's tensors before a job reads them."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import onnx

from app.services.errors import invalid
from faceter.contracts.models import Model, shape_text
from faceter.datasets.errors import quoted_names
from faceter.graphs import shapes
from faceter.graphs.constant_inputs import control_flow_remedy
from faceter.graphs.describe import input_specs
from faceter.graphs.shapes import FLOAT_TYPES, TensorInfo
from faceter.graphs.view import all_nodes, inputs_used, node_name, subgraphs

CODES: Final = ("uint8", "int8")
"""Types of activations of a quantized network: a step and an offset away from floats, which no ranking depends on."""

ANY_BATCH: Final = 7
"""Batch size for shape inference if the model accepts any; a value that is rare as the size of other axes."""

_MOST_ECHOED: Final = 200


class SampleTensors:
    """The tensors of a model that depend on its inputs.

    Args:
        model: The model's record.
        graph: Its graph, checked.
    """

    def __init__(self, model: Model, graph: onnx.ModelProto) -> None:
        self._model = model
        self._graph = graph
        specs = input_specs(graph)
        self._inputs = [spec.name for spec in specs]
        self._computed = _computed(graph, self._inputs)
        self._fixed = {tensor.name for tensor in graph.graph.initializer}
        self._fixed.update(name for node in graph.graph.node for name in node.output if name not in self._computed)
        self._shapes = shapes.infer_shapes(graph, batch=ANY_BATCH)
        batch_sizes = (spec.shape[0] for spec in specs if spec.shape)
        self.samples = next((size for size in batch_sizes if isinstance(size, int)), ANY_BATCH)
        """Batch size that `find` assumes: the fixed batch size of the model, or `ANY_BATCH`."""

    def find(self, name: str, field: str, content: str, *, inputs: bool) -> TensorInfo | None:
        """Return type and shape of a tensor of floats or codes that has the samples on its first axis.

        Args:
            name: The tensor.
            field: The field that names it.
            content: For the error message: what its values are used as, such as "features".
            inputs: Whether it may be an input of the model.

        Returns:
            Its type and shape for a batch of `samples`; None if both are unknown.

        Raises:
            FaceterError: `INVALID_REQUEST` on the field, with similar names if the tensor does not exist.
        """
        self._check_exists(name, field, inputs)
        info = self._shapes.get(name)
        if info is None:
            return None
        if info.dtype not in (*FLOAT_TYPES, *CODES):
            raise invalid(f"{name!r} is {info.dtype}; {content} are floats. Name another tensor.", field)
        if info.shape is None:
            return info
        first = info.shape[0] if info.shape else None
        if not info.shape or (isinstance(first, int) and first != self.samples):
            raise invalid(
                f"{name!r} is {shape_text(info.shape)} for {self.samples} samples: its first axis is not that of the "
                "samples. Name another tensor.",
                field,
            )
        return info

    def _check_exists(self, name: str, field: str, inputs: bool) -> None:
        names = [known for known in self._computed if inputs or known not in self._inputs]
        if name in names:
            return
        similar = get_close_matches(name, names, n=5)
        id = self._model.id
        hint = (
            f"Similar names: {quoted_names(similar)}." if similar else f"GET /v1/models/{id}/graph lists all tensors."
        )
        if name in self._computed:
            raise invalid(f"{name!r} is an input of {id}, not the output of a layer. {hint}", field)
        if name in self._fixed:
            raise invalid(f"{name!r} of {id} is a weight, the same for every sample. {hint}", field)
        branch = _node_around(self._graph, name)
        if branch is not None:
            raise invalid(
                f"{name!r} of {id} is inside the {branch.op_type} node {node_name(branch)!r}, where it may not be "
                f"computed at all. {control_flow_remedy(self._graph) or hint}",
                field,
            )
        raise invalid(f"{id} has no tensor {name[:_MOST_ECHOED]!r}. {hint}", field)


def _node_around(graph: onnx.ModelProto, name: str) -> onnx.NodeProto | None:
    """Return the node of the main graph in whose subgraph a tensor is computed, if any."""
    around: list[onnx.NodeProto] = [
        node
        for node in graph.graph.node
        if any(name in item.output for inner in subgraphs(node) for item in all_nodes(inner))
    ]
    return next(iter(around), None)


def _computed(graph: onnx.ModelProto, inputs: Sequence[str]) -> dict[str, None]:
    """Return the tensors that depend on an input, inputs included, in topological order."""
    dependent = dict.fromkeys(inputs)
    for node in graph.graph.node:
        if any(name in dependent for name in inputs_used(node)):
            dependent.update(dict.fromkeys(name for name in node.output if name))
    return dependent
