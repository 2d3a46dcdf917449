"""An explanation job: from a stored model and a stored dataset to a stored explanation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import ExplanationJob, JobResult
from faceter.contracts.models import Model
from faceter.datasets.kinds import open_dataset
from faceter.explanations.masks import MASKS, LayerMasks, Masks, masks_file, unpacked
from faceter.explanations.units import units_file
from faceter.vision.metadata import class_output
from workers.explanation.context import Context
from workers.explanation.counting import QUANTILE, TEXT_THRESHOLD
from workers.explanation.first_pass import FirstPass, FirstPassJob, formula_masks
from workers.explanation.kinds import samples_of
from workers.explanation.layers import LayerResult, search_layer
from workers.explanation.patterns import Patterns, formula_mask
from workers.explanation.samples import Integers, Samples
from workers.explanation.search import FormulaSearch
from workers.explanation.stream import Network
from workers.explanation.summary import layer_summary, layers_image, listed_concepts, warnings
from workers.explanation.units import Classes, UnitWriter
from workers.files import stored
from workers.jobs.journal import StoredJournal
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import ScratchFiles, job_folder

LAYERS = "layers.png"
"""Name of the image of all layers."""

_READING, _COUNTING, _DONE = 0.02, 0.6, 0.95


def explain(context: Context, specification: ExplanationJob) -> JobResult:
    """Say what units of a model detect, and hand over the explanation.

    Args:
        context: The job's.
        specification: Which model, by which concepts, and how.

    Raises:
        FaceterError: Whatever keeps the model from being explained, in words to act on.
    """
    began = time.monotonic()
    request, library = specification.request, context.library
    model, dataset = library.models.get(specification.model_id), library.datasets.get(request.dataset_id)
    content = library.blobs.read(model.sha256)
    context.progress("reading the dataset", 0.0)
    journal = _journal(context, request, model, dataset)
    with (
        open_dataset(library.blobs.path(dataset.sha256), dataset.kind, context.settings) as data,
        job_folder(context.settings, context.job_id) as folder,
        ScratchFiles(folder) as files,
    ):
        samples = samples_of(data, dataset.kind, model, request)
        network = Network(content, request.layers, model.inputs, _class_output(model))
        first = FirstPassJob(network, samples, request, partial(units_of, request), files, journal).run(
            lambda share: context.progress("running the model", _READING + share * (_COUNTING - _READING))
        )
        patterns = first.table.patterns()
        looked_at = [
            search_layer(
                first,
                layer,
                samples,
                FormulaSearch(patterns, request),
                network.device,
                files,
                journal,
                _told(context, number, first),
            )
            for number, layer in enumerate(first.layers)
        ]
        settled = _settled(request, samples)
        _check_any_fires(request, looked_at, samples.about)
        context.progress("writing what was found", _DONE)
        classes = Classes.of(model, content, samples, first)
        writer = UnitWriter(data, samples, first, patterns, classes)
        units = [
            unit for layer, found in zip(first.layers, looked_at, strict=True) for unit in writer.units(layer, found)
        ]
        masks = _masks(first, looked_at, patterns, samples)
        blob = context.store_blob(units_file(units))
        name = request.name or f"{', '.join(request.layers)[:80]} of {model.name[:50]}, {dataset.name[:50]}"
        summaries = [layer_summary(layer, units, samples.concepts) for layer in first.layers]
        return context.add_explanation(
            Explanation(
                id=context.new_id("exp"),
                name=name,
                created_at=utc_now(),
                sha256=blob.sha256,
                bytes=blob.bytes,
                model_id=model.id,
                model_sha256=model.sha256,
                dataset_sha256=dataset.sha256,
                settings=settled,
                about=samples.about,
                samples=len(samples),
                pixels=patterns.pixels,
                concepts=listed_concepts(samples.concepts, patterns),
                concept_count=len(samples.concepts),
                patterns=len(patterns),
                layers=summaries,
                warnings=[*samples.notes, *warnings(request, patterns, units)],
                seconds=round(time.monotonic() - began, 2),
                provenance=provenance_of(
                    settled.model_dump(mode="json"), {"model": model.sha256, "dataset": dataset.sha256}, request.seed
                ),
                files={
                    LAYERS: stored(context, layers_image(summaries, units, name), "image/png"),
                    MASKS: stored(context, masks_file(masks), "application/octet-stream"),
                },
            )
        )


def _settled(request: ExplanationRequest, samples: Samples) -> ExplanationRequest:
    """Return the request with the defaults that depend on the samples filled in."""
    said: dict[str, object] = {"operators": request.joined_by}
    if samples.about == "images":
        said["resolution"] = list(samples.grid)
    if request.quantile is None and request.threshold is None:
        said |= {"threshold": TEXT_THRESHOLD} if samples.about == "text" else {"quantile": QUANTILE}
    return request.model_copy(update=said)


def _check_any_fires(request: ExplanationRequest, looked_at: Sequence[LayerResult], about: str) -> None:
    """See that there is something to explain.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if no unit fires often enough.
    """
    if any(found is not None for result in looked_at for found in result.searched):
        return
    most = max(int(result.firings.max(initial=0)) for result in looked_at)
    units = "no unit" if request.units is None else "none of the units asked for"
    layers = " and ".join(repr(layer) for layer in request.layers)
    if most:
        often = f"enough: the one that fires most does so at {most:,} places"
        remedy = f"Give a `min_firings` of {most:,} at most"
    else:
        often = "anywhere in this dataset"
        lower = request.threshold is not None or about == "text"
        remedy = "Give a lower `threshold`" if lower else "Give a higher `quantile` or a `threshold`"
    raise FaceterError(
        ProblemKind.DATASET_MISMATCH,
        f"There is nothing to explain: {units} of {layers} fires {often}. {remedy}, or choose others.",
        field="layer",
    )


def _told(context: Context, number: int, first: FirstPass) -> Callable[[str, float], None]:
    """Return what tells how far one layer is."""
    share = (_DONE - _COUNTING) / len(first.layers)

    def tell(step: str, done: float) -> None:
        context.progress(step, _COUNTING + share * (number + done))

    return tell


def _masks(first: FirstPass, looked_at: Sequence[LayerResult], patterns: Patterns, samples: Samples) -> Masks:
    grid = {"images": samples.grid, "signals": samples.grid[1:], "text": ()}[samples.about]
    pixels = int(np.prod(samples.grid))
    layers = []
    for layer, result in zip(first.layers, looked_at, strict=True):
        vectors = [
            formula_mask(patterns, found.levels[-1].formula) if found is not None and found.levels else None
            for found in result.searched
        ]
        formulas = formula_masks(first, layer.strongest, vectors, pixels)
        layers.append(
            LayerMasks(
                fires=unpacked(result.samples, (len(samples),)),
                strongest=layer.strongest,
                unit_masks=unpacked(result.masks, grid),
                formula_masks=unpacked(formulas, grid),
            )
        )
    return Masks(layers, samples.classes, first.predicted)


def units_of(request: ExplanationRequest, layer: str, count: int) -> Integers:
    """Return which units of a layer are looked at.

    Raises:
        FaceterError: ``INVALID_REQUEST`` if it does not have one of them.
    """
    if request.units is None:
        return np.arange(count)
    units = list(dict.fromkeys(request.units))
    missing = [unit for unit in units if unit >= count]
    if missing:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"{layer!r} has {count} units, 0 to {count - 1}: there is no unit {missing[0]}.",
            field="units",
        )
    return np.array(units, np.int64)


def _class_output(model: Model) -> str | None:
    """Return the name of the output with class scores, of a classifier."""
    return class_output(model.metadata, model.outputs).name if model.metadata.task.classifies else None


def _journal(context: Context, request: ExplanationRequest, model: Model, dataset: Dataset) -> StoredJournal:
    said = f"{request.model_dump_json()} {model.sha256} {model.metadata.model_dump_json()} {dataset.sha256}"
    return StoredJournal(
        context.load_checkpoint,
        context.save_checkpoint,
        context.settings.checkpoint_seconds,
        hashlib.sha256(said.encode()).hexdigest(),
    )
