"""Checking an uploaded model before it is used. No part of it is executed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import inliner

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.file_format import EXPORT_HINT, first_line, invalid_model, parse_model
from faceter.graphs.inlining import inline_control_flow
from faceter.graphs.name_limits import check_name_limits
from faceter.graphs.open_axes import clear_unknown_sizes
from faceter.graphs.properties import drop_unreadable_properties
from faceter.graphs.stored_shapes import correct_shapes
from faceter.graphs.view import STANDARD_DOMAINS, all_nodes, is_standard, node_name, opset_of, subgraphs

OLDEST_OPSET = 7
NEWEST_OPSET = onnx.defs.onnx_opset_version()
"""What ONNX Runtime has kernels for; whether it takes a model is decided by loading it."""

RUNTIME_DOMAINS = ("ai.onnx.ml", "com.microsoft")
"""Domains beside the standard one whose operators ONNX Runtime has: models of scikit-learn, and quantized layers."""


@dataclass(frozen=True)
class CheckedModel:
    """An uploaded model that passed all checks.

    Attributes:
        model: The model.
        warnings: What was corrected in it; empty if nothing.
    """

    model: onnx.ModelProto
    warnings: tuple[str, ...] = ()


def load_model(content: bytes, *, max_bytes: int) -> onnx.ModelProto:
    """Parse and check an ONNX file; see `check_model`.

    Returns:
        A model that passes ONNX's checker and strict shape inference.

    Raises:
        FaceterError: As of `check_model`.
    """
    return check_model(content, max_bytes=max_bytes).model


def check_model(content: bytes, *, max_bytes: int) -> CheckedModel:
    """Parse and check an ONNX file.

    Local functions are inlined, and each If and Loop whose course is constant. Unused opset imports are removed, as are
    stored shapes that contradict the graph. Sizes that exporters write for unknown ones are left open, and every output
    gets a shape if one can be inferred.

    Args:
        content: The file.
        max_bytes: Largest file accepted.

    Returns:
        The model, and what was corrected.

    Raises:
        FaceterError: PAYLOAD_TOO_LARGE, INVALID_MODEL, EXTERNAL_DATA, CUSTOM_OPERATORS or UNSUPPORTED_OPSET, with what
            the user can do.
    """
    if len(content) > max_bytes:
        raise FaceterError(
            ProblemKind.PAYLOAD_TOO_LARGE,
            f"The model file has {len(content):,} bytes; this server takes {max_bytes:,} at most.",
            field="file",
        )
    model = parse_model(content)
    _check_graph(model)
    check_name_limits(model)
    _check_external_data(model)
    model = _inline_functions(model)
    _check_domains(model)
    _check_versions(model)
    _check_initializers(model.graph)
    _check_names(model.graph)
    warnings = drop_unreadable_properties(model)
    clear_unknown_sizes(model)
    _check_by_onnx(model)
    warnings += correct_shapes(model)
    return CheckedModel(inline_control_flow(model), tuple(warnings))


def _check_graph(model: onnx.ModelProto) -> None:
    if not model.ir_version or not model.HasField("graph"):
        raise invalid_model(f"The file is not an ONNX model: it has no graph. {EXPORT_HINT}")
    graph = model.graph
    if not graph.node:
        raise invalid_model("The model's graph has no nodes: the file is truncated, or nothing was exported.")
    if not graph.output:
        raise invalid_model("The model's graph has no outputs: the file is truncated, or nothing was exported.")
    weights = {tensor.name for tensor in graph.initializer}
    if all(value.name in weights for value in graph.input):
        raise invalid_model("The model's graph has no inputs, so there is nothing to predict from.")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                yield item.t
            yield from item.tensors
        for inner in subgraphs(node):
            yield from _tensors(inner)


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for function in model.functions:
        yield onnx.GraphProto(name=function.name, node=function.node)


def _check_external_data(model: onnx.ModelProto) -> None:
    for graph in _graphs(model):
        for tensor in _tensors(graph):
            if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
                raise FaceterError(
                    ProblemKind.EXTERNAL_DATA,
                    f"The tensor {tensor.name!r} is stored in another file. Save the model as one file: "
                    "onnx.save(onnx.load(path), new_path, save_as_external_data=False).",
                    field="file",
                )


def _inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise invalid_model(
            f"The model's local functions cannot be inlined ({first_line(error)}). "
            "Inline them before uploading, with onnx.inliner.inline_local_functions."
        ) from error


def _check_domains(model: onnx.ModelProto) -> None:
    used = {node.domain for node in all_nodes(model.graph)}
    custom = [node for node in all_nodes(model.graph) if not is_standard(node) and node.domain not in RUNTIME_DOMAINS]
    if custom:
        named = ", ".join(sorted({f"{node.domain}::{node.op_type}" for node in custom})[:5])
        raise FaceterError(
            ProblemKind.CUSTOM_OPERATORS,
            f"The model uses {named} (first at node {node_name(custom[0])!r}). Only operators of standard ONNX and of "
            f"{' and '.join(RUNTIME_DOMAINS)} are accepted: export without runtime-specific optimization, or rewrite "
            "these nodes.",
            field="file",
            operators=sorted({f"{node.domain}::{node.op_type}" for node in custom}),
        )
    kept = [item for item in model.opset_import if item.domain in STANDARD_DOMAINS or item.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _check_versions(model: onnx.ModelProto) -> None:
    if not model.opset_import:
        raise invalid_model("The model has no opset: the file is truncated, or was not written by an ONNX exporter.")
    opset = opset_of(model)
    if opset and not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPSET,
            f"The model has opset {opset}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} are supported. "
            "Export it at one of these (opset_version=20 is a good choice), or use onnx.version_converter.",
            field="file",
        )
    if model.ir_version > onnx.IR_VERSION:
        raise invalid_model(
            f"The file has IR version {model.ir_version}, and ONNX Runtime reads {onnx.IR_VERSION} at most. Set "
            f"model.ir_version = {onnx.IR_VERSION} and save it again, if it uses nothing newer; or export it with an "
            "older version of the onnx package."
        )


def _check_initializers(graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        raise invalid_model("The model has sparse initializers, which are not supported. Save its weights dense.")
    for tensor in _tensors(graph):
        if any(size < 0 for size in tensor.dims):
            raise invalid_model(f"The tensor {tensor.name!r} has a negative size. Export the model again.")
        if tensor.data_type == onnx.TensorProto.UNDEFINED:
            raise invalid_model(f"The tensor {tensor.name!r} has no element type. Export the model again.")
        if not tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
            continue
        try:
            bits = _bits(tensor.data_type)
        except KeyError as error:
            raise invalid_model(f"The tensor {tensor.name!r} has an element type that ONNX does not define.") from error
        expected = (prod(tensor.dims) * bits + 7) // 8
        if len(tensor.raw_data) != expected:
            raise invalid_model(
                f"The tensor {tensor.name!r} has {len(tensor.raw_data)} bytes where its shape needs {expected}. "
                "The file is damaged; export the model again."
            )


def _bits(elem_type: int) -> int:
    narrow = {
        "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
    }  # fmt: skip
    name = onnx.TensorProto.DataType.Name(elem_type) if elem_type in onnx.TensorProto.DataType.values() else ""
    if not name:
        raise KeyError(elem_type)
    return narrow.get(name) or np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).itemsize * 8


def _check_names(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    defined = [tensor.name for tensor in graph.initializer]
    defined += [value.name for value in graph.input if value.name not in weights]
    defined += [name for node in graph.node for name in node.output if name]
    for what, names in (
        ("computed twice", defined),
        ("an input twice", [value.name for value in graph.input]),
        ("an output twice", [value.name for value in graph.output]),
    ):
        duplicates = sorted(name for name, times in Counter(names).items() if times > 1)
        if duplicates:
            raise invalid_model(f"The tensor {duplicates[0]!r} is {what} in the graph; tensor names must be unique.")
    if any(not value.name for value in (*graph.input, *graph.output)):
        raise invalid_model("An input or output of the graph has no name.")


def _check_by_onnx(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(_with_output_shapes(model))
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise invalid_model(f"ONNX's checker rejects the model: {first_line(error)}. Export it again.") from error


def _with_output_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a shape for each output, which ONNX's checker requires but does not compare."""
    tensors = [value.type.tensor_type for value in model.graph.output if value.type.HasField("tensor_type")]
    if all(tensor.HasField("shape") for tensor in tensors):
        return model
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    for value in complete.graph.output:
        if value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
    return complete
