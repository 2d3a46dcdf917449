"""Comparison of an exported graph with its torch module, by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from faceter.export.errors import ExportError
from faceter.export.trials import ModuleCall, TrialSizes

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    import torch

_TOLERANCE = 1e-4

_Shapes = dict[str, tuple[int, ...]]


def check_export(model: "onnx.ModelProto", call: ModuleCall, trials: TrialSizes) -> None:
    """Check that a graph has the BatchNorm layers and the outputs of its module, and declare the shapes of its outputs.

    Args:
        model: The graph; the shapes of its outputs are set to those found.
        call: The module.
        trials: Sizes to compare at.

    Raises:
        ExportError: If a BatchNorm layer is lost, an output differs by more than 1e-4 of the largest, or the graph does
            not run at another size; the message is a clause with a full stop.
    """
    import onnx

    calls = _norm_calls(call, trials.first)
    kept = sum(node.op_type == "BatchNormalization" for node in model.graph.node)
    if kept != calls:
        raise ExportError(f"the module calls {calls} BatchNorm layers, but {kept} remain after the export.")
    session = _session(model)
    tried = (trials.first, *trials.others)
    shapes = []
    for sizes in tried:
        changed = [f"{name}={size}" for name, size in sizes.items() if size != trials.first[name]]
        try:
            shapes.append(_compared(session, call, sizes))
        except ExportError as error:
            raise ExportError(
                f"a size cannot be opened, since the graph fits one only; at {', '.join(changed)} {error}"
                if changed
                else str(error)
            ) from error
    _declare_outputs(model, tried, shapes)
    onnx.checker.check_model(model, full_check=True)
    _session(model)


def _norm_calls(call: ModuleCall, sizes: Mapping[str, int]) -> int:
    from torch.nn.modules.batchnorm import _BatchNorm

    calls: list[torch.nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda layer, *_: calls.append(layer))
        for layer in call.module.modules()
        if isinstance(layer, _BatchNorm)
    ]
    try:
        call.run(sizes)
    finally:
        for hook in hooks:
            hook.remove()
    return len(calls)


def _session(model: "onnx.ModelProto") -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # the declared shape of an output may be wrong until it is set
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"ONNX Runtime cannot load the graph ({_line(error)}).") from error


def _compared(session: "onnxruntime.InferenceSession", call: ModuleCall, sizes: Mapping[str, int]) -> _Shapes:
    """Return the shapes of the outputs after comparing them with torch's."""
    expected = call.run(sizes)
    read = {value.name for value in session.get_inputs()}
    feeds = {name: value.numpy() for name, value in call.by_name(call.examples(sizes)).items() if name in read}
    try:
        actual = session.run(list(expected), feeds)
    except Exception as error:
        raise ExportError(f"ONNX Runtime fails ({_line(error)}).") from error
    for (name, tensor), value in zip(expected.items(), actual, strict=True):
        output, reference = np.asarray(value), np.asarray(tensor.detach().numpy())
        if output.shape != reference.shape:
            raise ExportError(f"ONNX Runtime's {name!r} has shape {output.shape}, torch's {reference.shape}.")
        if reference.dtype.kind == "f" and reference.size and not np.isfinite(reference).any():
            raise ExportError(
                f"The module's {name!r} has no finite value for the examples; give --input-range for its inputs."
            )
        left, right = output.astype(np.float64), reference.astype(np.float64)
        same = np.isclose(left, right, rtol=0, atol=_TOLERANCE * _largest(right), equal_nan=True)
        if not same.all():
            difference = np.nanmax(np.abs(left - right))
            raise ExportError(f"ONNX Runtime's {name!r} differs from torch's by up to {difference:.3g}.")
    return {name: tuple(tensor.shape) for name, tensor in expected.items()}


def _largest(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return max(1.0, float(np.max(finite, initial=0.0)))


def _declare_outputs(
    model: "onnx.ModelProto", tried: Sequence[Mapping[str, int]], shapes: Sequence[Mapping[str, tuple[int, ...]]]
) -> None:
    """Set the shapes of the outputs: a size that varies has the name of the open size that it equals.

    torch may declare a size that varies as a number; then what it declares of other tensors is removed.
    """
    import onnx

    symbols = {tuple(sizes[name] for sizes in tried): name for name in tried[0]}
    for value in model.graph.output:
        declared: list[int | str] = []
        for axis, observed in enumerate(zip(*(shape[value.name] for shape in shapes), strict=True)):
            varies = len(set(observed)) > 1
            declared.append(symbols.get(observed, f"{value.name}_{axis}") if varies else observed[0])
        tensor = value.type.tensor_type
        if any(
            size.dim_value and isinstance(found, str) for size, found in zip(tensor.shape.dim, declared, strict=False)
        ):
            del model.graph.value_info[:]
        shape = onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, declared).type.tensor_type.shape
        tensor.shape.CopyFrom(shape)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
