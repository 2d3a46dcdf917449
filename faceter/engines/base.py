"""The interface of inference engines: load, run, close. Used by the API for serving and by workers for measuring."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from faceter.contracts.models import TensorSpec
from faceter.graphs.layouts import PLAIN

Array = np.ndarray[Any, np.dtype[Any]]
"""A tensor of any element type."""


class Interrupt:
    """Stops runs from another thread, for a time limit or a disconnected client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._triggered = False

    @property
    def triggered(self) -> bool:
        """Whether `trigger` was called."""
        return self._triggered

    def trigger(self) -> None:
        """Stop the current runs and every later one that receives this interrupt."""
        with self._lock:
            self._triggered = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop``, at most once, if the interrupt is triggered during the block or was before."""
        with self._lock:
            self._stops.append(stop)
            triggered = self._triggered
        if triggered:
            stop()
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)


@contextmanager
def time_limit(seconds: float) -> Iterator[Interrupt]:
    """Yield an interrupt that is triggered if the block takes longer than ``seconds``."""
    interrupt = Interrupt()
    timer = threading.Timer(seconds, interrupt.trigger)
    timer.start()
    try:
        yield interrupt
    finally:
        timer.cancel()


@runtime_checkable
class LoadedModel(Protocol):
    """A graph ready to run; `run` may be called from several threads at once."""

    @property
    def inputs(self) -> list[TensorSpec]:
        """The inputs, in the graph's order."""

    @property
    def outputs(self) -> list[TensorSpec]:
        """The outputs, in the graph's order."""

    @property
    def bytes(self) -> int:
        """Estimated memory."""

    @property
    def probability_outputs(self) -> frozenset[str]:
        """Names of the outputs that the graph makes by a softmax or a sigmoid, and that are probabilities."""

    @property
    def substitutes_float32(self) -> bool:
        """Whether the engine computes in float32 in place of the model's own type, for which it has no kernels."""

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        """Run the graph once.

        Args:
            inputs: One array per input of the graph, of its dtype and shape.
            outputs: Names of the outputs to compute; all by default.
            interrupt: Stops the run.

        Raises:
            FaceterError: `INFERENCE_FAILED` if the engine cannot run these inputs, or was interrupted.
        """

    def close(self) -> None:
        """Free the memory; the model must not be run again."""


class WrappedModel:
    """Base of loaded models that run another one: all but `run` is the other's.

    Args:
        loaded: The other model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.inputs = loaded.inputs
        self.outputs = loaded.outputs
        self.bytes = loaded.bytes
        self.probability_outputs = loaded.probability_outputs
        self.substitutes_float32 = loaded.substitutes_float32

    def close(self) -> None:
        """Free the memory of the other model."""
        self.loaded.close()


class Engine(Protocol):
    """Loads graphs. Engines with the same behaviour are equal, so results about one can be cached for the other."""

    def __hash__(self) -> int:
        """Return the same for equal engines."""

    def load(self, content: bytes, *, threads: int, layout: str = PLAIN) -> LoadedModel:
        """Return the graph of an ONNX file, ready to run.

        Args:
            content: The file, already checked; weights may be packed.
            threads: Threads of a run.
            layout: One of `faceter.graphs.layouts.layouts`, applied to a quantized graph; float graphs do not change.

        Raises:
            FaceterError: `MODEL_NOT_RUNNABLE` if the engine cannot load it.
        """
