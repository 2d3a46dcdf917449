"""Graphs compiled by OpenVINO, for all shapes or for one, and their runs; see `faceter.engines.openvino`."""

import importlib
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Array, Interrupt

FAILURES: Final = (RuntimeError, ValueError, TypeError, MemoryError, IndexError)
"""What OpenVINO's Python interface raises."""

OWN_SHAPES: Final = 4
"""Most shapes that have a graph of their own."""

Shapes = tuple[tuple[int, ...], ...]
"""One shape for each input that the graph reads."""

_WAIT_SECONDS = 0.05
_RUNS_BEFORE_OWN_SHAPE: Final = 16
_RUNS_UNTIL_STALE: Final = 1024


@cache
def package() -> Any:
    """Return the package, imported without its telemetry, which writes to the home folder and calls a server."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise FaceterError(
            ProblemKind.MODEL_NOT_RUNNABLE, "OpenVINO is not installed on this host; install faceter[openvino]."
        ) from error


@cache
def core() -> Any:
    """Return the entry to OpenVINO, one for each process."""
    return package().Core()


@dataclass
class _Copy:
    """A compiled model with the request that runs it."""

    compiled: Any
    request: Any


class CompiledGraph:
    """A model compiled for all shapes or for one, once for each run at the same time.

    Copies are compiled when they are first needed. Each has one stream: where two streams share weights, OpenVINO
    2026.4 computes layers of asymmetric weights in bfloat16 with a wrong scale.

    Args:
        model: It is kept.
        shapes: None for all shapes.
        options: OpenVINO's properties.
        runs: Most runs at the same time; further ones wait.

    Attributes:
        inputs: Names of the inputs that the graph reads, in order.
        outputs: OpenVINO's output ports.
    """

    def __init__(self, model: Any, shapes: Shapes | None, options: Mapping[str, Any], runs: int) -> None:
        if shapes is not None:
            model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
        self._model, self._options = model, dict(options)
        self._free = threading.Semaphore(runs)
        first = self._copy()
        self._idle = [first]
        self.inputs = [port.get_any_name() for port in first.compiled.inputs]
        self.outputs = first.compiled.outputs
        self._shapes = [port.partial_shape for port in first.compiled.inputs]

    def check_shapes(self, values: Sequence[Array]) -> None:
        """Refuse values whose shapes the model does not take."""
        openvino = package()
        for name, shape, value in zip(self.inputs, self._shapes, values, strict=True):
            if not shape.compatible(openvino.PartialShape(list(value.shape))):
                raise failed(f"its input {name!r} takes the shape {shape}, not {list(value.shape)}.")

    @contextmanager
    def request(self, interrupt: Interrupt | None) -> Iterator[Any]:
        """Wait for a request; one whose run failed is replaced."""
        while not self._free.acquire(timeout=_WAIT_SECONDS):
            if interrupt is not None and interrupt.triggered:
                raise stopped()
        try:
            try:
                copy = self._idle.pop()
            except IndexError:
                copy = self._copy()
            try:
                yield copy.request
            except BaseException:
                copy.request = copy.compiled.create_infer_request()
                raise
            finally:
                self._idle.append(copy)
        finally:
            self._free.release()

    def run(self, request: Any, values: Sequence[Array], interrupt: Interrupt | None) -> None:
        """Run a request; the values are read in place."""
        openvino = package()
        for index, value in enumerate(values):
            request.set_input_tensor(index, openvino.Tensor(value, shared_memory=value.size > 0))
        request.start_async()
        # Only what was started can be cancelled; `stopping` also does it if the interrupt was triggered before.
        with interrupt.stopping(request.cancel) if interrupt else nullcontext():
            request.wait()

    def _copy(self) -> _Copy:
        compiled = core().compile_model(self._model, "CPU", self._options)
        return _Copy(compiled, compiled.create_infer_request())


class OwnShapes:
    """Models compiled for one shape each, in the background, once a shape has been run often.

    A model for all shapes prepares its kernels anew at each change of the shape. The first shapes that are run often
    keep their models until they have not been run for long.
    """

    def __init__(self, file: bytes, options: Mapping[str, Any], runs: int) -> None:
        self._file, self._options, self._concurrent = file, options, runs
        self._lock = threading.Lock()
        self._counts: dict[Shapes, int] = {}
        self._compiled: dict[Shapes, CompiledGraph] = {}
        self._last_run: dict[Shapes, int] = {}
        self._run = 0
        self._compiling: threading.Thread | None = None
        self._closed = False

    def find(self, shapes: Shapes) -> CompiledGraph | None:
        """Return the model for the shapes of a run, or None as long as there is none."""
        with self._lock:
            self._run += 1
            if shapes in self._compiled:
                self._last_run[shapes] = self._run
                return self._compiled[shapes]
            if len(self._counts) > _RUNS_UNTIL_STALE:
                self._counts.clear()
            self._counts[shapes] = self._counts.get(shapes, 0) + 1
            if self._counts[shapes] >= _RUNS_BEFORE_OWN_SHAPE and self._compiling is None and self._has_room():
                self._compiling = threading.Thread(target=self._compile, args=(shapes,), name="openvino-compile")
                self._compiling.start()
        return None

    def wait(self) -> None:
        """Wait for the compilation in progress."""
        compiling = self._compiling
        if compiling is not None:
            compiling.join()

    def close(self) -> None:
        """Drop all models; nothing is compiled any more."""
        with self._lock:
            self._closed = True
            self._compiled.clear()

    def _has_room(self) -> bool:
        """Whether one more model may be compiled; drops one that is stale."""
        stale = [shapes for shapes, last in self._last_run.items() if self._run - last > _RUNS_UNTIL_STALE]
        if len(self._compiled) >= OWN_SHAPES and stale:
            del self._compiled[stale[0]], self._last_run[stale[0]]
        return len(self._compiled) < OWN_SHAPES and not self._closed

    def _compile(self, shapes: Shapes) -> None:
        compiled = None
        with suppress(*FAILURES):
            compiled = CompiledGraph(core().read_model(self._file), shapes, self._options, self._concurrent)
        with self._lock:
            self._compiling = None
            self._counts[shapes] = 0 if compiled else -(2**31)
            if compiled is not None and not self._closed:
                self._compiled[shapes], self._last_run[shapes] = compiled, self._run


def failed(reason: str) -> FaceterError:
    """Return the error of a run that OpenVINO did not do."""
    return FaceterError(ProblemKind.INFERENCE_FAILED, f"OpenVINO could not run the model on this input: {reason}")


def stopped() -> FaceterError:
    """Return the error of a run that was interrupted."""
    return FaceterError(ProblemKind.INFERENCE_FAILED, "The model was stopped: it took longer than this server allows.")


def message_of(error: BaseException) -> str:
    """Return OpenVINO's message without the source files that it passed through."""
    text = str(error).strip() or type(error).__name__
    lines = [
        line.strip()
        for line in text.splitlines()
        if not re.match(r"\s*(Exception from \S+:\d+:|Check '.*' failed at \S+:\d+:)\s*$", line)
    ]
    text = " ".join(" ".join(lines).split())
    text = re.sub(r"(?<!\S)[\w./-]+\.(?:cc|cpp|h|hpp):\d+:? ?", "", text)
    text = re.sub(
        r"(?:Caught exception: |Exception from )+\[CPU\] (\w+) node with name '(.*?)' ", r"\1 node '\2': ", text
    )
    text = re.sub(r"Check '[^']*' failed at ", "", text)
    text = re.sub(r"To facilitate the conversion of unsupported operations, .*", "", text).strip()
    text = text or "it gives no reason."
    return text if len(text) <= 500 else text[:500] + "…"
