"""The graph that jobs work on: that of the file, with what the metadata fixes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from faceter.contracts.models import ModelMetadata
from faceter.graphs.check import check_model
from faceter.graphs.constant_inputs import with_constant_inputs
from faceter.graphs.inlining import courses, inline_control_flow
from faceter.graphs.stored_shapes import reinfer_shapes


@dataclass(frozen=True)
class WorkingGraph:
    """The graph that jobs work on.

    Attributes:
        model: The graph; it has the file's names of tensors.
        warnings: How it differs from that of the file, one sentence each.
    """

    model: onnx.ModelProto
    warnings: tuple[str, ...] = ()


def load_working_graph(content: bytes, metadata: ModelMetadata, *, max_bytes: int | None = None) -> WorkingGraph:
    """Parse and check a model file, and return the graph that jobs work on.

    Args:
        content: The ONNX file.
        metadata: Of the model.
        max_bytes: Largest file accepted; any if None.

    Raises:
        FaceterError: As of `check_model`; METADATA_MISMATCH for constant inputs that the model does not have.
    """
    checked = check_model(content, max_bytes=len(content) if max_bytes is None else max_bytes)
    working = working_graph(checked.model, metadata)
    return WorkingGraph(working.model, (*checked.warnings, *working.warnings))


def working_graph(model: onnx.ModelProto, metadata: ModelMetadata) -> WorkingGraph:
    """Return a model with its constant inputs as constants, and without each If and Loop that this decides.

    An If or Loop that depends on sizes alone is decided by the metadata's ``input_shapes``, which then become the only
    sizes of the graph; the batch stays open where that suffices.

    Args:
        model: A checked model; it is not changed.
        metadata: Of the model.

    Raises:
        FaceterError: METADATA_MISMATCH for constant inputs that the model does not have.
    """
    constants = metadata.constant_inputs or {}
    warnings = []
    if constants:
        model = inline_control_flow(with_constant_inputs(model, constants))
        values = ", ".join(f"{name} = {value}" for name, value in constants.items())
        warnings.append(f"The graph holds for {values} alone; this is no input of it any more.")
    decided = _decided_by_sizes(model, metadata.input_shapes or {})
    if decided is not None:
        model, sizes = decided
        warnings.append(f"The graph holds for {sizes} alone, since these sizes decide which of its branches run.")
    return WorkingGraph(model, tuple(warnings))


def _decided_by_sizes(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]
) -> tuple[onnx.ModelProto, str] | None:
    """Return the model at fixed sizes, and these in words, if this alone decides an If or Loop."""
    names = {name for course in courses(model) if not course.values for name in course.sizes}
    given = {name: list(shapes[name]) for name in shapes if name in names}
    if not given:
        return None
    count = len(courses(model))
    for with_batch in (False, True):
        fixed = onnx.ModelProto()
        fixed.CopyFrom(model)
        for value in fixed.graph.input:
            sizes = value.type.tensor_type.shape.dim
            for axis, (size, new) in enumerate(zip(sizes, given.get(value.name, ()), strict=False)):
                if axis or with_batch:
                    size.Clear()
                    size.dim_value = new
        reinfer_shapes(fixed)
        inlined = inline_control_flow(fixed)
        left = len(courses(inlined))
        if not left or (with_batch and left < count):
            reinfer_shapes(inlined)
            return inlined, " and ".join(_shape_in_words(value) for value in fixed.graph.input if value.name in given)
    return None


def _shape_in_words(value: onnx.ValueInfoProto) -> str:
    sizes = [str(size.dim_value) if size.HasField("dim_value") else "any" for size in value.type.tensor_type.shape.dim]
    return f"{value.name} [{', '.join(sizes)}]"
