"""Inputs of a module to export, as given on the command line."""

from collections.abc import Iterator, Mapping, Sequence

from faceter.export.errors import ExportError
from faceter.export.inputs import BATCH, DTYPES, ExportInput

_SHAPE_HELP = "such as image=N,3,H,W: numbers are fixed sizes, names are open ones"


def parse_inputs(
    shapes: Sequence[str],
    dtypes: Sequence[str] = (),
    ranges: Sequence[str] = (),
    *,
    unnamed: str = "image",
    static_batch: bool = False,
) -> list[ExportInput]:
    """Return the inputs that options describe.

    Args:
        shapes: ``NAME=SIZES`` each, or ``SIZES`` for a single input. Of a single shape of numbers without a name the
            first is an open size, `BATCH`.
        dtypes: ``NAME=DTYPE`` each.
        ranges: ``NAME=LOW:HIGH`` each, both inclusive.
        unnamed: Name of an input without a name.
        static_batch: Whether a shape of numbers without a name is fixed as a whole.

    Raises:
        ExportError: If an option has another form, or names no input.
    """
    given: dict[str, tuple[int | str, ...]] = {}
    for text in shapes:
        name, separator, sizes = text.rpartition("=")
        if not separator and len(shapes) > 1:
            raise ExportError(f"--input-shape {text!r} needs a name, {_SHAPE_HELP}.")
        shape = tuple(_size(size, text) for size in sizes.split(","))
        numbers = all(isinstance(size, int) for size in shape)
        if static_batch and (separator or not numbers):
            raise ExportError(
                "--static-batch is for a shape of numbers without a name; write a fixed size as a number."
            )
        if not separator and numbers and not static_batch:
            shape = (BATCH, *shape[1:])
        if name in given:
            raise ExportError(f"--input-shape gives {name!r} twice.")
        given[name if separator else unnamed] = shape
    if not given:
        raise ExportError(f"Give --input-shape, {_SHAPE_HELP}.")
    kinds = dict(_pairs("--input-dtype", dtypes, given, "input_ids=int64"))
    for name, kind in kinds.items():
        if kind not in DTYPES:
            raise ExportError(f"--input-dtype {name}={kind}: the type is one of {', '.join(DTYPES)}.")
    limits = {name: _range(text) for name, text in _pairs("--input-range", ranges, given, "input_ids=0:30521")}
    return [ExportInput(name, shape, kinds.get(name, "float32"), limits.get(name)) for name, shape in given.items()]


def parse_sizes(texts: Sequence[str], inputs: Sequence[ExportInput]) -> dict[str, int]:
    """Return the sizes at which open ones are tried, from ``NAME=NUMBER`` each.

    Raises:
        ExportError: If one has another form, or names no open size.
    """
    names = {name for item in inputs for name in item.open_axes.values()}
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not number.isdecimal() or int(number) < 1:
            raise ExportError(f"--size takes the name of an open size and a number, such as H=256, not {text!r}.")
        if name not in names:
            raise ExportError(f"--size {text!r} names no open size of --input-shape; there are: {_listed(names)}.")
        sizes[name] = int(number)
    return sizes


def _size(text: str, whole: str) -> int | str:
    text = text.strip()
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if text.isidentifier():
        return text
    raise ExportError(
        f"--input-shape takes sizes separated by commas, such as 1,3,32,32, or {_SHAPE_HELP.removeprefix('such as ')}; "
        f"not {whole!r}."
    )


def _pairs(option: str, texts: Sequence[str], known: Mapping[str, object], example: str) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not value:
            raise ExportError(f"{option} takes the name of an input and a value, such as {example}, not {text!r}.")
        if name not in known:
            raise ExportError(f"{option} {text!r} names no input; --input-shape gives: {_listed(known)}.")
        yield name, value


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        limits = float(low), float(high)
    except ValueError:
        limits = (1.0, 0.0)
    if not limits[0] <= limits[1]:
        raise ExportError(f"--input-range takes the smallest and the largest value, such as 0:30521, not {text!r}.")
    return limits


def _listed(names: Mapping[str, object] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
