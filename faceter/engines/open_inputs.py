"""The sizes that a model's inputs leave open: which axes belong together, and which sizes to try."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, Literal

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec, shape_text
from faceter.graphs.demanded_sizes import DemandedSizes
from faceter.graphs.open_axes import evaluate, symbols

_SEQUENCE_WORDS: Final = ("time", "seq", "frame", "len", "step", "token")
_IMAGE_RANK: Final = 4


class Sizes(Enum):
    """Sizes to try for an open axis, by its kind."""

    IMAGE = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640, 800, 1024)
    """Height and width of images."""
    SIGNAL = (64, 128, 256, 512, 576, 1024, 1536, 2048, 4096, 8192, 16000, 16384, 24000, 32000, 32768, 48000, 65536)
    """Length of signals and sequences of features."""
    TOKENS = (16, 8, 32, 64, 128, 256, 512, 4, 2, 1, 1024, 77, 20, 10, 50, 100, 2048)
    """Length of integer sequences."""


class OpenInputs:
    """Groups of open axes that must have equal sizes, and what is known of each.

    Open first axes are batch axes, unless their name says otherwise; they get size 1. Axes of the same name are equal,
    and an expression such as ``2*frames`` follows from its names. The unnamed height and width of an image are tied.

    Args:
        specs: The model's inputs.
        said: Shapes that the user gave, by input.
        images: Shape of the image input from the preprocessing, by its name.
        demanded: What the layers that read the inputs say of their axes.
        field: The field of the request with the shapes, for errors.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if the shapes contradict the inputs or each other.
    """

    def __init__(
        self,
        specs: Sequence[TensorSpec],
        said: Mapping[str, Sequence[int]],
        images: Mapping[str, Sequence[int]],
        demanded: DemandedSizes,
        field: str,
    ) -> None:
        specs = [_with_sizes(spec, demanded.sizes) for spec in specs]
        self._specs = {spec.name: spec for spec in specs}
        self._said = {name: tuple(shape) for name, shape in said.items()}
        self._images = {name: tuple(shape) for name, shape in images.items() if name not in self._said}
        self._field = field
        self.batch_first = {
            spec.name
            for spec in specs
            if spec.shape and (_is_batch(spec.shape[0]) and not any((spec.name, i) in demanded.batch for i in (1, 2)))
        }
        """Inputs whose first axis is an open batch axis."""
        first = {spec.shape[0] for spec in specs if spec.name in self.batch_first}
        self._batch_names = {
            size
            for spec in specs
            for size in spec.shape
            if isinstance(size, str) and (size in first or "batch" in size)
        }
        self._batch_axes = demanded.batch
        self._known = dict.fromkeys(self._batch_names, 1)
        self._take_given()
        self._kinds = self._open_groups()
        self._states = {
            self._group(spec.name, axis): spec.shape[0]
            for spec in specs
            for axis in self._open_axes(spec)
            if len(spec.shape) < _IMAGE_RANK and isinstance(spec.shape[0], int)
        }

    @property
    def open_inputs(self) -> list[str]:
        """Inputs with a size left open by the file besides the batch."""
        return [name for name, spec in self._specs.items() if any(True for _ in self._open_axes(spec))]

    @property
    def said(self) -> bool:
        """Whether the user gave a shape."""
        return bool(self._said)

    @property
    def inferred(self) -> list[str]:
        """Inputs with a size that nothing but a trial can give."""
        return [name for name in self.open_inputs if self.source(name) == "inferred"]

    def source(self, name: str) -> Literal["said", "inferred"]:
        """Return who gave the open sizes of an input: the user, shape or preprocessing, or trial runs."""
        if name in self._said or name in self._images:
            return "said"
        groups = {self._group(name, axis) for axis in self._open_axes(self._specs[name])}
        return "inferred" if any(group in self._kinds for group in groups) else "said"

    def candidates(self) -> Iterator[dict[str, int]]:
        """Yield sizes by group, in the order to try them; once if every size is known.

        An open axis behind a fixed first one may be the batch axis of a recurrent state, [layers, batch, units]: with
        more than one layer it is tried at 1 only, with one layer after all other sizes.
        """
        if not self._kinds:
            yield {}
            return
        states = [{group for group, first in self._states.items() if first > 1}, set(self._states)]
        for ones in states if states[0] != states[1] else states[:1]:
            for step in range(len(Sizes.IMAGE.value)):
                yield {group: 1 if group in ones else kind.value[step] for group, kind in self._kinds.items()}

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Return the shape of every input for sizes by group."""
        return {
            name: tuple(self._size(name, axis, size, sizes) for axis, size in enumerate(spec.shape))
            for name, spec in self._specs.items()
        }

    def describe_inferred(self) -> str:
        """Return the inputs whose sizes nobody gave, with their shapes, as text."""
        return " and ".join(f"{name!r} {shape_text(self._specs[name].shape)}" for name in self.inferred)

    def example(self) -> str:
        """Return an example of the field for these inputs, as JSON."""
        first = next(self.candidates())
        shapes = self.shapes(first)
        entries = ", ".join(f'"{name}": {list(shapes[name])}' for name in self.inferred)
        return f'"input_shapes": {{{entries}}}'

    def _size(self, name: str, axis: int, size: int | str | None, sizes: Mapping[str, int]) -> int:
        if name in self._said:
            return self._said[name][axis]
        if isinstance(size, int):
            return size
        if name in self._images:
            return self._images[name][axis]
        if (axis == 0 and name in self.batch_first) or (name, axis) in self._batch_axes:
            return 1
        group = self._group(name, axis)
        if group in sizes:
            return sizes[group]
        value = evaluate(size, {**self._known, **sizes}) if isinstance(size, str) else None
        return max(1, value if value is not None else 1)

    def _open_axes(self, spec: TensorSpec) -> Iterator[int]:
        for axis, size in enumerate(spec.shape):
            first = axis == 0 and spec.name in self.batch_first
            batch = first or size in self._batch_names or (spec.name, axis) in self._batch_axes
            if not isinstance(size, int) and not batch:
                yield axis

    def _group(self, name: str, axis: int) -> str:
        """Return the name of the group of an open axis."""
        spec = self._specs[name]
        size = spec.shape[axis]
        if isinstance(size, str):
            names = sorted(symbols(size))
            return names[0] if len(names) == 1 and names[0] == size else size
        if len(spec.shape) == _IMAGE_RANK:
            return f"{name}/sides"
        return f"{name}/{axis}"

    def _open_groups(self) -> dict[str, Sizes]:
        """Return the kind of every group of axes whose size is not known; of expressions, that of their names."""
        kinds: dict[str, Sizes] = {}
        for name, spec in self._specs.items():
            if name in self._said or name in self._images:
                continue
            for axis in self._open_axes(spec):
                group, size = self._group(name, axis), spec.shape[axis]
                wanted = symbols(size) if isinstance(size, str) else {group}
                for each in sorted(wanted - self._known.keys()):
                    kinds.setdefault(each, _kind(spec))
        return kinds

    def _take_given(self) -> None:
        """Check the given shapes and learn the sizes of named axes from them."""
        for name, shape in {**self._images, **self._said}.items():
            spec = self._specs.get(name)
            if spec is None:
                raise self._mismatch(name, f"The model has no input {name!r}; it has {', '.join(self._specs)}.")
            if len(spec.shape) != len(shape):
                raise self._mismatch(
                    name,
                    f"The input {name!r} has {len(spec.shape)} axes, {shape_text(spec.shape)}; the shape given is "
                    f"{list(shape)}.",
                )
            for axis, (size, given) in enumerate(zip(spec.shape, shape, strict=True)):
                if isinstance(size, int) and size != given and name in self._said:
                    raise self._mismatch(
                        name,
                        f"The file fixes axis {axis} of the input {name!r} at {size}; the shape given, {list(shape)}, "
                        f"has {given} there.",
                    )
                if isinstance(size, str) and not (axis == 0 and name in self.batch_first):
                    if self._known.get(size, given) != given and symbols(size) == {size}:
                        raise self._mismatch(
                            name,
                            f"The axis {size!r} has one size in all inputs; the shapes given have {self._known[size]} "
                            f"and {given}.",
                        )
                    self._known[size] = given

    def _mismatch(self, name: str, detail: str) -> FaceterError:
        return FaceterError(ProblemKind.METADATA_MISMATCH, detail, field=f"{self._field}.{name}")


def _with_sizes(spec: TensorSpec, sizes: Mapping[tuple[str, int], int]) -> TensorSpec:
    shape = [
        size if isinstance(size, int) else sizes.get((spec.name, axis), size) for axis, size in enumerate(spec.shape)
    ]
    return spec.model_copy(update={"shape": shape})


def _is_batch(size: int | str | None) -> bool:
    """Whether the size of a first axis is an open batch size: it is, unless its name is that of a sequence."""
    if isinstance(size, int):
        return False
    return size is None or not any(word in size.lower() for word in _SEQUENCE_WORDS)


def _kind(spec: TensorSpec) -> Sizes:
    if spec.dtype.startswith(("int", "uint", "bool", "str")) and len(spec.shape) < _IMAGE_RANK:
        return Sizes.TOKENS
    return Sizes.IMAGE if len(spec.shape) == _IMAGE_RANK else Sizes.SIGNAL
