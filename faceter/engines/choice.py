"""Choosing what serves a model: engines measured beside the reference, and runs of several samples."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
import onnxruntime

from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError
from faceter.contracts.serving import (
    BatchMeasurement,
    EngineMeasurement,
    EngineName,
    ServingPrecision,
    ServingReport,
    ServingSettings,
)
from faceter.engines import openvino
from faceter.engines.agreement import EXACT_DIFFERENCE, agreement, difference, is_within
from faceter.engines.base import Array, Engine, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine, has_cuda
from faceter.engines.openvino import OpenVinoEngine, OpenVinoModel
from faceter.engines.timing import interleaved
from faceter.host import processor_count, processor_name

Inputs = dict[str, Array]
REFERENCE: Final[EngineName] = "onnxruntime"
_AGREEMENT_SAMPLES: Final = 16
_TIMING_SECONDS: Final = 0.3
_GAIN: Final = 0.95
"""Another engine must take less than this share of the reference's time."""
_BATCH_GAIN: Final = 0.8
"""A sample of a batch must take less than this share of a sample alone, since others wait for it."""
_BATCHES: Final = (2, 4, 8)


@dataclass(frozen=True)
class Candidate:
    """An engine that may serve a model."""

    engine: EngineName
    precision: ServingPrecision


def candidates(settings: ServingSettings) -> list[Candidate]:
    """Return the engines to measure, the reference first."""
    others: list[tuple[EngineName, bool]] = [("onnxruntime_cuda", has_cuda()), ("openvino", openvino.is_available())]
    precisions = list(dict.fromkeys((ServingPrecision.EXACT, settings.precision)))
    return [
        Candidate(REFERENCE, ServingPrecision.EXACT),
        *(Candidate(name, precision) for name, is_there in others if is_there for precision in precisions),
    ]


def engine_of(candidate: Candidate) -> Engine:
    """Return the engine of a candidate."""
    if candidate.engine == "openvino":
        return OpenVinoEngine(candidate.precision)
    return OnnxRuntimeEngine(cuda=None if candidate.engine == REFERENCE else candidate.precision)


def host_name() -> str:
    """Return a description of this host: processor, cores and versions of the engines."""
    versions = [f"onnxruntime {onnxruntime.__version__}{' with CUDA' if has_cuda() else ''}"]
    if openvino.is_available():
        versions.append(f"openvino {version('openvino')}")
    return f"{processor_name()}, {processor_count()} cores, {', '.join(versions)}"


def choose(
    load: Callable[[Candidate], LoadedModel],
    inputs: Callable[[int], Inputs | None],
    settings: ServingSettings,
    *,
    threads: int,
    samples: int,
) -> ServingReport:
    """Measure the engines that may serve a model, and runs of several samples, and return what serves it.

    An engine that fails, or whose outputs differ from the reference's by more than the settings allow, does not serve.
    Exact settings leave models with whole numbers as inputs to the reference: other engines do not refuse indices that
    are out of range.

    Args:
        load: Loads the model in an engine.
        inputs: Returns inputs for a number of samples; None if they are not known.
        settings: Of the model.
        threads: Threads of a run.
        samples: Most samples that could run as one batch.

    Raises:
        FaceterError: If the reference cannot load or run the model.
    """
    single, many = inputs(1), inputs(_AGREEMENT_SAMPLES)
    with ExitStack() as stack:
        loaded: dict[Candidate, LoadedModel] = {}
        measured: dict[Candidate, EngineMeasurement] = {}
        for candidate in candidates(settings):
            if candidate.engine != REFERENCE and not _may_differ(single, settings.precision):
                why = "It is measured only on models whose inputs are known, and are no whole numbers if `exact`."
                measured[candidate] = _measurement(candidate, excluded=why)
                continue
            try:
                loaded[candidate] = load(candidate)
                stack.callback(loaded[candidate].close)
                measured[candidate] = _compared(candidate, loaded, many or single, settings)
            except FaceterError as error:
                if candidate.engine == REFERENCE:
                    raise
                measured[candidate] = _measurement(candidate, excluded=error.detail)
        usable = {candidate: model for candidate, model in loaded.items() if measured[candidate].excluded is None}
        if single is not None:
            times, _ = interleaved(list(usable.values()), single, seconds=_TIMING_SECONDS * len(usable))
            for candidate, milliseconds in zip(usable, times, strict=True):
                measured[candidate] = measured[candidate].model_copy(update={"milliseconds": milliseconds})
        chosen, reason = _fastest(measured)
        batches = [] if single is None else _batches(usable[chosen], inputs, measured[chosen], samples)
    size, why = _batch_size(batches, settings)
    return ServingReport(
        engine=chosen.engine,
        precision=chosen.precision,
        max_batch_size=size,
        threads=threads,
        reason=f"{reason} {why}",
        engines=list(measured.values()),
        batches=batches,
        host=host_name(),
        measured_at=utc_now(),
    )


