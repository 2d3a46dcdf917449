"""Checking an uploaded model before it is used. No part of it is executed."""

from collections import Counter
from collections.abc import Iterator
from math import prod

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import inliner

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.view import STANDARD_DOMAINS, all_nodes, is_standard, node_name, opset_of, subgraphs

OLDEST_OPSET = 11
NEWEST_OPSET = 21

_EXPORT = "Export the network to ONNX and upload the .onnx file (`faceter export-torch` does it for torch modules)."
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive, which is also what torch's .pt, .pth and .pt2 and Keras's .keras files are"),
    (b"\x80\x02", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x03", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x04", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x80\x05", "a Python pickle, which executes code when it is loaded and is never accepted"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"ustar", "a tar archive"),
    (b"ORTM", "ONNX Runtime's own .ort format"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"),
)


def load_model(content: bytes, *, max_bytes: int) -> onnx.ModelProto:
    """Parse and check an ONNX file.

    Local functions are inlined, unused opset imports are removed, and every output gets a shape.

    Args:
        content: The file.
        max_bytes: Largest file accepted.

    Returns:
        A model that passes ONNX's checker and strict shape inference.

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
    model = _parse(content)
    _check_graph(model)
    _check_external_data(model)
    model = _inline_functions(model)
    _check_domains(model)
    _check_opset(model)
    _check_initializers(model.graph)
    _check_names(model.graph)
    _check_tensors_only(model.graph)
    _infer_output_shapes(model)
    _check_by_onnx(model)
    return model


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_MODEL, detail, field="file")


def _parse(content: bytes) -> onnx.ModelProto:
    if not content:
        raise _invalid("The file is empty. Upload the .onnx file itself.")
    for magic, kind in _OTHER_FORMATS:
        if content.startswith(magic) or content[4:8] == magic or content[257:262] == magic:
            raise _invalid(f"The file looks like {kind}. {_EXPORT}")
    if content[4:8] == b"TFL3":
        raise _invalid(f"The file looks like a TensorFlow Lite model. {_EXPORT}")
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content):
        raise _invalid(f"The file looks like safetensors: weights without a graph. {_EXPORT}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise _invalid(
            "The file cannot be read as ONNX: it is truncated, damaged or in another format. "
            "Upload it again, or export the model again."
        ) from error
    _check_text(model)
    return model


def _check_text(message: Message) -> None:
    """Reject names and texts that are not UTF-8, which protobuf returns as bytes."""
    for field, value in message.ListFields():
        if field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for item in (value,) if isinstance(value, str | bytes | Message) else value:
            if isinstance(item, bytes):
                raise _invalid("The file is damaged: it has a name that is not UTF-8 text. Export the model again.")
            if isinstance(item, Message):
                _check_text(item)


def _check_graph(model: onnx.ModelProto) -> None:
    if not model.ir_version or not model.HasField("graph"):
        raise _invalid(f"The file is not an ONNX model: it has no graph. {_EXPORT}")
    graph = model.graph
    if not graph.node:
        raise _invalid("The model's graph has no nodes: the file is truncated, or nothing was exported.")
    if not graph.output:
        raise _invalid("The model's graph has no outputs: the file is truncated, or nothing was exported.")
    weights = {tensor.name for tensor in graph.initializer}
    if all(value.name in weights for value in graph.input):
        raise _invalid("The model's graph has no inputs, so there is nothing to predict from.")


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
        raise _invalid(
            f"The model's local functions cannot be inlined ({_first_line(error)}). "
            "Inline them before uploading, with onnx.inliner.inline_local_functions."
        ) from error


def _check_domains(model: onnx.ModelProto) -> None:
    custom = [node for node in all_nodes(model.graph) if not is_standard(node)]
    if custom:
        named = ", ".join(sorted({f"{node.domain}::{node.op_type}" for node in custom})[:5])
        raise FaceterError(
            ProblemKind.CUSTOM_OPERATORS,
            f"The model uses {named} (first at node {node_name(custom[0])!r}). Only standard ONNX operators are "
            "accepted: export without runtime-specific optimization, or rewrite these nodes.",
            field="file",
            operators=sorted({f"{node.domain}::{node.op_type}" for node in custom}),
        )
    kept = [item for item in model.opset_import if item.domain in STANDARD_DOMAINS]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _check_opset(model: onnx.ModelProto) -> None:
    opset = opset_of(model)
    if not opset:
        raise _invalid("The model has no opset: the file is truncated, or was not written by an ONNX exporter.")
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPSET,
            f"The model has opset {opset}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} are supported. "
            "Export it at one of these (opset_version=20 is a good choice), or use onnx.version_converter.",
            field="file",
        )


def _check_initializers(graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        raise _invalid("The model has sparse initializers, which are not supported. Save its weights dense.")
    for tensor in _tensors(graph):
        if any(size < 0 for size in tensor.dims):
            raise _invalid(f"The tensor {tensor.name!r} has a negative size. Export the model again.")
        if tensor.data_type == onnx.TensorProto.UNDEFINED:
            raise _invalid(f"The tensor {tensor.name!r} has no element type. Export the model again.")
        if not tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
            continue
        try:
            bits = _bits(tensor.data_type)
        except KeyError as error:
            raise _invalid(f"The tensor {tensor.name!r} has an element type that ONNX does not define.") from error
        expected = (prod(tensor.dims) * bits + 7) // 8
        if len(tensor.raw_data) != expected:
            raise _invalid(
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
            raise _invalid(f"The tensor {duplicates[0]!r} is {what} in the graph; tensor names must be unique.")
    if any(not value.name for value in (*graph.input, *graph.output)):
        raise _invalid("An input or output of the graph has no name.")


def _check_tensors_only(graph: onnx.GraphProto) -> None:
    for what, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            if not value.type.HasField("tensor_type"):
                raise _invalid(
                    f"The {what} {value.name!r} is not a tensor; sequences, maps and optional values cannot be served."
                )


def _infer_output_shapes(model: onnx.ModelProto) -> None:
    """Infer, in place, the shapes of outputs that have none, which ONNX's checker requires."""
    unknown = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    if not unknown:
        return
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise _invalid(f"The shapes in the model are inconsistent: {_first_line(error)}.") from error
    outputs = {value.name: value for value in inferred.graph.output}
    for value in unknown:
        if not outputs[value.name].type.tensor_type.HasField("shape"):
            raise _invalid(
                f"The output {value.name!r} has no shape, and none can be inferred. Give its rank on export."
            )
        value.CopyFrom(outputs[value.name])


def _check_by_onnx(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        raise _invalid(f"ONNX's checker rejects the model: {_first_line(error)}. Export it again.") from error
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise _invalid(f"The shapes in the model are inconsistent: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300].rstrip(" .")
