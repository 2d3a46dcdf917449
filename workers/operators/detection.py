"""Non-maximum suppression."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator


def non_max_suppression(
    node: Node,
    boxes: Tensor,
    scores: Tensor,
    max_output: Tensor | None = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
) -> Tensor:
    """Indices [count, 3] of (image, class, box) that are kept by non-maximum suppression per class.

    Args:
        node: Boxes are (cx, cy, w, h) if its ``center_point_box`` is 1, else two corners (y, x, y, x).
        boxes: [images, boxes, 4].
        scores: [images, classes, boxes].
        max_output: Maximum number of boxes per image and class; 0 if not given.
        iou_threshold: Overlap above which a box is dropped.
        score_threshold: Boxes with a lower or equal score are dropped.
    """
    most = 0 if max_output is None else int(max_output.reshape(()).item())
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(()).item())
    least = None if score_threshold is None else float(score_threshold.reshape(()).item())
    kept = []
    for image in range(len(boxes)):
        low, high = _corners(boxes[image], centers=bool(node.integer("center_point_box")))
        for label in range(scores.shape[1]):
            order = torch.argsort(scores[image, label], descending=True, stable=True)
            if least is not None:
                order = order[scores[image, label][order] > least]
            kept += [(image, label, place) for place in _suppressed(low, high, order, overlap, most)]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _corners(boxes: Tensor, *, centers: bool) -> tuple[Tensor, Tensor]:
    if centers:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return middle - half, middle + half
    return torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])


def _suppressed(low: Tensor, high: Tensor, order: Tensor, overlap: float, most: int) -> list[int]:
    kept: list[int] = []
    areas = (high - low).prod(1)
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        shared = (torch.minimum(high[order], high[best]) - torch.maximum(low[order], low[best])).clamp(min=0).prod(1)
        order = order[shared <= overlap * (areas[order] + areas[best] - shared)]
    return kept


OPERATORS = {
    "NonMaxSuppression": TorchOperator(non_max_suppression, cpu_inputs=(2, 3, 4)),
}
