"""Checks the description of a detector's head against the shapes of its outputs."""

import math
from collections.abc import Iterator, Sequence

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FieldProblem
from faceter.contracts.models import TensorSpec


def decoding_problems(
    decoding: DetectionDecoding,
    outputs: Sequence[TensorSpec],
    labels: Sequence[str] | None,
    input_size: tuple[int, int] | None = None,
    field: str = "metadata.detection",
) -> Iterator[FieldProblem]:
    """Yield every field of a decoding that contradicts the model's outputs; dynamic sizes match anything.

    Args:
        decoding: Description of the head.
        outputs: The model's outputs.
        labels: Names of its classes, without the background.
        input_size: Height and width of the input in pixels; needed to check ``strides``.
        field: Path of the decoding in the request.
    """
    specs = {spec.name: spec for spec in outputs}
    missing = list(_missing(decoding, specs, field))
    if missing:
        yield from missing
        return
    for name, scores in zip(decoding.box_outputs, decoding.score_outputs, strict=True):
        yield from _box_problems(decoding, specs[name], field)
        yield from _candidate_problems(decoding, specs[name], input_size, field)
        if decoding.class_offset is not None and not decoding.class_is_chosen:
            yield from _class_problems(decoding, specs[scores], labels, field)


def _missing(decoding: DetectionDecoding, specs: dict[str, TensorSpec], field: str) -> Iterator[FieldProblem]:
    named = {"boxes": decoding.box_outputs, "scores": decoding.score_outputs if decoding.scores else []}
    named["classes"] = [decoding.classes] if decoding.classes else []
    known = ", ".join(f"'{name}'" for name in specs)
    for key, names in named.items():
        for name in names:
            if name not in specs:
                yield FieldProblem(field=f"{field}.{key}", message=f"The model has no output '{name}'; it has {known}.")


def _box_problems(decoding: DetectionDecoding, spec: TensorSpec, field: str) -> Iterator[FieldProblem]:
    rank = len(spec.shape)
    if not rank:
        return
    on_map = decoding.head == "grid" and not decoding.strides
    lowest = 4 if on_map else 2 if decoding.head == "direct" else 3
    if rank < lowest:
        required = "rows and columns of cells" if on_map else f"at least {lowest} axes"
        yield FieldProblem(
            field=f"{field}.boxes", message=f"Output '{spec.name}' has {rank} axes; it needs {required}."
        )
        return
    length = _values(decoding, spec)
    if length is None:
        return
    if length % 1:
        message = f"The values axis of '{spec.name}' cannot be split into {decoding.anchors_per_cell} equal parts."
        yield FieldProblem(field=f"{field}.anchors_per_cell", message=message)
        return
    offsets = {
        "box_offset": (decoding.box_offset, 4),
        "objectness_offset": (decoding.objectness_offset, 1),
        "class_index_offset": (decoding.class_index_offset, 1),
    }
    for key, (offset, needed) in offsets.items():
        if offset is not None and offset + needed > length:
            message = f"{key} {offset} is beyond the {length:.0f} values of a candidate in '{spec.name}'."
            yield FieldProblem(field=f"{field}.{key}", message=message)


def _candidate_problems(
    decoding: DetectionDecoding, spec: TensorSpec, input_size: tuple[int, int] | None, field: str
) -> Iterator[FieldProblem]:
    cells = _cells(decoding, spec)
    if cells is None:
        return
    if decoding.head == "anchors" and decoding.anchors and len(decoding.anchors) != cells * decoding.anchors_per_cell:
        candidates = cells * decoding.anchors_per_cell
        message = f"There are {len(decoding.anchors)} anchors, but output '{spec.name}' has {candidates} candidates."
        yield FieldProblem(field=f"{field}.anchors", message=message)
    if decoding.strides and input_size:
        expected = sum((input_size[0] // stride) * (input_size[1] // stride) for stride in decoding.strides)
        if expected != cells:
            message = (
                f"An input of {input_size[0]} × {input_size[1]} has {expected} cells at strides {decoding.strides}"
            )
            message += f", but output '{spec.name}' has {cells}."
            yield FieldProblem(field=f"{field}.strides", message=message)


def _class_problems(
    decoding: DetectionDecoding, spec: TensorSpec, labels: Sequence[str] | None, field: str
) -> Iterator[FieldProblem]:
    length = _values(decoding, spec)
    if length is None or decoding.class_offset is None:
        return
    count = int(length) - decoding.class_offset
    if count < (decoding.class_count or 1):
        key = "class_count" if count >= 1 else "class_offset"
        message = f"{decoding.class_count or 1} classes from position {decoding.class_offset} on are beyond the "
        message += f"{length:.0f} values of a candidate in '{spec.name}'."
        yield FieldProblem(field=f"{field}.{key}", message=message)
        return
    count = decoding.class_count or count
    if decoding.background_class is not None:
        if decoding.background_class >= count:
            message = f"background_class {decoding.background_class} is not one of {count} classes."
            yield FieldProblem(field=f"{field}.background_class", message=message)
        count -= 1
    if labels is not None and len(labels) != count:
        message = f"There are {len(labels)} labels, but output '{spec.name}' has {count} classes."
        yield FieldProblem(field="metadata.labels", message=message)


def _values(decoding: DetectionDecoding, spec: TensorSpec) -> float | None:
    """Return the number of values per candidate, a fraction if it does not divide; None for a dynamic axis."""
    if len(spec.shape) < 2:
        return None
    joined = decoding.layout == "channels_last" and len(spec.shape) == 5
    first = decoding.layout == "channels_first" and len(spec.shape) > 2
    size = spec.shape[1] if first else spec.shape[-1]
    if decoding.layout == "channels_first" and len(spec.shape) == 2:
        size = spec.shape[0]
    if not isinstance(size, int):
        return None
    return float(size) if joined else size / decoding.anchors_per_cell


def _cells(decoding: DetectionDecoding, spec: TensorSpec) -> int | None:
    """Return the number of cells of an image; None if it is dynamic."""
    if len(spec.shape) < 3:
        return None
    sizes = spec.shape[2:] if decoding.layout == "channels_first" else spec.shape[1:-1]
    static = [size for size in sizes if isinstance(size, int)]
    return math.prod(static) if len(static) == len(sizes) else None
