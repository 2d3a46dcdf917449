"""Checks the description of a detector's head against the shapes of its outputs."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.detection_parts import MaskDecoding
from faceter.contracts.errors import FieldProblem
from faceter.contracts.models import TensorSpec
from faceter.vision.anchors import anchor_counts
from faceter.vision.head_outputs import candidates_per_cell

_NOT_NUMBERS: Final = ("sequence", "map", "optional", "str", "bool")


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
    missing = list(missing_outputs(decoding, outputs, field))
    if missing:
        yield from missing
        return
    for index, (name, scores) in enumerate(zip(decoding.box_outputs, decoding.score_outputs, strict=True)):
        yield from _box_problems(decoding, specs[name], index, field)
        yield from _candidate_problems(decoding, specs[name], index, input_size, field)
        if decoding.class_offset is not None and not decoding.class_is_chosen:
            yield from _class_problems(decoding, specs[scores], index, labels, field)
    if decoding.masks is not None:
        yield from _prototype_problems(decoding.masks, specs[decoding.masks.prototypes], field)


def missing_outputs(
    decoding: DetectionDecoding, outputs: Sequence[TensorSpec], field: str = "metadata.detection"
) -> Iterator[FieldProblem]:
    """Yield every field of a decoding that names no output of numbers; see `decoding_problems`."""
    named = {
        "boxes": decoding.box_outputs,
        "centers": decoding.centers,
        "scores": decoding.scores,
        "classes": decoding.classes,
        "objectness": decoding.objectness,
        "count": decoding.count,
        "masks.prototypes": decoding.masks.prototypes if decoding.masks else None,
    }
    specs = {spec.name: spec for spec in outputs}
    known = ", ".join(f"'{spec.name}'" for spec in outputs)
    for key, names in named.items():
        for name in [names] if isinstance(names, str) else names or []:
            if name not in specs:
                yield FieldProblem(field=f"{field}.{key}", message=f"The model has no output '{name}'; it has {known}.")
            elif specs[name].dtype.startswith(_NOT_NUMBERS):
                message = f"Output '{name}' is {specs[name].dtype}; boxes are decoded from tensors of numbers."
                yield FieldProblem(field=f"{field}.{key}", message=message)


def _prototype_problems(masks: MaskDecoding, spec: TensorSpec, field: str) -> Iterator[FieldProblem]:
    if spec.shape and len(spec.shape) != 4:
        message = f"Output '{spec.name}' has {len(spec.shape)} axes; prototypes are [N, count, rows, columns]."
        yield FieldProblem(field=f"{field}.masks.prototypes", message=message)
    elif spec.shape and isinstance(spec.shape[1], int) and spec.shape[1] != masks.count:
        message = f"There are {masks.count} coefficients, but output '{spec.name}' has {spec.shape[1]} prototypes."
        yield FieldProblem(field=f"{field}.masks.count", message=message)


def _box_problems(decoding: DetectionDecoding, spec: TensorSpec, index: int, field: str) -> Iterator[FieldProblem]:
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
    length = _values(decoding, spec, index)
    if length is None:
        return
    if length % 1:
        parts = candidates_per_cell(decoding, index)
        message = f"The values axis of '{spec.name}' cannot be split into {parts} equal parts."
        yield FieldProblem(field=f"{field}.anchors_per_cell", message=message)
        return
    offsets = {
        "box_offset": (decoding.box_offset, decoding.box_values),
        "objectness_offset": (None if decoding.objectness else decoding.objectness_offset, 1),
        "class_index_offset": (decoding.class_index_offset, 1),
    }
    if decoding.masks is not None:
        offsets["masks.offset"] = (decoding.masks.offset, decoding.masks.count)
    if decoding.keypoints is not None:
        offsets["keypoints.offset"] = (decoding.keypoints.offset, decoding.keypoints.count * decoding.keypoints.values)
    for key, (offset, needed) in offsets.items():
        if offset is not None and offset + needed > length:
            message = f"{key} {offset} is beyond the {length:.0f} values of a candidate in '{spec.name}'."
            yield FieldProblem(field=f"{field}.{key}", message=message)


def _candidate_problems(
    decoding: DetectionDecoding, spec: TensorSpec, index: int, input_size: tuple[int, int] | None, field: str
) -> Iterator[FieldProblem]:
    cells = _cells(decoding, spec)
    if cells is None:
        return
    candidates = cells * candidates_per_cell(decoding, index)
    anchors, key = len(decoding.anchors or ()), "anchors"
    if decoding.anchor_grid is not None and input_size:
        counts, key = anchor_counts(decoding.anchor_grid, input_size), "anchor_grid"
        anchors = counts[index] if len(decoding.box_outputs) > 1 else sum(counts)
    if decoding.head == "anchors" and anchors and anchors != candidates:
        message = f"There are {anchors} anchors, but output '{spec.name}' has {candidates} candidates."
        yield FieldProblem(field=f"{field}.{key}", message=message)
    if decoding.strides and input_size:
        expected = sum((input_size[0] // stride) * (input_size[1] // stride) for stride in decoding.strides)
        if expected != cells:
            message = (
                f"An input of {input_size[0]} × {input_size[1]} has {expected} cells at strides {decoding.strides}"
            )
            message += f", but output '{spec.name}' has {cells}."
            yield FieldProblem(field=f"{field}.strides", message=message)


def _class_problems(
    decoding: DetectionDecoding, spec: TensorSpec, index: int, labels: Sequence[str] | None, field: str
) -> Iterator[FieldProblem]:
    length = _values(decoding, spec, index)
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


def _values(decoding: DetectionDecoding, spec: TensorSpec, index: int) -> float | None:
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
    return float(size) if joined else size / candidates_per_cell(decoding, index)


def _cells(decoding: DetectionDecoding, spec: TensorSpec) -> int | None:
    """Return the number of cells of an image; None if it is dynamic."""
    if len(spec.shape) < 3:
        return None
    sizes = spec.shape[2:] if decoding.layout == "channels_first" else spec.shape[1:-1]
    static = [size for size in sizes if isinstance(size, int)]
    return math.prod(static) if len(static) == len(sizes) else None
