"""Opening a generator that was exported at one size, so that it translates images of any size."""

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError
from faceter.contracts.models import ModelMetadata
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel
from faceter.graphs.layouts import PLAIN
from faceter.graphs.open_sizes import open_sizes
from faceter.graphs.packing import unpack_weights
from faceter.graphs.size_probes import FixedSizeError
from faceter.translation.check import GeneratorSignature, check_loaded_generator

TOLERANCE = 1e-5
"""Largest difference at its own size, relative to the largest output or 1."""

_SEED = 0


@dataclass(frozen=True)
class OpenedGenerator:
    """A generator that takes any size now.

    Attributes:
        model: It is loaded; the caller closes it.
        content: Its ONNX file, weights unpacked.
        signature: Input, output and sizes.
    """

    model: LoadedModel
    content: bytes
    signature: GeneratorSignature


def open_generator(
    before: LoadedModel,
    content: bytes,
    signature: GeneratorSignature,
    metadata: ModelMetadata,
    engine: Engine,
    *,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> OpenedGenerator | str:
    """Open height and width of a generator of fixed size, and check it by running it.

    At its own size it must give what it gave before; at other sizes it must give an image of the size it was given.

    Args:
        before: The generator, loaded.
        content: Its ONNX file, already checked; weights may be packed.
        signature: Its signature, with a fixed size.
        metadata: The model's metadata.
        engine: Loads and runs it.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the runs.

    Returns:
        The opened generator, or the reason why it keeps its size: a clause without full stop.

    Raises:
        FaceterError: `INFERENCE_FAILED` if it was interrupted.
    """
    graph = unpack_weights(onnx.load_model_from_string(content))
    try:
        opened = open_sizes(graph, {signature.input: {2: "height", 3: "width"}})
    except FixedSizeError as error:
        return str(error)
    file = bytes(opened.SerializeToString())
    try:
        after = engine.load(file, threads=threads, layout=layout)
    except FaceterError as error:
        return f"with open sizes it cannot be loaded ({error.detail.rstrip('.')})"
    try:
        difference = _difference(before, after, signature, interrupt)
        if difference <= TOLERANCE:
            return OpenedGenerator(after, file, check_loaded_generator(after, metadata, interrupt=interrupt))
        reason = f"with open sizes its output differs by {difference:.2g} at its own size"
    except FaceterError as error:
        reason = f"with open sizes it fails ({error.detail.rstrip('.')})"
        if interrupt is not None and interrupt.triggered:
            after.close()
            raise
    after.close()
    return reason


def _difference(
    before: LoadedModel, after: LoadedModel, signature: GeneratorSignature, interrupt: Interrupt | None
) -> float:
    """Return the largest difference on noise of the generator's own size, relative to the largest output or 1."""
    assert signature.size is not None
    noise: Array = np.random.default_rng(_SEED).uniform(-1, 1, (1, 3, *signature.size)).astype(np.float32)
    expected, actual = (
        model.run({signature.input: noise}, [signature.output], interrupt=interrupt)[signature.output]
        for model in (before, after)
    )
    return float(np.max(np.abs(expected - actual)) / max(1.0, float(np.max(np.abs(expected)))))
