"""Exports a torch module to ONNX with its BatchNorm layers kept, on the user's own machine.

The service accepts only ONNX, because unpickling a model runs arbitrary code. Data-free methods need the statistics of
BatchNorm layers, which torch's exporter folds away when it optimizes; so its optimizer is switched off, and only
constants are folded afterwards. Where torch's exporter (torch.export) fails, its older one (TorchScript) is tried. The
result is compared with the module by ONNX Runtime at two values of each open size.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from faceter.export.check import check_export
from faceter.export.errors import ExportError
from faceter.export.exporters import EXPORTERS
from faceter.export.inputs import BATCH, ExportInput
from faceter.export.trials import ModuleCall, choose_sizes

if TYPE_CHECKING:
    import onnx
    import torch


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
