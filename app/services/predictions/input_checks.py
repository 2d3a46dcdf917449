"""Checks of the tensors of a request against the inputs of a model."""

from collections.abc import Collection, Mapping, Sequence

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array
from faceter.graphs.value_types import is_tensor

_MOST_ECHOED = 100
_HELD_AS = {"str": "object", "bfloat16": "float32"}
"""Dtypes of arrays that hold another element type than numpy has."""


def invalid_input(detail: str, name: str) -> FaceterError:
    """Return the error for an input of a request."""
    return FaceterError(ProblemKind.INVALID_INPUT, detail, field=f"inputs.{name}")


def check_names(given: Collection[str], specs: Sequence[TensorSpec]) -> None:
    """Check that exactly the inputs of a model are given.

    Raises:
        FaceterError: `INVALID_INPUT`, naming an input that is unknown or missing.
    """
    names = [spec.name for spec in specs]
    for name in given:
        if name not in names:
            echoed = name[:_MOST_ECHOED]
            raise invalid_input(f"The model has no input {echoed!r}; it takes {', '.join(names)}.", echoed)
    missing = [name for name in names if name not in given]
    if missing:
        raise invalid_input(f"The input {missing[0]!r} is missing; the model takes {', '.join(names)}.", missing[0])


def check_tensors(arrays: Mapping[str, Array], specs: Sequence[TensorSpec], *, max_rows: int) -> None:
    """Check names, element types and shapes of the inputs of a model.

    Args:
        arrays: Inputs by name. Text is an array of objects, bfloat16 one of float32.
        specs: The inputs of the model, all of them tensors.
        max_rows: Maximum size of a first axis of variable size.

    Raises:
        FaceterError: `INVALID_INPUT`, naming the input.
    """
    check_names(arrays, specs)
    for spec in specs:
        array = arrays[spec.name]
        if array.dtype.name != _HELD_AS.get(spec.dtype, spec.dtype):
            raise invalid_input(f"The input {spec.name!r} takes {spec.dtype}, not {array.dtype.name}.", spec.name)
        if array.size == 0:
            raise invalid_input(f"The input {spec.name!r} is empty.", spec.name)
    check_shapes(arrays, specs, max_rows)


def check_outputs(names: Sequence[str], specs: Sequence[TensorSpec]) -> None:
    """Check the names of the outputs that a request asks for.

    Raises:
        FaceterError: `INVALID_INPUT`, naming an output that is unknown or asked for twice, or is no tensor.
    """
    known = [spec.name for spec in specs if is_tensor(spec.dtype)]
    for place, name in enumerate(names):
        echoed = name[:_MOST_ECHOED]
        if name not in known:
            detail = f"The model has no output tensor {echoed!r}; it has {', '.join(known) or 'none'}."
            raise FaceterError(ProblemKind.INVALID_INPUT, detail, field=f"outputs.{echoed}")
        if name in names[:place]:
            detail = f"The output {echoed!r} is asked for twice."
            raise FaceterError(ProblemKind.INVALID_INPUT, detail, field=f"outputs.{echoed}")


def check_shapes(arrays: Mapping[str, Array], specs: Sequence[TensorSpec], max_rows: int) -> None:
    """Check the shapes of inputs; sizes of one name must be equal in all of them.

    Raises:
        FaceterError: `INVALID_INPUT`, naming the input.
    """
    sizes: dict[str, tuple[str, int]] = {}
    for spec in specs:
        shape = arrays[spec.name].shape
        fits = len(shape) == len(spec.shape) and all(
            size == fixed for size, fixed in zip(shape, spec.shape, strict=True) if isinstance(fixed, int)
        )
        if not fits:
            expected_shape = ", ".join("any" if size is None else str(size) for size in spec.shape)
            raise invalid_input(
                f"The input {spec.name!r} has shape {list(shape)}; the model takes [{expected_shape}].", spec.name
            )
        if spec.shape and not isinstance(spec.shape[0], int) and shape[0] > max_rows:
            raise invalid_input(
                f"The input {spec.name!r} has {shape[0]} rows; this server takes {max_rows} at a time.", spec.name
            )
        for size, named in zip(shape, spec.shape, strict=True):
            if not isinstance(named, str):
                continue
            other, first = sizes.setdefault(named, (spec.name, size))
            if size != first:
                raise invalid_input(
                    f"The inputs {other!r} and {spec.name!r} must have {named!r} in common, not {first} and {size}.",
                    spec.name,
                )
