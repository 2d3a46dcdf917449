"""Runs of a torch module on example inputs, and the sizes at which it is exported and checked."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from faceter.export.errors import ExportError
from faceter.export.inputs import BATCH, ExportInput

if TYPE_CHECKING:
    import torch

_SEED = 0
_BATCH_SIZE = 2
"""torch.export treats a size of one as constant."""
_FIRST_SIZES = (64, 32, 128, 224, 256, 16, 512, 640, 1024, 8, 4, 16000)
_OTHER_SIZES = (2.0, 1.5, 0.5, 3.0, 1.25)


@dataclass(frozen=True)
class ModuleCall:
    """How a module takes its inputs.

    Attributes:
        module: On the CPU, in evaluation mode.
        inputs: Its inputs, in the order of its parameters.
        keywords: Whether they are given by name.
    """

    module: "torch.nn.Module"
    inputs: tuple[ExportInput, ...]
    keywords: bool

    @classmethod
    def of(cls, module: "torch.nn.Module", inputs: Sequence[ExportInput]) -> "ModuleCall":
        """Match inputs to the parameters of ``forward``: by name if these are its names, else by position.

        Raises:
            ExportError: If some names are parameters and others are not, or their number does not fit.
        """
        module = module.cpu().eval()
        signature = inspect.signature(module.forward)
        parameters = signature.parameters
        named = [item.name for item in inputs if item.name in parameters]
        others = [item.name for item in inputs if item.name not in parameters]
        if named and others:
            raise ExportError(
                f"The module has no input {', '.join(map(repr, others))}; forward takes {signature}. Use its names in "
                "--input-shape, or none of them to give the inputs in order."
            )
        keywords = bool(named)
        if keywords:
            inputs = sorted(inputs, key=lambda item: list(parameters).index(item.name))
        call = cls(module, tuple(inputs), keywords)
        try:
            if keywords:
                signature.bind(**dict.fromkeys(named))
            else:
                signature.bind(*inputs)
        except TypeError as error:
            raise ExportError(
                f"The module takes other inputs than --input-shape gives ({error}); forward takes {signature}."
            ) from error
        return call

    def examples(self, sizes: Mapping[str, int]) -> tuple["torch.Tensor", ...]:
        """Return random inputs of these sizes, the same each time."""
        import torch

        generator = torch.Generator().manual_seed(_SEED)
        return tuple(item.example(sizes, generator) for item in self.inputs)

    def by_name(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return values of the inputs by name."""
        return {item.name: value for item, value in zip(self.inputs, values, strict=True)}

    def run(self, sizes: Mapping[str, int]) -> dict[str, "torch.Tensor"]:
        """Return the outputs by name.

        Raises:
            ExportError: If the module fails, or its result is not made of tensors.
        """
        import torch

        values = self.examples(sizes)
        try:
            with torch.no_grad():
                result = self.module(**self.by_name(values)) if self.keywords else self.module(*values)
        except Exception as error:
            shown = ", ".join(
                f"{item.name} {tuple(value.shape)}" for item, value in zip(self.inputs, values, strict=True)
            )
            raise ExportError(f"The module does not take {shown}: {_first_sentence(error)}") from error
        return named_outputs(result)

    @property
    def open_sizes(self) -> list[str]:
        """Names of the open sizes."""
        return list(dict.fromkeys(name for item in self.inputs for name in item.open_axes.values()))


@dataclass(frozen=True)
class TrialSizes:
    """The sizes at which a module is exported and checked.

    Attributes:
        first: A number for each open size, for the export.
        others: Sizes to check at besides: one for each open size that differs in it, and one that differs in all.
    """

    first: Mapping[str, int]
    others: tuple[Mapping[str, int], ...]


def choose_sizes(call: ModuleCall, given: Mapping[str, int], remedy: str = "") -> TrialSizes:
    """Find sizes that a module takes, by running it.

    Args:
        call: The module.
        given: Numbers for some open sizes.
        remedy: A sentence for the user if a size cannot be opened.

    Raises:
        ExportError: If no size tried works, or an open size has one value only.
    """
    first = _first_sizes(call, given)
    others: list[Mapping[str, int]] = []
    for name in call.open_sizes:
        failure: ExportError | None = None
        for factor in _OTHER_SIZES:
            size = first[name] + 1 if name in _batch_names(call) else int(first[name] * factor)
            changed = {**first, name: max(size, 1)}
            try:
                call.run(changed)
            except ExportError as error:
                failure = failure or error
                continue
            others.append(changed)
            break
        else:
            raise ExportError(
                f"The size {name!r} cannot be opened: the module takes {first[name]}, but no other. {failure} "
                + (remedy or f"Give it as a number in --input-shape: {_with_number(call, name, first[name])}.")
            )
    if len(others) > 1:
        together = {name: changed[name] for name, changed in zip(call.open_sizes, others, strict=True)}
        try:
            call.run(together)
        except ExportError:  # sizes that depend on each other
            together = {}
        others += [together] if together else []
    return TrialSizes(first, tuple(others))


def named_outputs(result: Any) -> dict[str, "torch.Tensor"]:
    """Return the tensors in a module's result by name: keys of a dictionary, else ``output`` or ``output_0`` on.

    Raises:
        ExportError: If something in it is neither a tensor nor None.
    """
    import torch
    from torch.utils import _pytree

    leaves = [leaf for leaf in _pytree.tree_leaves(result) if leaf is not None]
    if not leaves or not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        raise ExportError(
            "The module must return a tensor, or tensors in tuples, lists or a dictionary, not a "
            f"{type(result).__name__}."
        )
    if isinstance(result, Mapping):
        keys = [str(key) for key, value in result.items() if value is not None]
        if len(keys) == len(leaves):
            return dict(zip(keys, leaves, strict=True))
    names = ["output"] if len(leaves) == 1 else [f"output_{index}" for index in range(len(leaves))]
    return dict(zip(names, leaves, strict=True))


def _batch_names(call: ModuleCall) -> set[str]:
    return {name for item in call.inputs for axis, name in item.open_axes.items() if axis == 0}


def _first_sizes(call: ModuleCall, given: Mapping[str, int]) -> dict[str, int]:
    sizes = dict.fromkeys(_batch_names(call), _BATCH_SIZE) | dict(given)
    free = [name for name in call.open_sizes if name not in sizes]
    failure: ExportError | None = None
    # Different sizes first: equal ones may be taken for one size.
    steps = (2, 0) if len(free) > 1 else (0,)
    for base, step in product(_FIRST_SIZES, steps) if free else ((0, 0),):
        tried = sizes | {name: base + base // step * place if step else base for place, name in enumerate(free)}
        try:
            call.run(tried)
        except ExportError as error:
            failure = failure or error
            continue
        return tried
    hint = f" Say at which sizes to try it, such as --size {free[0]}=300." if free else ""
    raise ExportError(
        f"{failure} Correct --input-shape; if only one batch size works, write it as a number (or add --static-batch)."
        f"{hint}"
    )


def _with_number(call: ModuleCall, name: str, size: int) -> str:
    item = next(item for item in call.inputs if name in item.open_axes.values())
    shape = ",".join(str(size if part == name else part) for part in item.shape)
    return shape if name == BATCH else f"{item.name}={shape}"


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{lines[0].rstrip('.') if lines else type(error).__name__}."
