"""Exports a torch module to ONNX with its BatchNorm layers kept, on the user's own machine.

The service accepts only ONNX, because unpickling a model runs arbitrary code. Data-free methods need the statistics of
BatchNorm layers, which torch's exporter folds away when it optimizes; so its optimizer is switched off, and only
constants are folded afterwards. Where torch's exporter (torch.export) fails, its older one (TorchScript) is tried. The
result is compared with the module by ONNX Runtime at two values of each open size.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceter.cli.export_check import check_export
from faceter.cli.export_errors import ExportError
from faceter.cli.export_inputs import BATCH, ExportInput, parse_inputs, parse_sizes
from faceter.cli.export_target import load, parse_arguments
from faceter.cli.export_trials import ModuleCall, choose_sizes
from faceter.cli.export_weights import load_weights
from faceter.cli.torch_exporters import EXPORTERS

if TYPE_CHECKING:
    import onnx
    import torch

__all__ = ["ExportError", "export", "export_command", "export_module", "load"]


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


def export(
    module: "torch.nn.Module",
    input_shape: Sequence[int],
    *,
    opset: int = 18,
    input_name: str = "image",
    dynamic_batch: bool = True,
) -> "onnx.ModelProto":
    """Return a module of one float32 input as an ONNX model; see `export_module`.

    Args:
        module: Takes one float32 tensor.
        input_shape: Shape of the input, batch first.
        opset: Version of the standard operator set.
        input_name: Name of the input in the graph.
        dynamic_batch: Whether the batch size may vary.

    Raises:
        ExportError: As `export_module`.
    """
    shape: tuple[int | str, ...] = (BATCH, *input_shape[1:]) if dynamic_batch else tuple(input_shape)
    sizes = {BATCH: max(2, input_shape[0])} if dynamic_batch else {}
    return export_module(module, [ExportInput(input_name, shape)], opset=opset, sizes=sizes)


def export_module(
    module: "torch.nn.Module",
    inputs: Sequence[ExportInput],
    *,
    opset: int = 18,
    sizes: Mapping[str, int] | None = None,
) -> "onnx.ModelProto":
    """Return a module as an ONNX model with every BatchNorm layer kept, checked against torch by ONNX Runtime.

    Args:
        module: Returns tensors. It is moved to the CPU and set to evaluation mode.
        inputs: Its inputs.
        opset: Version of the standard operator set.
        sizes: Numbers at which open sizes are tried; by default some are found by running the module.

    Raises:
        ExportError: If torch cannot export it, a size cannot be opened, a BatchNorm layer is lost, or ONNX Runtime's
            outputs differ from torch's by more than 1e-4 of the largest output.
    """
    call = ModuleCall.of(module, inputs)
    remedy = "If only one batch size works, add --static-batch." if call.open_sizes == [BATCH] else ""
    trials = choose_sizes(call, sizes or {}, remedy)
    failures = []
    for name, exporter in EXPORTERS.items():
        try:
            model = exporter(call, trials.first, opset)
            check_export(model, call, trials)
        except ExportError as error:
            failures.append(f"{name}: {error}")
            continue
        return model
    fixed = " Give a size that cannot be opened as a number in --input-shape." if call.open_sizes else ""
    raise ExportError(f"torch cannot export the module. {' '.join(failures)}{fixed} {remedy}".rstrip())


def _described(what: str, values: Sequence["onnx.ValueInfoProto"]) -> str:
    shown = []
    for value in values:
        sizes = [size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim]
        shown.append(f"{value.name!r} [{', '.join(sizes)}]")
    return f"{what}{'s' if len(values) > 1 else ''} {', '.join(shown)}"
