"""What exporters write into an ONNX file about a network: its task, labels and preprocessing.

Read are ``metadata_props`` of Ultralytics (YOLOv8 and later), of the YOLOv5 repository, of Core ML and its converters,
ONNX's own keys for images (docs/MetadataProps.md of onnx), and lists of labels under usual names. Nothing here trusts
the file: what cannot be read is left out, and said.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from faceter.contracts.detection import DetectionPreset
from faceter.contracts.models import Task, TensorSpec

_MOST_CHARACTERS: Final = 400_000
_MOST_LABELS: Final = 20_000
_MOST_LABEL_CHARACTERS: Final = 200
_LARGEST_SIDE: Final = 16_384
_STRING: Final = r"'(?:[^'\\\n]|\\.){0,200}'|\"(?:[^\"\\\n]|\\.){0,200}\""
_NUMBERED: Final = re.compile(rf"\s*['\"]?(\d{{1,6}})['\"]?\s*:\s*({_STRING})\s*(,|$)")
_LISTED: Final = re.compile(rf"\s*({_STRING})\s*(,|$)")
_SIDES: Final = re.compile(r"\s*[\[(]?\s*(\d{1,6})\s*(?:,\s*(\d{1,6})\s*)?[\])]?\s*")
_ULTRALYTICS_TASKS: Final = {
    "detect": Task.OBJECT_DETECTION,
    "segment": Task.OBJECT_DETECTION,
    "pose": Task.OBJECT_DETECTION,
    "classify": Task.IMAGE_CLASSIFICATION,
}
PADDLE_OCR: Final = "PaddleOCR"
_RECOGNIZER_AXES: Final = 3
_LINE_SIZE: Final = (48, 320)
_LINE: Final[dict[str, Any]] = {
    "resize": "pad",
    "interpolation": "bilinear",
    "resampler": "opencv",
    "channel_order": "bgr",
    "scale": 1 / 255,
    "mean": [0.5],
    "std": [0.5],
    "pad_value": 127,
}
"""Preprocessing of a line of text by PaddleOCR: 48 pixels high, values from −1 to 1, margin 0."""
_LABEL_NAMES: Final = ("names", "labels", "classes", "class_names", "class_labels", "id2label")
_CORE_ML_PREVIEW: Final = "com.apple.coreml.model.preview.params"
_CHANNEL_ORDERS: Final = {"gray8": "gray", "rgb8": "rgb", "bgr8": "bgr"}
_PIXEL_RANGES: Final[dict[str, dict[str, Any]]] = {
    "nominalrange_0_255": {"scale": 1.0},
    "normalized_0_1": {"scale": 1 / 255},
    "normalized_1_1": {"scale": 1 / 127.5, "mean": [1.0], "std": [1.0]},
}


@dataclass(frozen=True)
class FileFacts:
    """What a file says of its network, as far as it can be read."""

    exporter: str | None = None
    """Name of the exporter, for messages."""
    task: Task | None = None
    """Task."""
    labels: list[str] | None = None
    """Names of the classes."""
    preprocessing: dict[str, Any] | None = None
    """Fields of ``Preprocessing``, without the size."""
    size: list[int] | None = None
    """Height and width of the input, pixels."""
    preset: DetectionPreset | None = None
    """Head of the detector."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of key points, and values of each."""
    warnings: list[str] = field(default_factory=list)
    """What could not be read or is not supported."""


def file_facts(properties: Mapping[str, str]) -> FileFacts:
    """Return what the properties of a file say of its network."""
    if properties.get("author") == "Ultralytics" or properties.get("description", "").startswith("Ultralytics"):
        return _ultralytics(properties)
    if "names" in properties and "stride" in properties:
        labels, warnings = _labels(properties, "names")
        return FileFacts("YOLOv5", None, labels, {"preset": "yolo-letterbox"}, warnings=warnings)
    return _others(properties)


def as_recognizer(
    facts: FileFacts, properties: Mapping[str, str], image: TensorSpec | None, outputs: Sequence[TensorSpec]
) -> FileFacts:
    """Return what a file of PaddleOCR's text recognizers says: its characters, one a line.

    The first class is the blank of CTC, and often the last the space. Their preprocessing is always the same.

    Args:
        facts: What is known otherwise.
        properties: The file's properties.
        image: The model's input for an image.
        outputs: The model's outputs.

    Returns:
        ``facts`` if there are no characters, or the first output does not have as many classes.
    """
    text = properties.get("character", "")
    if not text or image is None or not outputs or len(outputs[0].shape) != _RECOGNIZER_AXES:
        return facts
    characters = text.removesuffix("\n").split("\n")
    classes = outputs[0].shape[2]
    if len(text) > _MOST_CHARACTERS or classes not in (len(characters) + 1, len(characters) + 2):
        warning = "The file's property 'character' has not one character for each class of the output: ignored."
        return replace(facts, warnings=[*facts.warnings, warning])
    labels = characters if classes == len(characters) + 1 else [*characters, " "]
    sides = [size if isinstance(size, int) else usual for size, usual in zip(image.shape[2:], _LINE_SIZE, strict=True)]
    return replace(
        facts, exporter=PADDLE_OCR, task=Task.TEXT_RECOGNITION, labels=labels, preprocessing=_LINE, size=sides
    )


