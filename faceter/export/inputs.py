"""Inputs of a module to export: names, shapes with open sizes, element types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Element types that an input may have."""

BATCH = "batch"
"""Name of the first size of an input that is given by numbers only."""

_DEFAULT_INTEGERS = (0.0, 1.0)


@dataclass(frozen=True)
class ExportInput:
    """An input of a module.

    Attributes:
        name: Its name in the graph; the module's parameter of that name, if there is one.
        shape: Numbers are fixed sizes, names are open ones; equal names are equal sizes.
        dtype: One of `DTYPES`.
        range: Smallest and largest value of the examples; None for a normal distribution, or 0 and 1 for integers.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"
    range: tuple[float, float] | None = None

    @property
    def open_axes(self) -> dict[int, str]:
        """Names of the open sizes, by axis."""
        return {axis: size for axis, size in enumerate(self.shape) if isinstance(size, str)}

    def sizes(self, chosen: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape with a number for each open size."""
        return tuple(chosen[size] if isinstance(size, str) else size for size in self.shape)

    def example(self, chosen: Mapping[str, int], generator: "torch.Generator") -> "torch.Tensor":
        """Return random values of the shape with these open sizes."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        shape = self.sizes(chosen)
        if not dtype.is_floating_point:
            low, high = self.range or _DEFAULT_INTEGERS
            return torch.randint(int(low), int(high) + 1, shape, generator=generator).to(dtype)
        if self.range is None:
            return torch.randn(shape, generator=generator).to(dtype)
        low, high = self.range
        return (low + (high - low) * torch.rand(shape, generator=generator)).to(dtype)
