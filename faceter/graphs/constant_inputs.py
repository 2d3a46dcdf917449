"""Inputs that have one value for all data, such as a sampling rate."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.inlining import courses
from faceter.graphs.operators import unsupported
from faceter.graphs.shapes import value_info
from faceter.graphs.view import GraphView, inputs_used

FIELD = "metadata.constant_inputs"
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_SAME_VALUE = frozenset({"Cast", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})
_MAX_STEPS = 100


def with_constant_inputs(model: onnx.ModelProto, values: Mapping[str, float]) -> onnx.ModelProto:
    """Return the model with some of its inputs as constants; they are no inputs any more.

    Args:
        model: A checked model; it is not changed.
        values: One number (true and false are 1 and 0) by input; an input of several elements has it in each.

    Raises:
        FaceterError: METADATA_MISMATCH, on the input, if there is no such input, it has no fixed size or does not take
            this value.
    """
    if not values:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    inputs = {value.name: value for value in graph.input}
    for name, value in values.items():
        if name not in inputs or name in {tensor.name for tensor in graph.initializer}:
            raise _mismatch(name, f"The model has no input {name!r}; it takes {', '.join(inputs)}.")
        graph.initializer.append(numpy_helper.from_array(_array(inputs[name], value), name))
        graph.input.remove(inputs.pop(name))
    if not inputs:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH, "Every input is constant, so there is nothing to predict from.", field=FIELD
        )
    return changed


def _array(value_info_proto: onnx.ValueInfoProto, value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    name = value_info_proto.name
    info = value_info(value_info_proto)
    if info is None or info.shape is None or info.dtype == "str":
        raise _mismatch(name, f"The input {name!r} is no tensor of numbers of known rank, so it cannot be constant.")
    if any(isinstance(size, int) and size != 1 for size in info.shape):
        raise _mismatch(name, f"The input {name!r} has shape {list(info.shape)}; only single numbers can be constant.")
    dtype = np.dtype(info.dtype)
    with np.errstate(over="ignore"):
        array = np.full((1,) * len(info.shape), value).astype(dtype)
    if not np.all(np.isfinite(array.astype(np.float64))) or (
        dtype.kind in "iub" and float(array.sum()) != float(value)
    ):
        raise _mismatch(name, f"The input {name!r} takes {info.dtype}, not {value!r}.")
    return array


def _mismatch(name: str, detail: str) -> FaceterError:
    return FaceterError(ProblemKind.METADATA_MISMATCH, detail, field=f"{FIELD}.{name}")


def control_flow_remedy(model: onnx.ModelProto) -> str | None:
    """Return what a user can do about the first unsupported operator, if it is an If or Loop; None otherwise."""
    first = next(iter(unsupported(model)), None)
    if first is None or first[0] not in ("If", "Loop"):
        return None
    course = courses(model)[0]
    what = "condition" if course.node.op_type == "If" else "number of iterations"
    if course.values and all(_is_number(model, name) for name in course.values):
        names = ", ".join(course.values)
        example = {name: _compared(model, name) for name in course.values}
        given = ", ".join(f'"{name}": {value}' for name, value in example.items())
        return (
            f"Its {what} depends on {names} alone: upload the model again with this value fixed in its metadata, for "
            f'example {{"constant_inputs": {{{given}}}}}.'
        )
    if course.sizes and not course.values:
        return (
            f"Its {what} depends on the size of {', '.join(course.sizes)}: upload the model again with the sizes that "
            "it shall work at as `input_shapes` in its metadata, or export it with fixed sizes."
        )
    return (
        f"Its {what} depends on the data (on {', '.join(course.values) or 'a random number'}). Export the branch that "
        "is needed as a model of its own, or replace the branches by Where before exporting."
    )


def _is_number(model: onnx.ModelProto, name: str) -> bool:
    info = next(value_info(value) for value in model.graph.input if value.name == name)
    if info is None or info.shape is None or np.dtype(info.dtype).kind not in "iub":
        return False
    return all(size == 1 for size in info.shape)


def _compared(model: onnx.ModelProto, name: str) -> int:
    """Return a number that the graph compares an input with, 1 if it compares none."""
    view = GraphView(model)
    pending = [name]
    for current in pending:
        for reader in view.consumers.get(current, []):
            if reader.op_type in _SAME_VALUE and len(pending) < _MAX_STEPS:
                pending += [output for output in reader.output if output not in pending]
            if reader.op_type not in _COMPARISONS:
                continue
            for other in inputs_used(reader):
                value = view.constant(other) if other != current else None
                if value is not None and value.size == 1:
                    return int(value.reshape(-1)[0])
    return 1