def _may_differ(inputs: Inputs | None, precision: ServingPrecision) -> bool:
    """Whether another engine may be measured on a model."""
    if inputs is None:
        return False
    return precision is ServingPrecision.FAST or all(values.dtype.kind not in "iu" for values in inputs.values())


def _compared(
    candidate: Candidate, loaded: Mapping[Candidate, LoadedModel], inputs: Inputs | None, settings: ServingSettings
) -> EngineMeasurement:
    """Compare an engine with the reference, which comes first."""
    reference, model = next(iter(loaded.values())), loaded[candidate]
    if model is reference or inputs is None:
        return _measurement(candidate)
    outputs = model.run(inputs)
    if isinstance(model, OpenVinoModel):
        model.wait()
        outputs = model.run(inputs)
    found = agreement(reference.run(inputs), outputs)
    finite = found.difference if np.isfinite(found.difference) else None
    excluded = None
    if not is_within(found, settings.precision):
        classes = "" if found.same_class is None else f", and {found.same_class:.0%} of the classes are the same"
        excluded = (
            f"Its outputs differ by {found.difference:.1e}{classes}: more than `{settings.precision.value}` allows."
            if finite is not None
            else "Its outputs are not those of the reference."
        )
    return _measurement(candidate, difference=finite, same_class=found.same_class, excluded=excluded)


def _measurement(candidate: Candidate, **fields: float | str | None) -> EngineMeasurement:
    return EngineMeasurement.model_validate(
        {"engine": candidate.engine, "precision": candidate.precision, "milliseconds": None, **fields}
    )


def _fastest(measured: Mapping[Candidate, EngineMeasurement]) -> tuple[Candidate, str]:
    reference = next(iter(measured))
    times = {item: found.milliseconds for item, found in measured.items() if found.milliseconds is not None}
    if len(times) < 2:
        return reference, "It is the reference, and no other engine may serve the model."
    fastest = min(times, key=lambda item: times[item])
    if times[fastest] < _GAIN * times[reference]:
        return fastest, f"It takes {times[fastest] / times[reference]:.2f} of the reference's time."
    return reference, "It is the reference, and no other engine is faster."


def _batches(
    model: LoadedModel, inputs: Callable[[int], Inputs | None], alone: EngineMeasurement, samples: int
) -> list[BatchMeasurement]:
    """Time runs of several samples; empty if the model cannot run them, or gives other answers then."""
    assert alone.milliseconds is not None
    measured = [BatchMeasurement(samples=1, milliseconds=alone.milliseconds)]
    for size in (size for size in _BATCHES if size <= samples):
        batch = inputs(size)
        if batch is None or not _is_batched(model, batch, size):
            return []
        (milliseconds,), _ = interleaved([model], batch, seconds=_TIMING_SECONDS)
        measured.append(BatchMeasurement(samples=size, milliseconds=milliseconds))
    return measured if len(measured) > 1 else []


def _is_batched(model: LoadedModel, batch: Inputs, size: int) -> bool:
    """Whether a run of several samples gives what runs of each give."""
    if any(values.ndim == 0 or len(values) != size for values in batch.values()):
        return False
    try:
        together = model.run(batch)
        apart = [model.run({name: values[row : row + 1] for name, values in batch.items()}) for row in range(size)]
    except FaceterError:
        return False
    if any(not isinstance(values, np.ndarray) or values.ndim == 0 for values in together.values()):
        return False
    joined = {name: np.concatenate([outputs[name] for outputs in apart]) for name in together}
    return difference(joined, together) <= EXACT_DIFFERENCE


def _batch_size(batches: Sequence[BatchMeasurement], settings: ServingSettings) -> tuple[int, str]:
    if settings.max_batch_size is not None:
        return settings.max_batch_size, "The metadata give the batch size."
    if not batches:
        return 1, "Requests run one by one."
    alone = batches[0].milliseconds
    best = min(batches, key=lambda item: item.milliseconds / item.samples)
    share = best.milliseconds / best.samples / alone
    if best.samples == 1 or share > _BATCH_GAIN:
        return 1, "Batches would not be faster."
    return best.samples, f"A sample in a batch of {best.samples} takes {share:.2f} of its time alone."
