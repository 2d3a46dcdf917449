"""A generator, checked and loaded, ready to translate images."""

import threading
from dataclasses import dataclass, field
from math import ceil

import onnx

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.engines.base import Engine, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.layouts import PLAIN
from faceter.graphs.packing import unpack_weights
from faceter.translation.check import GeneratorSignature, check_loaded_generator
from faceter.translation.local_operators import NotTileableError
from faceter.translation.open_generator import OpenedGenerator, open_generator
from faceter.translation.peak_memory import bytes_per_pixel
from faceter.translation.pixels import DEFAULT_PREPROCESSING
from faceter.translation.stages import TilingPlan, plan_stages

_TYPICAL_SIDE = 256


@dataclass(eq=False)
class LoadedGenerator:
    """A generator that was checked and loaded; several threads may use it at once.

    Attributes:
        content: Its ONNX file.
        preprocessing: Conversion between pixels and its values; size and resize rule are ignored.
        engine: Loaded it, and loads its stages.
        layout: Layout it was loaded in.
        bytes_per_pixel: Estimated peak memory of a run on a whole image, per pixel.
        opened: Whether it was exported at one size, and opened to any.
        fixed_because: Why it keeps the one size it was exported at, a clause without full stop; None if it takes any.
    """

    model: LoadedModel
    content: bytes
    signature: GeneratorSignature
    preprocessing: Preprocessing
    engine: Engine
    threads: int
    layout: str
    bytes_per_pixel: float
    opened: bool = False
    fixed_because: str | None = None
    _plan: TilingPlan | str | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def bytes(self) -> int:
        """Estimated memory: the loaded model, its file, and its stages once they were planned."""
        plan = self._plan
        stages = sum(len(stage.content) for stage in plan.stages) if isinstance(plan, TilingPlan) else 0
        return self.model.bytes + len(self.content) + stages

    def plan(self) -> TilingPlan | None:
        """Return the stages to run tile by tile; None if it is not tileable."""
        plan = self._plan_or_reason()
        return plan if isinstance(plan, TilingPlan) else None

    def why_not_tileable(self) -> str | None:
        """Return the reason, a clause without full stop; None if it is tileable."""
        plan = self._plan_or_reason()
        return plan if isinstance(plan, str) else None

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest accepted height and width that an image fits in; for dynamic sizes only."""
        multiple, min_side = self.signature.multiple, self.signature.min_side
        return max(ceil(height / multiple) * multiple, min_side), max(ceil(width / multiple) * multiple, min_side)

    def close(self) -> None:
        """Free the memory; it must not be used again."""
        self.model.close()

    def _plan_or_reason(self) -> TilingPlan | str:
        with self._lock:
            if self._plan is None:
                self._plan = _plan_or_reason(self.content, self.signature, self.fixed_because)
            return self._plan


def load_generator(
    content: bytes,
    metadata: ModelMetadata,
    *,
    engine: Engine | None = None,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
    open_fixed: bool = True,
) -> LoadedGenerator:
    """Load a model and check that it is a generator.

    One that was exported at a fixed size is opened to any size where its graph allows it and ``open_fixed`` is set.

    Args:
        content: Its ONNX file, already checked; weights may be packed.
        metadata: The model's metadata. Without preprocessing, `DEFAULT_PREPROCESSING` is used.
        engine: ONNX Runtime by default.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the trial runs of the check.
        open_fixed: Whether to open a fixed size.

    Raises:
        FaceterError: As `faceter.translation.check.check_generator`.
    """
    engine = engine or OnnxRuntimeEngine()
    model = engine.load(content, threads=threads, layout=layout)
    opened: OpenedGenerator | str | None = None
    try:
        signature = check_loaded_generator(model, metadata, interrupt=interrupt)
        if signature.size is not None and open_fixed:
            opened = open_generator(
                model, content, signature, metadata, engine, threads=threads, layout=layout, interrupt=interrupt
            )
            if isinstance(opened, OpenedGenerator):
                model.close()
                model, content, signature = opened.model, opened.content, opened.signature
        side = ceil(_TYPICAL_SIDE / signature.multiple) * signature.multiple
        plain = unpack_weights(onnx.load_model_from_string(content))
        memory = bytes_per_pixel(plain, *(signature.size or (side, side)))
    except BaseException:
        model.close()
        raise
    preprocessing = metadata.preprocessing or DEFAULT_PREPROCESSING
    return LoadedGenerator(
        model,
        content,
        signature,
        preprocessing,
        engine,
        threads,
        layout,
        memory,
        opened=isinstance(opened, OpenedGenerator),
        fixed_because=opened if isinstance(opened, str) else None,
    )


def _plan_or_reason(content: bytes, signature: GeneratorSignature, fixed_because: str | None) -> TilingPlan | str:
    if signature.size is not None:
        reason = "" if fixed_because is None else f", since {fixed_because}"
        return f"it takes images of {signature.size[1]} x {signature.size[0]} pixels only{reason}"
    try:
        plan = plan_stages(content)
    except NotTileableError as reason:
        return str(reason)
    if any(signature.multiple % stride for stride in plan.stride):
        return f"its stride is {plan.stride} pixels, which does not divide {signature.multiple}, its size multiple"
    return plan
