"""Box regression of a detector's head: from raw values to boxes in pixels of the model's input."""

from dataclasses import dataclass

import numpy as np

from faceter.contracts.detection import Activation, DetectionDecoding
from faceter.vision.anchors import anchor_counts, grid_anchors
from faceter.vision.boxes import FloatArray
from faceter.vision.head_outputs import ACTIVATIONS, HeadOutput, power, shape_error


@dataclass(frozen=True)
class BoxPriors:
    """What box values are relative to, as fractions of the input; each broadcasts against [N, M, 2], x before y."""

    origin: FloatArray
    """Added to centers: the left top corner of the cell, or the anchor's center."""
    center_scale: FloatArray
    """Multiplies center offsets."""
    size_scale: FloatArray
    """Multiplies widths and heights."""


def box_priors(decoding: DetectionDecoding, output: HeadOutput, index: int, input_size: tuple[int, int]) -> BoxPriors:
    """Return the priors of the candidates of one output.

    Args:
        decoding: Description of the head.
        output: The output.
        index: Its position in ``decoding.box_outputs``.
        input_size: Height and width of the model's input, pixels.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if the number of candidates does not match the anchors or strides.
    """
    one = np.ones(2, np.float32)
    if decoding.head == "direct":
        return BoxPriors(np.zeros(2, np.float32), one, one)
    name, count = decoding.box_outputs[index], output.values.shape[1]
    if decoding.head == "anchors":
        anchors = _anchors(decoding, index, input_size)
        if len(anchors) != count:
            raise shape_error(name, output.values, f"{len(anchors)} candidates, one per anchor")
        return BoxPriors(anchors[:, :2], anchors[:, 2:], anchors[:, 2:])
    corners, cells, cell_anchors = _grid_cells(decoding, output, index, input_size)
    if len(corners) != count:
        raise shape_error(name, output.values, f"{len(corners)} cells for strides {decoding.strides}")
    return BoxPriors(corners, cells, {"image": one, "cell": cells, "anchor": cell_anchors}[decoding.size_unit])


def _anchors(decoding: DetectionDecoding, index: int, input_size: tuple[int, int]) -> FloatArray:
    """Return the anchors of one output, float32 [M, 4]."""
    grid = decoding.anchor_grid
    if grid is None:
        return np.array(decoding.anchors, np.float32)
    anchors = grid_anchors(grid, input_size)
    if len(decoding.box_outputs) == 1:
        return anchors
    counts = anchor_counts(grid, input_size)
    return anchors[sum(counts[:index]) : sum(counts[: index + 1])]


def _grid_cells(
    decoding: DetectionDecoding, output: HeadOutput, index: int, input_size: tuple[int, int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the left top corner and sides of the cell, and the anchor, of each candidate: float32 [M, 2] each."""
    per_cell = decoding.anchors_per_cell
    if decoding.strides:
        shapes = [(input_size[0] // stride, input_size[1] // stride) for stride in decoding.strides]
        first = 0
    elif len(output.cells) == 2:
        shapes = [(output.cells[0], output.cells[1])]
        first = index * per_cell
    else:
        raise shape_error(decoding.box_outputs[index], output.values, "rows and columns of cells, or strides")
    corners, cells, anchors = [], [], []
    for number, (rows, columns) in enumerate(shapes):
        row, column = np.divmod(np.arange(rows * columns), max(columns, 1))
        cell = np.array([1 / max(columns, 1), 1 / max(rows, 1)], np.float32)
        corners.append(np.repeat(np.stack([column, row], axis=1) * cell, per_cell, axis=0).astype(np.float32))
        cells.append(np.broadcast_to(cell, (rows * columns * per_cell, 2)))
        if decoding.anchors:
            own = decoding.anchors[first + number * per_cell : first + (number + 1) * per_cell]
            anchors.append(np.tile(np.array(own, np.float32), (rows * columns, 1)))
    return np.concatenate(corners), np.concatenate(cells), np.concatenate(anchors or cells)


def decode_boxes(
    values: FloatArray,
    priors: BoxPriors,
    decoding: DetectionDecoding,
    input_size: tuple[int, int],
    centers: FloatArray | None = None,
) -> FloatArray:
    """Return boxes in pixels of the model's input.

    Args:
        values: float32 [N, M, values] of one output.
        priors: Its priors.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.
        centers: float32 [N, M, 2 or more] of the output with the centre values, if they are apart.

    Returns:
        float32 [N, M, 4]: left, top, right, bottom.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if a candidate has no four box values.
    """
    raw = _raw_values(values, decoding, centers)
    if decoding.coordinate_order == "yx":
        raw = raw[..., [1, 0, 3, 2]]
    center_variance, size_variance = (np.float32(variance) for variance in decoding.variances)

    def placed(offsets: FloatArray) -> FloatArray:
        activated = ACTIVATIONS[decoding.center_activation](offsets) * center_variance
        return priors.origin + (activated + np.float32(decoding.center_shift)) * priors.center_scale

    def sizes(sides: FloatArray) -> FloatArray:
        activated = power(ACTIVATIONS[decoding.size_activation](sides * size_variance), decoding.size_power)
        return np.float32(decoding.size_factor) * activated * priors.size_scale

    if decoding.box_format == "corners":
        corners = [placed(raw[..., :2]), placed(raw[..., 2:])]
    elif decoding.box_format == "distances":
        point = placed(np.zeros_like(raw[..., :2]))
        corners = [point - sizes(raw[..., :2]), point + sizes(raw[..., 2:])]
    else:
        center, half = placed(raw[..., :2]), sizes(raw[..., 2:]) / 2
        corners = [center - half, center + half]
    boxes: FloatArray = np.concatenate(corners, axis=-1)
    if decoding.head == "direct" and decoding.box_units == "pixels":
        return boxes
    height, width = input_size
    return boxes * np.array([width, height, width, height], np.float32)


def _raw_values(values: FloatArray, decoding: DetectionDecoding, centers: FloatArray | None) -> FloatArray:
    """Return the four box values of each candidate before their activations, float32 [N, M, 4]."""
    raw = values[..., decoding.box_offset : decoding.box_offset + decoding.box_values]
    if raw.shape[-1] != decoding.box_values:
        number = {2: "two", 4: "four"}.get(decoding.box_values, str(decoding.box_values))
        required = f"{number} box values from position {decoding.box_offset} on"
        raise shape_error(", ".join(decoding.box_outputs), values, required)
    if centers is not None:
        return np.concatenate([centers[..., :2], raw], axis=-1)
    if decoding.bins is None:
        return raw
    weights = ACTIVATIONS[Activation.SOFTMAX](raw.reshape(*raw.shape[:-1], 4, decoding.bins))
    means: FloatArray = weights @ np.arange(decoding.bins, dtype=np.float32)
    return means
