"""torch's two exporters to ONNX, set so that BatchNorm layers stay and sizes are open."""

import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceter.export.errors import ExportError
from faceter.export.trials import ModuleCall

if TYPE_CHECKING:
    import onnx

_LAST_TORCHSCRIPT_OPSET = 20
_STATIC = re.compile(r"static shape of (\d+) for dimension inputs\['(\w+)'\]\.shape\[(\d+)\]")

Exporter = Callable[[ModuleCall, Mapping[str, int], int], "onnx.ModelProto"]


def export_by_dynamo(call: ModuleCall, sizes: Mapping[str, int], opset: int) -> "onnx.ModelProto":
    """Export by torch.export.

    Args:
        call: The module.
        sizes: A number for each open size.
        opset: Version of the standard operator set.

    Raises:
        ExportError: If it fails; the message is torch's, with the open size named if it is about one.
    """
    import torch
    from onnxscript import optimizer

    values = call.examples(sizes)
    axes = [item.open_axes for item in call.inputs]
    dynamic: Any = call.by_name(axes) if call.keywords else tuple(axes)
    try:
        with _quiet():
            program = torch.onnx.export(
                call.module,
                () if call.keywords else values,
                kwargs=call.by_name(values) if call.keywords else None,
                dynamo=True,
                optimize=False,
                opset_version=opset,
                input_names=[item.name for item in call.inputs],
                output_names=list(call.run(sizes)),
                dynamic_shapes=dynamic if call.open_sizes else None,
                verbose=False,
            )
            assert program is not None
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
            model: onnx.ModelProto = program.model_proto
    except Exception as error:
        raise ExportError(_reason(call, error)) from error
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's stack traces, which contain local paths
    return model


def export_by_torchscript(call: ModuleCall, sizes: Mapping[str, int], opset: int) -> "onnx.ModelProto":
    """Export by tracing, torch's older way; takes and raises the same as `export_by_dynamo`."""
    import onnx
    import torch

    values = call.examples(sizes)
    names = [item.name for item in call.inputs]
    try:
        with _quiet(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            torch.onnx.export(
                call.module,
                () if call.keywords else values,
                file,
                kwargs=call.by_name(values) if call.keywords else None,
                dynamo=False,
                opset_version=min(opset, _LAST_TORCHSCRIPT_OPSET),
                input_names=names,
                output_names=list(call.run(sizes)),
                dynamic_axes={item.name: item.open_axes for item in call.inputs if item.open_axes},
                # Only so are BatchNorm layers not folded; the module itself stays in evaluation mode.
                training=torch.onnx.TrainingMode.PRESERVE,
            )
            return onnx.load(file)
    except Exception as error:
        raise ExportError(_reason(call, error)) from error


EXPORTERS: dict[str, Exporter] = {"torch.export": export_by_dynamo, "TorchScript": export_by_torchscript}
"""In the order in which they are tried."""


def _reason(call: ModuleCall, error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    found = _STATIC.search(text)
    if found is not None:
        size, name, axis = found.groups()
        item = next((item for item in call.inputs if item.name == name), call.inputs[0])
        opened = item.open_axes.get(int(axis))
        if opened is not None:
            return f"the size {opened!r} cannot be opened, since the module computes with {size} as a fixed number."
    line = text.splitlines()[0].rstrip(".") if text else type(error).__name__
    return f"{line}."


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporters' warnings and logs, which are about their own internals."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
