"""Resolves the decoding of a detector: a preset and what a request gives beside it, fitted to the model's outputs."""

from typing import Any, Final

from pydantic import ValidationError

from faceter.contracts.detection import DetectionDecoding, DetectionPreset
from faceter.contracts.errors import FaceterError, FieldProblem, ProblemKind
from faceter.contracts.models import shape_text
from faceter.vision.decoding_check import missing_outputs
from faceter.vision.presets.head_shapes import HeadShapes
from faceter.vision.presets.table import PRESETS

FIELD: Final = "metadata.detection"
_IMAGE_AXES: Final = 4


def fitting_presets(shapes: HeadShapes) -> list[DetectionPreset]:
    """Return the presets that the outputs could be of; none for a model without an input for images."""
    if not _takes_images(shapes):
        return []
    return [name for name, preset in PRESETS.items() if preset.fit(shapes) is not None]


def certain_preset(shapes: HeadShapes) -> DetectionPreset | None:
    """Return the preset that the outputs are of without doubt; None if there is none, or more than one."""
    if not _takes_images(shapes):
        return None
    found: list[DetectionPreset] = []
    descriptions: list[dict[str, Any]] = []
    for name, preset in PRESETS.items():
        fit = preset.fit(shapes)
        if fit is not None and fit.certain and fit.fields not in descriptions:
            found.append(name)
            descriptions.append(fit.fields)
    return found[0] if len(found) == 1 else None


def said_fields(decoding: DetectionDecoding) -> dict[str, Any]:
    """Return the fields that a request gives, without the preset."""
    return {name: value for name, value in decoding.model_dump(exclude_unset=True).items() if name != "preset"}


def resolved(preset: DetectionPreset, shapes: HeadShapes) -> DetectionDecoding:
    """Return the description of a head by a preset; fields in ``shapes.said`` take precedence.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if the outputs are not of this kind, or a field contradicts the preset.
    """
    missing = list(missing_outputs(DetectionDecoding.model_construct(**_with_parts(dict(shapes.said))), shapes.outputs))
    if missing:
        detail = " ".join(problem.message for problem in missing)
        raise FaceterError(ProblemKind.METADATA_MISMATCH, detail, errors=missing)
    fit = PRESETS[preset].fit(shapes)
    if fit is None:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The preset {preset} is for outputs {PRESETS[preset].expects}; the model has {_shapes(shapes)}"
            f"{_labels(shapes)}. {advice(shapes)}",
            field=f"{FIELD}.preset",
        )
    values = _merged(fit.fields, dict(shapes.said))
    unchecked = DetectionDecoding.model_construct(**_with_parts(values))
    problems = [
        FieldProblem(
            field=f"{FIELD}.{next((name for name in fields if name in shapes.said), fields[0])}",
            message=f"With the preset {preset}: {message}.",
        )
        for fields, message in unchecked.contradictions()
    ]
    if problems:
        detail = " ".join(problem.message for problem in problems)
        raise FaceterError(ProblemKind.METADATA_MISMATCH, detail, errors=problems)
    try:
        return DetectionDecoding.model_validate({**values, "preset": preset})
    except ValidationError as error:
        message = f"With the preset {preset}: {error.errors()[0]['msg']}."
        raise FaceterError(ProblemKind.METADATA_MISMATCH, message, field=FIELD) from error


def advice(shapes: HeadShapes) -> str:
    """Return what to say about a head in the metadata, in one or two sentences."""
    names = fitting_presets(HeadShapes(shapes.inputs, shapes.outputs, shapes.classes, shapes.input_size))
    if names:
        listed = ", ".join(names)
        return f"Outputs of these shapes have the presets {listed}: give one, or describe the head by head and boxes."
    return "No preset has outputs of these shapes with this number of classes: describe the head by head and boxes."


def _merged(base: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a preset with what was said; parts such as masks are merged field by field."""
    merged = {**base, **said}
    for name in ("anchor_grid", "masks", "keypoints"):
        if isinstance(base.get(name), dict) and isinstance(said.get(name), dict):
            merged[name] = {**base[name], **said[name]}
    return merged


def _with_parts(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with parts as contracts, for a check of contradictions one by one."""
    probe = {name: value for name, value in values.items() if name in ("anchor_grid", "masks", "keypoints")}
    parts = DetectionDecoding.model_validate(probe)
    return {**values, **{name: getattr(parts, name) for name in probe}}


def _takes_images(shapes: HeadShapes) -> bool:
    return any(len(spec.shape) == _IMAGE_AXES for spec in shapes.inputs)


def _labels(shapes: HeadShapes) -> str:
    return "" if shapes.classes is None else f" and {shapes.classes} labels"


def _shapes(shapes: HeadShapes) -> str:
    return ", ".join(f"'{spec.name}' {shape_text(spec.shape)}" for spec in shapes.outputs)
