"""Evaluations, stored as by a worker."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.evaluations import Evaluation, EvaluationRequest, FeatureDescription, MetricValue
from faceter.contracts.metrics import Metric
from faceter.store.library import Library

REFERENCE, GENERATED = "dts_real", "dts_made"


def value(number: float, interval: list[float] | None = None) -> MetricValue:
    """Return a metric's value."""
    return MetricValue(value=number, interval=interval, seconds=0.1, meaning="as measured")


def make_evaluation(
    values: Mapping[str, float | MetricValue] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Evaluation:
    """Return an evaluation of features, by default with density and coverage; it is not stored."""
    metrics = {"density": 0.9, "coverage": 0.8} if values is None else values
    defaults: dict[str, Any] = {
        "id": new_id("evl"),
        "name": "gan",
        "created_at": utc_now(),
        "sha256": "0" * 64,
        "bytes": 7,
        "settings": EvaluationRequest(**{"reference_id": REFERENCE, "generated_id": GENERATED, **(settings or {})}),
        "reference_sha256": "1" * 64,
        "generated_sha256": "2" * 64,
        "reference_samples": 100,
        "generated_samples": 90,
        "k": 5,
        "features": FeatureDescription(
            source="dataset", dimensions=4, reference_features_id=REFERENCE, generated_features_id=GENERATED
        ),
        "metrics": {
            Metric(name): metric if isinstance(metric, MetricValue) else value(metric)
            for name, metric in metrics.items()
        },
        "seconds": 1.5,
    }
    return Evaluation(**{**defaults, **changes})


def sample_arrays(seed: int = 0, *, generated: int = 9, reference: int = 7, names: bool = True) -> dict[str, Any]:
    """Return the arrays of an evaluation's file: a small case with many ties."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Any] = {
        "generated_indices": random.permutation(generated * 3)[:generated],
        "reference_indices": random.permutation(reference * 3)[:reference],
        "generated_balls": random.integers(0, 3, generated),
        "nearest_reference": random.integers(0, reference, generated),
        "nearest_reference_distance": random.integers(0, 4, generated) / 2,
        "reference_balls": random.integers(0, 3, reference),
        "nearest_generated": random.integers(0, generated, reference),
        "nearest_generated_distance": random.integers(0, 4, reference) / 2,
    }
    if names:
        for which in ("generated", "reference"):
            arrays[f"{which}_names"] = np.array([f"{which}/{index}.png" for index in arrays[f"{which}_indices"]])
            arrays[f"{which}_labels"] = np.array(["", "cat", "dog"])[
                random.integers(0, 3, len(arrays[f"{which}_names"]))
            ]
    return arrays


def arrays_file(arrays: Mapping[str, Any]) -> bytes:
    """Return an evaluation's file as a worker writes it."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def add_evaluation(
    library: Library,
    values: Mapping[str, float | MetricValue] | None = None,
    *,
    content: bytes = b"nearest",
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Evaluation:
    """Store an evaluation with its files."""
    return library.add(make_evaluation(values, **store_files(library, content, files or {}), **changes))


def store_files(library: Library, content: bytes, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Store the file and the further files of a record; return the fields that reference them."""
    blob = library.store_blob(content)
    blobs = {name: library.store_blob(further) for name, further in files.items()}
    references = {
        name: StoredFile(sha256=file.sha256, bytes=file.bytes, media_type="image/png") for name, file in blobs.items()
    }
    return {"sha256": blob.sha256, "bytes": blob.bytes, "files": references}
