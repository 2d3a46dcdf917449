"""The command ``faceter export-torch``: a module that a command line names, written as an ONNX file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceter.cli.export_inputs import parse_inputs, parse_sizes
from faceter.cli.export_target import load, parse_arguments
from faceter.cli.export_weights import load_weights
from faceter.export.errors import ExportError
from faceter.export.module import export_module

if TYPE_CHECKING:
    import onnx


def export_command(
    target: str,
    shapes: Sequence[str],
    output: Path,
    *,
    dtypes: Sequence[str] = (),
    ranges: Sequence[str] = (),
    sizes: Sequence[str] = (),
    arguments: Sequence[str] = (),
    weights: Path | None = None,
    weights_key: str | None = None,
    strict: bool = True,
    opset: int = 18,
    unnamed: str = "image",
    static_batch: bool = False,
) -> str:
    """Export a module that a command line describes to the file ``output``, which is written atomically.

    Args:
        target: ``MODULE:CALLABLE``; see `faceter.cli.export_target.load`.
        shapes: Inputs; this and the next two as in `faceter.cli.export_inputs.parse_inputs`.
        output: The file to write.
        dtypes: Element types of inputs.
        ranges: Values of inputs for the check.
        sizes: ``NAME=NUMBER`` each: sizes at which open ones are tried.
        arguments: ``NAME=VALUE`` each: keyword arguments of the callable.
        weights: A file with weights; see `faceter.cli.export_weights.load_weights`.
        weights_key: Where they are in the file.
        strict: Whether missing and unexpected weights are an error.
        opset: Version of the standard operator set.
        unnamed: Name of an input without a name.
        static_batch: Whether a shape of numbers without a name is fixed as a whole.

    Returns:
        A summary of the model.

    Raises:
        ExportError: If there is no such module, its weights do not fit, its outputs change on export, or the file
            cannot be written.
    """
    inputs = parse_inputs(shapes, dtypes, ranges, unnamed=unnamed, static_batch=static_batch)
    tried = parse_sizes(sizes, inputs)
    module = load(target, parse_arguments(arguments))
    notes = [] if weights is None else load_weights(module, weights, key=weights_key, strict=strict)
    model = export_module(module, inputs, opset=opset, sizes=tried)
    content = model.SerializeToString()
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".export-") as folder:
            part = Path(folder) / "model.onnx"
            part.write_bytes(content)
            part.replace(output)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}.") from error
    norms = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    noted = f" Note: {'; '.join(notes)}." if notes else ""
    return (
        f"Wrote {output}: {len(content):,} bytes, {len(model.graph.node)} nodes, {norms} of them BatchNormalization, "
        f"{_described('input', model.graph.input)}, {_described('output', model.graph.output)}; its outputs equal the "
        f"torch module's.{noted}"
    )


def _described(what: str, values: Sequence["onnx.ValueInfoProto"]) -> str:
    shown = []
    for value in values:
        sizes = [size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim]
        shown.append(f"{value.name!r} [{', '.join(sizes)}]")
    return f"{what}{'s' if len(values) > 1 else ''} {', '.join(shown)}"
