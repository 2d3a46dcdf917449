"""Boxes of a detector as the API returns them, with instance masks and key points where the model has them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.models import Model
from faceter.contracts.predictions import Detection, InstanceMask
from faceter.engines.base import Array
from faceter.vision.boxes import Detections
from faceter.vision.detection import decode
from faceter.vision.head_outputs import named_output, shape_error
from faceter.vision.instance_masks import instance_masks, whole_input
from faceter.vision.metadata import image_input
from faceter.vision.preprocess import Placement


def detections_of(
    outputs: Mapping[str, Array],
    decoding: DetectionDecoding,
    input_size: tuple[int, int],
    labels: list[str] | None,
    placements: Sequence[Placement] | None,
) -> list[list[Detection]]:
    """Return the boxes of each image, best first.

    Args:
        outputs: All outputs of the model, batch first.
        decoding: Description of the head.
        input_size: Height and width of the input, pixels.
        labels: Names of the classes.
        placements: Position of each image in its input, for boxes in pixels of the image; None for pixels of the input.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if an output does not have the described shape.
    """
    every = decode(outputs, decoding, input_size)
    prototypes = _prototypes(outputs, decoding, len(every))
    answers = []
    for index, found in enumerate(every):
        placement = placements[index] if placements is not None else None
        if placement is not None:
            found = _in_image(found, placement)
        masks: list[InstanceMask] | list[None] = [None] * len(found)
        if prototypes is not None and len(found):
            made = instance_masks(found, prototypes[index], input_size, placement or whole_input(input_size))
            masks = [InstanceMask(size=list(mask.size), counts=mask.counts) for mask in made]
        answers.append(_answer(found, labels, masks))
    return answers


def _prototypes(outputs: Mapping[str, Array], decoding: DetectionDecoding, images: int) -> Array | None:
    """Return the mask prototypes [N, P, rows, columns] of a model that has instance masks."""
    if decoding.masks is None:
        return None
    name, count = decoding.masks.prototypes, decoding.masks.count
    prototypes = named_output(outputs, name)
    if prototypes.ndim != 4 or prototypes.shape[:2] != (images, count) or not prototypes.size:
        raise shape_error(name, prototypes, f"{count} prototypes for each of {images} images")
    return prototypes


def tensor_input_size(model: Model, inputs: Mapping[str, Array]) -> tuple[int, int] | None:
    """Return height and width of an image given as a tensor; None if the model has no preprocessing."""
    preprocessing = model.metadata.preprocessing
    if preprocessing is None:
        return None
    shape = inputs[image_input(preprocessing, model.inputs).name].shape
    return (shape[1], shape[2]) if preprocessing.channels_last else (shape[2], shape[3])


def _in_image(found: Detections, placement: Placement) -> Detections:
    points = found.keypoints
    return replace(
        found,
        boxes=placement.to_image_pixels(found.boxes),
        keypoints=None if points is None else placement.points_to_image_pixels(points),
    )


def _answer(found: Detections, labels: list[str] | None, masks: list[InstanceMask] | list[None]) -> list[Detection]:
    keypoints = [None] * len(found) if found.keypoints is None else found.keypoints.tolist()
    return [
        Detection.model_construct(  # of values that are valid
            index=index,
            label=labels[index] if labels is not None and index < len(labels) else str(index),
            score=min(score, 1.0),
            box=box,
            mask=mask,
            keypoints=points,
        )
        for index, score, box, mask, points in zip(
            found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), masks, keypoints, strict=True
        )
    ]
