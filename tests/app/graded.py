"""Evaluations as a worker makes them."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.evaluations import (
    Evaluation,
    EvaluationRequest,
    FeatureDescription,
    Metric,
    MetricValue,
)
from faceter.store.library import Library

REFERENCE, GENERATED = "dts_real", "dts_made"


def value(of: float, interval: list[float] | None = None) -> MetricValue:
    """Return a metric's value."""
    return MetricValue(value=of, interval=interval, seconds=0.1, meaning="as measured")


def graded(
    values: Mapping[str, float | MetricValue] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Evaluation:
    """Return an evaluation of features by density and coverage, or by other values; it is in no library."""
    found = {"density": 0.9, "coverage": 0.8} if values is None else values
    made: dict[str, Any] = {
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
        "metrics": {Metric(name): of if isinstance(of, MetricValue) else value(of) for name, of in found.items()},
        "seconds": 1.5,
    }
    return Evaluation(**{**made, **changes})


def arrays(seed: int = 0, *, generated: int = 9, reference: int = 7, names: bool = True) -> dict[str, Any]:
    """Return what an evaluation's file holds: a small case in which many things are equal."""
    random = np.random.default_rng(seed)
    found: dict[str, Any] = {
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
            found[f"{which}_names"] = np.array([f"{which}/{index}.png" for index in found[f"{which}_indices"]])
            found[f"{which}_labels"] = np.array(["", "cat", "dog"])[random.integers(0, 3, len(found[f"{which}_names"]))]
    return found


def file_of_arrays(found: Mapping[str, Any]) -> bytes:
    """Return the evaluation's file as a worker writes it."""
    file = io.BytesIO()
    np.savez_compressed(file, **found)
    return file.getvalue()


def add_graded(
    library: Library,
    values: Mapping[str, float | MetricValue] | None = None,
    *,
    content: bytes = b"nearest",
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Evaluation:
    """Keep an evaluation with its files, as a worker does."""
    return library.add(graded(values, **stored(library, content, files or {}), **changes))


def stored(library: Library, content: bytes, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Store the file of a record and further ones; return what the record says of them."""
    blob = library.store_blob(content)
    kept = {name: library.store_blob(further) for name, further in files.items()}
    named = {
        name: StoredFile(sha256=file.sha256, bytes=file.bytes, media_type="image/png") for name, file in kept.items()
    }
    return {"sha256": blob.sha256, "bytes": blob.bytes, "files": named}
