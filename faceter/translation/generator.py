"""A generator, checked and ready to translate images."""

import threading
from dataclasses import dataclass, field
from math import ceil

import onnx

from faceter.contracts.models import ModelMetadata, Preprocessing
from faceter.engines.base import Engine, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.layouts import PLAIN
from faceter.graphs.packing import unpack_weights
from faceter.translation.check import Takes, check_loaded
from faceter.translation.locality import NotLocal
from faceter.translation.pixels import USUAL
from faceter.translation.stages import Plan, plan_stages
from faceter.translation.working_memory import bytes_per_pixel

_TYPICAL_SIDE = 256


@dataclass(eq=False)
class Generator:
    """A generator that was checked and loaded; several threads may translate by it at once.

    Attributes:
        model: The loaded model.
        content: Its ONNX file.
        takes: What images it takes.
        preprocessing: How pixels become its values, and its values pixels; size and resize rule do not matter here.
        engine: What loaded it, and loads its stages.
        threads: Threads of a run.
        layout: Layout it was loaded in.
        bytes_per_pixel: Bytes that a run on a whole image takes for each of its pixels, as estimated.
    """

    model: LoadedModel
    content: bytes
    takes: Takes
    preprocessing: Preprocessing
    engine: Engine
    threads: int
    layout: str
    bytes_per_pixel: float
    _plan: Plan | str | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def bytes(self) -> int:
        """Memory it takes, as estimated: the loaded model, its file, and its stages once an image needed them."""
        plan = self._plan
        stages = sum(len(stage.content) for stage in plan.stages) if isinstance(plan, Plan) else 0
        return self.model.bytes + len(self.content) + stages

    def plan(self) -> Plan | None:
        """Return its graph in stages that can run part by part over an image; None if it cannot be cut so."""
        plan = self._planned()
        return plan if isinstance(plan, Plan) else None

    def why_not_tileable(self) -> str | None:
        """Return why images cannot be translated in tiles, a clause without full stop; None if they can."""
        plan = self._planned()
        return plan if isinstance(plan, str) else None

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest height and width that it takes and an image fits in.

        Args:
            height: An image's height; not for a generator of one size.
            width: Its width.
        """
        multiple, least = self.takes.multiple, self.takes.least
        return max(ceil(height / multiple) * multiple, least), max(ceil(width / multiple) * multiple, least)

    def close(self) -> None:
        """Give the memory back; it must not be used again."""
        self.model.close()

    def _planned(self) -> Plan | str:
        with self._lock:
            if self._plan is None:
                self._plan = _planned(self.content, self.takes)
            return self._plan


def load_generator(
    content: bytes,
    metadata: ModelMetadata,
    *,
    engine: Engine | None = None,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> Generator:
    """Load a generator and check that it is one.

    Args:
        content: Its ONNX file, already checked; weights may be packed.
        metadata: What was said about it. Without preprocessing pixels are taken from -1 to 1.
        engine: What runs it; ONNX Runtime if not given.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the trial of what sizes it takes.

    Raises:
        FaceterError: As `faceter.translation.check.check_generator`.
    """
    engine = engine or OnnxRuntimeEngine()
    model = engine.load(content, threads=threads, layout=layout)
    try:
        takes = check_loaded(model, metadata, interrupt=interrupt)
        side = ceil(_TYPICAL_SIDE / takes.multiple) * takes.multiple
        plain = unpack_weights(onnx.load_model_from_string(content))
        needed = bytes_per_pixel(plain, *(takes.size or (side, side)))
    except BaseException:
        model.close()
        raise
    return Generator(model, content, takes, metadata.preprocessing or USUAL, engine, threads, layout, needed)


def _planned(content: bytes, takes: Takes) -> Plan | str:
    if takes.size is not None:
        return f"it takes images of {takes.size[1]} x {takes.size[0]} pixels only"
    try:
        plan = plan_stages(content)
    except NotLocal as reason:
        return str(reason)
    if any(takes.multiple % unit for unit in plan.unit):
        return f"it works in steps of {plan.unit} pixels, but gives images back by multiples of {takes.multiple}"
    return plan
