"""Torch modules as ONNX files, exported on the user's machine with their BatchNorm layers."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from faceter.export.inputs import ExportInput

_BATCH: Final = "batch"
_NEEDED: Final = ("torch", "onnx", "onnxruntime", "onnxscript", "numpy")
_WORDS: Final = {
    " (or add --static-batch)": "",
    "add --static-batch": "pass open_sizes={}",
    "Say at which sizes to try it, such as --size": "Give examples of sizes that it takes, such as",
    "in --input-shape:": "in open_sizes; examples of that size are taken:",
    "in --input-shape.": "by leaving it out of open_sizes.",
    "Correct --input-shape": "Correct the examples",
    "--input-shape": "example_inputs",
    "give --input-range for its inputs": "give examples with other values",
}
"""What the command's messages say, and what they mean for a Python user."""

OpenSizes = Mapping[str, Mapping[int, str]]
"""Names of the open sizes by input and axis; equal names are equal sizes."""


def exported(
    module: "torch.nn.Module", example_inputs: Any, *, open_sizes: OpenSizes | None = None, opset: int = 18
) -> bytes:
    """Return a torch module as an ONNX file with its BatchNorm layers kept; its outputs are compared with torch's.

    Args:
        module: It is copied, so that neither its device nor its mode changes.
        example_inputs: A tensor, several in a tuple or list, or a dictionary by name of the parameter of `forward`.
            Shapes, types and ranges of values are taken from them.
        open_sizes: Axes of variable size, such as ``{"image": {0: "batch", 2: "height", 3: "width"}}``; by default the
            first of every input, the batch.
        opset: Version of the standard operator set, 18 to 21.

    Raises:
        ExportError: If the module cannot be exported; see `faceter.export.module.export_module`.
        ImportError: If a package for it is missing.
    """
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401

        from faceter.export.errors import ExportError
        from faceter.export.module import export_module
    except ImportError as error:
        raise ImportError(
            f"{error}. To export torch modules, install what it needs ({', '.join(_NEEDED)}): "
            "pip install 'faceter[export]'"
        ) from error
    tensors = named_examples(module, example_inputs)
    inputs = export_inputs(tensors, open_sizes)
    try:
        model = export_module(copy.deepcopy(module), inputs, opset=opset, sizes=_example_sizes(tensors, inputs))
    except ExportError as error:
        raise ExportError(_in_python(str(error))) from error
    return bytes(model.SerializeToString())


def export_inputs(tensors: "Mapping[str, torch.Tensor]", open_sizes: OpenSizes | None) -> "list[ExportInput]":
    """Return the inputs that examples describe.

    Raises:
        TypeError: If an example has a type that cannot be exported.
        ValueError: If `open_sizes` names no input.
    """
    from faceter.export.inputs import DTYPES, ExportInput

    unknown = sorted(set(open_sizes or {}) - set(tensors))
    if unknown:
        raise ValueError(f"open_sizes names {', '.join(unknown)}; the inputs are {', '.join(tensors)}.")
    inputs = []
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise TypeError(f"The input {name!r} is {dtype}; the types that can be exported are {', '.join(DTYPES)}.")
        opened = ({0: _BATCH} if tensor.ndim else {}) if open_sizes is None else open_sizes.get(name, {})
        shape: tuple[int | str, ...] = tuple(opened.get(axis, size) for axis, size in enumerate(tensor.shape))
        inputs.append(ExportInput(name, shape, dtype, _range(tensor)))
    return inputs


def named_examples(module: "torch.nn.Module", examples: Any) -> "dict[str, torch.Tensor]":
    """Return the example inputs by name: those of a dictionary, else the names of the parameters of `forward`."""
    import torch

    if isinstance(examples, Mapping):
        tensors = {str(name): value for name, value in examples.items()}
    else:
        listed: Sequence[Any] = examples if isinstance(examples, (tuple, list)) else [examples]
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = inspect.signature(module.forward).parameters.values()
        names = [parameter.name for parameter in parameters if parameter.kind in kinds]
        if len(names) < len(listed):
            names = [f"input_{number}" for number in range(len(listed))] if len(listed) > 1 else ["input"]
        tensors = dict(zip(names, listed, strict=False))
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"The example of the input {name!r} must be a tensor, not {type(value).__name__}.")
    return tensors


def _range(tensor: "torch.Tensor") -> tuple[float, float] | None:
    """Return the smallest and largest value of an example; None if they say nothing of other values."""
    if tensor.numel() == 0 or str(tensor.dtype) == "torch.bool":
        return None
    low, high = float(tensor.min()), float(tensor.max())
    return (low, high) if low < high or not tensor.is_floating_point() else None


def _example_sizes(tensors: "Mapping[str, torch.Tensor]", inputs: "Sequence[ExportInput]") -> dict[str, int]:
    """Return the open sizes of the examples; a batch of one counts as two, since torch takes one for a constant."""
    sizes: dict[str, int] = {}
    for item in inputs:
        for axis, name in item.open_axes.items():
            size = int(tensors[item.name].shape[axis])
            sizes[name] = max(size, 2) if axis == 0 else size
    return sizes


def _in_python(message: str) -> str:
    """Return a message of the export with the options of the command replaced by arguments."""
    for option, meaning in _WORDS.items():
        message = message.replace(option, meaning)
    return message
