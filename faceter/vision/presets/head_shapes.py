"""What a preset knows of a model: its outputs, the number of its classes, the size of its input."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from faceter.contracts.models import TensorSpec

PYRAMIDS: Final = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the feature maps of YOLO networks: usual ones, those for large inputs (P6) and small objects (P2)."""

BOX_VALUES: Final = 4
BOX_WORDS: Final = ("box", "reg", "loc")
"""Parts of names of outputs that hold boxes."""


@dataclass(frozen=True)
class Fit:
    """Fields of a description that fit the outputs of a model."""

    fields: dict[str, Any]
    """Fields of ``DetectionDecoding``."""
    certain: bool = False
    """Whether shapes and names leave no doubt that the head is of this kind."""


@dataclass(frozen=True)
class HeadShapes:
    """Outputs of a detector, as far as they are known before it runs."""

    inputs: Sequence[TensorSpec]
    """The model's inputs."""
    outputs: Sequence[TensorSpec]
    """The model's outputs."""
    classes: int | None = None
    """Number of labels; None if there are none."""
    input_size: tuple[int, int] | None = None
    """Height and width of the input in pixels, if they are known."""
    probability_outputs: Collection[str] = ()
    """Names of outputs whose values come from a sigmoid or a softmax."""
    keypoint_shape: tuple[int, int] | None = None
    """Number of key points and values of each, if the file says so."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the request gives."""

    def of_rank(self, rank: int) -> list[TensorSpec]:
        """Return outputs with this number of axes; if the request names the boxes, only those named."""
        boxes = self.said.get("boxes")
        names = [boxes] if isinstance(boxes, str) else boxes
        return [spec for spec in self.outputs if len(spec.shape) == rank and (names is None or spec.name in names)]

    def all_of_rank(self, rank: int) -> list[TensorSpec]:
        """Return all outputs with this number of axes."""
        return [spec for spec in self.outputs if len(spec.shape) == rank]

    def boxes_apart(self) -> TensorSpec | None:
        """Return the output [N, boxes, 4] of a head whose scores are apart; of several the one that is named so."""
        of_four = [spec for spec in self.all_of_rank(3) if size_of(spec, 2) == BOX_VALUES]
        said = self.said.get("boxes")
        if said is not None:
            of_four = [spec for spec in of_four if spec.name == said]
        if len(of_four) > 1:
            of_four = names_about(of_four, BOX_WORDS)
        return of_four[0] if len(of_four) == 1 else None

    def named(self, *endings: str) -> TensorSpec | None:
        """Return the first output whose name ends so, case and what follows a colon ignored."""
        for ending in endings:
            for spec in self.outputs:
                if spec.name.lower().split(":")[0].endswith(ending):
                    return spec
        return None

    def cells(self, strides: Sequence[int]) -> int | None:
        """Return the number of cells of feature maps with these strides."""
        if self.input_size is None:
            return None
        height, width = self.input_size
        return sum(math.ceil(height / stride) * math.ceil(width / stride) for stride in strides)

    def activation(self, spec: TensorSpec, usual: str) -> str:
        """Return the activation to apply: none if the graph has applied one, else the usual one."""
        return "none" if spec.name in self.probability_outputs else usual


def names_about(specs: Sequence[TensorSpec], words: Sequence[str]) -> list[TensorSpec]:
    """Return the outputs whose name has one of the words."""
    return [spec for spec in specs if any(word in spec.name.lower() for word in words)]


def size_of(spec: TensorSpec, axis: int) -> int | None:
    """Return the size of an axis; None if it is open."""
    size = spec.shape[axis]
    return size if isinstance(size, int) and size > 0 else None


def may_be(size: int | None, expected: int | None) -> bool:
    """Whether a size is the expected one, or either is unknown."""
    return size is None or expected is None or size == expected


def by_stride(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return outputs [N, values, rows, columns] from the finest to the coarsest; in their order if sizes are open."""
    if any(size_of(spec, 2) is None or size_of(spec, 3) is None for spec in specs):
        return list(specs)
    return sorted(specs, key=lambda spec: -(size_of(spec, 2) or 0) * (size_of(spec, 3) or 0))


def names_of(specs: Sequence[TensorSpec]) -> str | list[str]:
    """Return the name of the only output, or a list of names."""
    return specs[0].name if len(specs) == 1 else [spec.name for spec in specs]
