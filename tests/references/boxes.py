"""Box operations, one box at a time."""

from collections.abc import Sequence

Box = Sequence[float]


def intersection_over_union(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (area_a + area_b - width * height)


def suppress(
    boxes: Sequence[Box], scores: Sequence[float], classes: Sequence[int], iou: float, limit: int, class_agnostic: bool
) -> list[int]:
    """Keep each box, best first, that no kept one covers."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        covered = any(
            (class_agnostic or classes[k] == classes[i]) and intersection_over_union(boxes[k], boxes[i]) > iou
            for k in kept
        )
        if not covered and len(kept) < limit:
            kept.append(i)
    return kept


def average_precision(
    found: Sequence[Sequence[tuple[float, Box]]], truth: Sequence[Sequence[Box]], iou: float
) -> float:
    """COCO's 101-point average precision of one class: (score, box) and annotated boxes per image."""
    total = sum(len(boxes) for boxes in truth)
    ranked = sorted(
        ((score, image, box) for image, boxes in enumerate(found) for score, box in boxes),
        key=lambda entry: -entry[0],
    )
    taken: set[tuple[int, int]] = set()
    curve: list[tuple[float, float]] = []
    right = 0
    for rank, (_, image, box) in enumerate(ranked, start=1):
        free = [i for i in range(len(truth[image])) if (image, i) not in taken]
        best = max(free, key=lambda i: intersection_over_union(box, truth[image][i]), default=None)
        if best is not None and intersection_over_union(box, truth[image][best]) >= iou:
            taken.add((image, best))
            right += 1
        curve.append((right / total, right / rank))
    precisions = [
        max((precision for recall, precision in curve if recall >= level / 100), default=0.0) for level in range(101)
    ]
    return sum(precisions) / 101