def _ultralytics(properties: Mapping[str, str]) -> FileFacts:
    labels, warnings = _labels(properties, "names")
    named = properties.get("task", "")
    task = _ULTRALYTICS_TASKS.get(named)
    if task is None:
        what = "rotated boxes are not decoded" if named == "obb" else "this task is not known"
        warnings.append(
            f"The file is of Ultralytics' task {named[:40]!r}; {what}, so outputs are returned as they are."
        )
    size = _sides(properties.get("imgsz"))
    if size is None and "imgsz" in properties:
        warnings.append("The file's property 'imgsz' is no size of an image, and is ignored.")
    description = properties.get("description", "").lower()
    preprocessing: dict[str, Any] = {"preset": "yolo-letterbox"}
    if task is Task.IMAGE_CLASSIFICATION:
        preprocessing = {"resize": "crop", "crop_fraction": 1.0, "scale": 1 / 255}
    elif "rtdetr" in description or "rt-detr" in description:
        preprocessing = {"resize": "stretch", "scale": 1 / 255}
    if properties.get("channels") == "1":
        preprocessing["channel_order"] = "gray"
    return FileFacts(
        "Ultralytics",
        task,
        labels,
        preprocessing,
        size,
        _ultralytics_preset(named, description),
        _keypoint_shape(properties.get("kpt_shape")) if named == "pose" else None,
        warnings,
    )


def _ultralytics_preset(task: str, description: str) -> DetectionPreset | None:
    """Return the head of a network by its task and its name; versions from 8 on have the same heads but 10."""
    if task == "segment":
        return DetectionPreset.YOLOV8_SEG
    if task == "pose":
        return DetectionPreset.YOLOV8_POSE
    if task != "detect":
        return None
    if "rtdetr" in description or "rt-detr" in description:
        return DetectionPreset.RT_DETR
    version = re.search(r"yolov?(\d{1,2})", description)
    known = {"10": DetectionPreset.YOLOV10, "11": DetectionPreset.YOLO11}
    return known.get(version[1] if version else "", DetectionPreset.YOLOV8)


def _others(properties: Mapping[str, str]) -> FileFacts:
    labels: list[str] | None = None
    warnings: list[str] = []
    for name in _LABEL_NAMES:
        if name in properties and labels is None:
            labels, _ = _labels(properties, name)
    if labels is None and _CORE_ML_PREVIEW in properties:
        preview = _json(properties[_CORE_ML_PREVIEW])
        labels = _checked(preview.get("labels")) if isinstance(preview, dict) else None
    order = _CHANNEL_ORDERS.get(properties.get("Image.BitmapPixelFormat", "").lower())
    values = _PIXEL_RANGES.get(properties.get("Image.NominalPixelRange", "").lower())
    preprocessing = {"channel_order": order, **values} if order and values else None
    return FileFacts(labels=labels, preprocessing=preprocessing, warnings=warnings)


def _labels(properties: Mapping[str, str], name: str) -> tuple[list[str] | None, list[str]]:
    """Return the labels under a name, and why there are none."""
    text = properties.get(name)
    if text is None:
        return None, []
    labels = _checked(_listed(text))
    if labels is None:
        return None, [f"The file's property '{name}' is no list of different labels, and is ignored."]
    return labels, []


def _listed(text: str) -> list[str] | None:
    """Return the strings of a list or of a mapping from 0, 1, 2, …, in JSON or as Python writes them."""
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        return None
    parsed = _json(text)
    if isinstance(parsed, dict):
        return _in_order({str(key): value for key, value in parsed.items()})
    if isinstance(parsed, list):
        return parsed
    if text[:1] + text[-1:] == "{}":
        numbered = _entries(_NUMBERED, text[1:-1])
        return None if numbered is None else _in_order({match[1]: _unquoted(match[2]) for match in numbered})
    if text[:1] + text[-1:] in ("[]", "()"):
        items = _entries(_LISTED, text[1:-1])
        return None if items is None else [_unquoted(match[1]) for match in items]
    separator = "\n" if "\n" in text else ","
    parts = [part.strip() for part in text.split(separator)]
    return parts if len(parts) > 1 and not set(text) & set("{}[]") else None


def _entries(pattern: re.Pattern[str], text: str) -> list[re.Match[str]] | None:
    """Return the matches of a pattern that cover a text one after the other; None if they do not."""
    found, place = [], 0
    while place < len(text.rstrip()):
        match = pattern.match(text, place)
        if match is None or match.end() == place:
            return None
        found.append(match)
        place = match.end()
    return found


def _unquoted(literal: str) -> str:
    """Return the text of a Python string literal without line breaks."""
    try:
        return str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        return literal[1:-1]


def _in_order(numbered: Mapping[str, Any]) -> list[Any] | None:
    """Return values in the order of their keys 0, 1, 2, …; None if the keys are others."""
    keys = [str(number) for number in range(len(numbered))]
    return [numbered[key] for key in keys] if all(key in numbered for key in keys) else None


def _checked(values: object) -> list[str] | None:
    """Return values if they are different labels."""
    if not isinstance(values, list) or not 1 <= len(values) <= _MOST_LABELS:
        return None
    if not all(isinstance(value, str) and 1 <= len(value) <= _MOST_LABEL_CHARACTERS for value in values):
        return None
    usable = all(value.isprintable() for value in values) and len(set(values)) == len(values)
    return [str(value) for value in values] if usable else None


def _json(text: str) -> Any:
    """Return what a JSON text holds; None if it is none."""
    if len(text) > _MOST_CHARACTERS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _sides(text: str | None) -> list[int] | None:
    """Return height and width from a text such as `[640, 640]` or `640`."""
    match = _SIDES.fullmatch(text[:100]) if text is not None else None
    if match is None:
        return None
    sides = [int(match[1]), int(match[2] or match[1])]
    return sides if all(1 <= side <= _LARGEST_SIDE for side in sides) else None


def _keypoint_shape(text: str | None) -> tuple[int, int] | None:
    sides = _sides(text)
    return (sides[0], sides[1]) if sides and sides[1] in (2, 3) else None
