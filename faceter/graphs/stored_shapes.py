"""Shapes that a file stores and that contradict its graph, as after an edit of the batch size by hand."""

import onnx

from faceter.contracts.models import shape_text
from faceter.graphs.file_format import first_line, invalid_model
from faceter.graphs.shapes import value_info
from faceter.graphs.view import all_nodes, subgraphs

_INVENTED = "unk__"
"""Prefix of the names that ONNX's shape inference gives to sizes it does not know."""
_FAULTS = (onnx.shape_inference.InferenceError, ValueError, RuntimeError)


def correct_shapes(model: onnx.ModelProto) -> list[str]:
    """Remove, in place, stored shapes that contradict the graph, and infer those of outputs.

    The sizes of inputs and weights count; the stored shapes of other tensors are only notes, which ONNX Runtime does
    not heed either.

    Args:
        model: A model without local functions.

    Returns:
        A sentence for each correction.

    Raises:
        FaceterError: INVALID_MODEL if the shapes of inputs and weights do not fit together.
    """
    warnings = []
    fault = _fault(model)
    if fault is not None:
        notes = {value.name: _shape(value) for value in model.graph.value_info}
        if _drop_stored_shapes(model):
            fault = _fault(model)
        if fault is None:
            warnings.append(_contradiction(model, notes))
    if fault is not None:
        stored = {value.name: _shape(value) for value in model.graph.output}
        _drop_output_sizes(model)
        fault = _fault(model)
        if fault is not None:
            raise invalid_model(
                f"The shapes in the model are inconsistent: {fault}. Compare the sizes of its inputs and weights, or "
                "export the model again."
            )
        _infer_outputs(model)
        warnings += [
            f"The file says that the output {value.name!r} is {stored[value.name]}; it is {_shape(value)}."
            for value in model.graph.output
            if _shape(value) != stored[value.name]
        ]
    _infer_outputs(model)
    return warnings


def reinfer_shapes(model: onnx.ModelProto) -> None:
    """Remove, in place, the stored shapes of a graph whose inputs have other sizes now, and infer those of outputs."""
    _drop_stored_shapes(model)
    for value in model.graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.Clear()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    for value, found in zip(model.graph.output, inferred, strict=True):
        value.CopyFrom(found)
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.startswith(_INVENTED):
                size.Clear()


def _fault(model: onnx.ModelProto) -> str | None:
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except _FAULTS as error:
        return first_line(error)
    return None


def _contradiction(model: onnx.ModelProto, stored: dict[str, str]) -> str:
    """Describe the stored shapes that were dropped."""
    inferred = {value.name: _shape(value) for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    differing = [name for name, shape in stored.items() if inferred.get(name, shape) != shape]
    example = next(iter(differing), None)
    such = f" (such as {example!r}: {stored[example]}, it is {inferred[example]})" if example else ""
    return f"The file stores shapes of tensors that contradict its graph{such}. They are ignored."


def _drop_stored_shapes(model: onnx.ModelProto) -> bool:
    """Remove the stored types of all tensors but inputs and outputs; return whether there were any."""
    graphs = [model.graph, *(inner for node in all_nodes(model.graph) for inner in subgraphs(node))]
    found = any(len(graph.value_info) for graph in graphs)
    for graph in graphs:
        del graph.value_info[:]
    return found


def _drop_output_sizes(model: onnx.ModelProto) -> None:
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Give outputs without a shape the inferred one, if there is one."""
    unknown = [
        value
        for value in model.graph.output
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
    ]
    if not unknown:
        return
    inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output}
    for value in unknown:
        if inferred[value.name].type.tensor_type.HasField("shape"):
            value.CopyFrom(inferred[value.name])


def _shape(value: onnx.ValueInfoProto) -> str:
    info = value_info(value)
    return shape_text(() if info is None or info.shape is None else info.shape)
