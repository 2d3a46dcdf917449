"""Exports a torch module to ONNX with its BatchNorm layers kept, on the user's own machine.

The service accepts only ONNX, because unpickling a model runs arbitrary code. Data-free methods need the statistics of
BatchNorm layers, which torch's exporter folds away when it optimizes; so its optimizer is switched off, and only
constants are folded afterwards.
"""

import importlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    import torch

_TOLERANCE = 1e-4
_SEED = 0


class ExportError(RuntimeError):
    """The module cannot be exported; the message gives the reason and the remedy."""


def export_file(
    target: str,
    input_shape: Sequence[int],
    output: Path,
    *,
    opset: int = 18,
    input_name: str = "image",
    dynamic_batch: bool = True,
) -> str:
    """Export a module to the file ``output``, which is written atomically.

    Args:
        target: ``MODULE:CALLABLE``, imported with the current folder first on the path.
        input_shape: Shape of the float32 input, batch first.
        output: The file to write.
        opset: Version of the standard operator set.
        input_name: Name of the input in the graph.
        dynamic_batch: Whether the batch size may vary.

    Returns:
        A summary of the model.

    Raises:
        ExportError: If there is no such module, its outputs change on export, or the file cannot be written.
    """
    model = export(load(target), input_shape, opset=opset, input_name=input_name, dynamic_batch=dynamic_batch)
    content = model.SerializeToString()
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".export-") as folder:
            part = Path(folder) / "model.onnx"
            part.write_bytes(content)
            part.replace(output)
    except OSError as error:
        raise ExportError(f"{output} cannot be written: {error.strerror}.") from error
    norms = _count(model, "BatchNormalization")
    return (
        f"Wrote {output}: {len(content):,} bytes, {len(model.graph.node)} nodes, {norms} of them BatchNormalization, "
        f"input {input_name!r}; its outputs equal the torch module's."
    )


def load(target: str) -> "torch.nn.Module":
    """Return the torch module that ``MODULE:CALLABLE`` names or returns.

    Raises:
        ExportError: If it cannot be imported or is no module.
    """
    import torch

    module_name, separator, attribute = target.partition(":")
    if not separator or not module_name or not attribute:
        raise ExportError(f"{target!r} is not of the form MODULE:CALLABLE, such as my_models:build.")
    if module_name.endswith(".py"):
        raise ExportError(f"Name the module as in an import: {module_name.removesuffix('.py')}:{attribute}.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise ExportError(f"Module {module_name!r} cannot be imported: {error}.") from error
    try:
        for name in attribute.split("."):
            module = getattr(module, name)
    except AttributeError as error:
        raise ExportError(f"Module {module_name!r} has no {attribute!r}.") from error
    if not isinstance(module, torch.nn.Module):
        if not callable(module):
            raise ExportError(
                f"{target} is a {type(module).__name__}, neither a torch module nor a callable that returns one."
            )
        module = module()
    if not isinstance(module, torch.nn.Module):
        raise ExportError(f"{target} returned a {type(module).__name__}, not a torch.nn.Module.")
    return module


def export(
    module: "torch.nn.Module",
    input_shape: Sequence[int],
    *,
    opset: int = 18,
    input_name: str = "image",
    dynamic_batch: bool = True,
) -> "onnx.ModelProto":
    """Return ``module`` as an ONNX model with every BatchNorm layer kept, checked against torch by ONNX Runtime.

    Args:
        module: Takes one float32 tensor, returns one or several. It is moved to the CPU and set to evaluation mode.
        input_shape: Shape of the input, batch first.
        opset: Version of the standard operator set.
        input_name: Name of the input in the graph.
        dynamic_batch: Whether the batch size may vary.

    Raises:
        ExportError: If torch cannot export it, a BatchNorm layer is lost, or ONNX Runtime's outputs differ from torch's
            by more than 1e-4 of the largest output.
    """
    import onnx
    import torch
    from onnxscript import optimizer

    module = module.cpu().eval()
    # torch.export treats a batch size of one as constant, so a dynamic batch is traced with two.
    batch = max(2, input_shape[0]) if dynamic_batch else input_shape[0]
    example = _example(batch, input_shape)
    outputs, norms = _run(module, example)
    names = ["output"] if len(outputs) == 1 else [f"output_{index}" for index in range(len(outputs))]
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=False,
                opset_version=opset,
                input_names=[input_name],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch")},) if dynamic_batch else None,
                verbose=False,
            )
            assert program is not None
            optimizer.fold_constants(program.model)
            optimizer.remove_unused_nodes(program.model)
            model: onnx.ModelProto = program.model_proto
    except (torch.onnx.OnnxExporterError, ValueError) as error:
        hint = " If only one batch size works, add --static-batch." if dynamic_batch else ""
        raise ExportError(f"torch cannot export the module: {_innermost(error)}.{hint}") from error
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's stack traces, which contain local paths
    _check(model, module, norms, input_name, [batch, batch + 1] if dynamic_batch else [batch], input_shape)
    return model


def _example(batch: int, input_shape: Sequence[int]) -> "torch.Tensor":
    import torch

    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn((batch, *input_shape[1:]), generator=generator)


def _run(module: "torch.nn.Module", example: "torch.Tensor") -> tuple[list["torch.Tensor"], int]:
    """Return the outputs of ``module`` and the number of BatchNorm calls."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    calls: list[torch.nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda layer, *_: calls.append(layer))
        for layer in module.modules()
        if isinstance(layer, _BatchNorm)
    ]
    try:
        with torch.no_grad():
            result = module(example)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExportError(
            f"The module does not take an input of shape {tuple(example.shape)}: {str(error).rstrip('.')}. "
            "Correct --input-shape; if only one batch size works, add --static-batch."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [result] if isinstance(result, torch.Tensor) else list(result) if isinstance(result, list | tuple) else []
    if not outputs or not all(isinstance(output, torch.Tensor) for output in outputs):
        raise ExportError(f"The module must return a tensor or a tuple of tensors, not a {type(result).__name__}.")
    return outputs, len(calls)


def _check(
    model: "onnx.ModelProto",
    module: "torch.nn.Module",
    norms: int,
    input_name: str,
    batches: Sequence[int],
    input_shape: Sequence[int],
) -> None:
    import numpy as np
    import onnx
    import onnxruntime

    kept = _count(model, "BatchNormalization")
    if kept != norms:
        raise ExportError(f"The module calls {norms} BatchNorm layers, but {kept} remain after the export.")
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches:
        example = _example(batch, input_shape)
        expected, _ = _run(module, example)
        actual = session.run(None, {input_name: example.numpy()})
        for name, output, reference_output in zip(
            (output.name for output in model.graph.output), actual, expected, strict=True
        ):
            reference = reference_output.numpy()
            difference = float(np.max(np.abs(output - reference), initial=0.0))
            if not difference <= _TOLERANCE * max(1.0, float(np.max(np.abs(reference), initial=0.0))):
                raise ExportError(f"ONNX Runtime's {name!r} differs from torch's by up to {difference:.3g}.")


def _count(model: "onnx.ModelProto", op_type: str) -> int:
    return sum(node.op_type == op_type for node in model.graph.node)


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's internal warnings."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
