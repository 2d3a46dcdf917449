"""What an evaluation leaves beside its values: each sample's neighbours, plots with their data, contact sheets."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import StoredFile
from faceter.contracts.datasets import Dataset
from faceter.contracts.evaluations import EvaluationRequest, Shown
from faceter.datasets.shown import ShownSamples
from workers.evaluation.context import Context
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.grading import Graded
from workers.evaluation.points import Floats
from workers.evaluation.projection import drawn, principal_components
from workers.evaluation.sheets import sheet
from workers.figures.bootstraps import bootstrap_png
from workers.figures.nearest_distances import distances_png
from workers.figures.sets_map import map_png
from workers.figures.sweep import sweep_png
from workers.files import stored

PLOTS = "plots.json"
SWEEP, DISTANCES, MAP, BOOTSTRAP = "k-sweep.png", "distances.png", "map.png", "bootstrap.png"

_ON_MAP = 2000
_DIGITS = 6


@dataclass(frozen=True)
class Pair:
    """Two sets and what came of them."""

    reference: FeatureSet
    generated: FeatureSet
    graded: Graded

    @property
    def nearest_other_real(self) -> Floats:
        """Distance of each real sample to the nearest other, [N], in the units of the features."""
        comparison = self.graded.comparison
        return np.asarray(comparison.real.distances[:, 0] * comparison.scale)

    @cached_property
    def samples(self) -> ShownSamples:
        """What of both sets is worth looking at."""
        return ShownSamples.of(self.arrays())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return how each sample lies among those of the other set; see `faceter.datasets.shown.ShownSamples.of`."""
        comparison = self.graded.comparison
        crossing = comparison.crossing
        found: dict[str, NDArray[Any]] = {
            "generated_indices": self.generated.indices,
            "reference_indices": self.reference.indices,
            "generated_balls": crossing.real_balls[:, 0],
            "reference_balls": crossing.in_real_ball[:, 0],
            "nearest_reference": crossing.nearest_real.indices[:, 0],
            "nearest_reference_distance": crossing.nearest_real.distances[:, 0] * comparison.scale,
            "nearest_generated": crossing.nearest_generated.indices[:, 0],
            "nearest_generated_distance": crossing.nearest_generated.distances[:, 0] * comparison.scale,
        }
        for role, features in (("reference", self.reference), ("generated", self.generated)):
            for name, texts in (("names", features.names), ("labels", features.labels)):
                if texts is not None:
                    found[f"{role}_{name}"] = texts
        return found


def neighbors_file(pair: Pair) -> bytes:
    """Return the evaluation's own file, an ``.npz``; equal sets give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **pair.arrays())  # type: ignore[arg-type]
    return buffer.getvalue()


def shown_counts(pair: Pair) -> dict[Shown, int]:
    """Return how many samples there are of each sort worth looking at."""
    return {which: len(pair.samples.order(which)) for which in Shown}


def evaluation_files(
    context: Context, request: EvaluationRequest, pair: Pair, reference: Dataset, generated: Dataset, title: str
) -> dict[str, StoredFile]:
    """Keep plots, the data they were drawn from and contact sheets; return them by name.

    Args:
        context: The job.
        request: What was asked for.
        pair: The two sets and what came of them.
        reference: The dataset of real samples.
        generated: Of generated ones.
        title: Set above each plot.
    """
    drawings = _plots(request, pair, title)
    files = {name: stored(context, content, "image/png") for name, (content, _) in drawings.items()}
    data = {name.removesuffix(".png"): values for name, (_, values) in drawings.items()}
    files[PLOTS] = stored(context, json.dumps(data, separators=(",", ":")).encode(), "application/json")
    for which in Shown:
        content = sheet(context.library, context.settings, pair.samples, which, reference, generated)
        if content is not None:
            files[f"{which}.png"] = stored(context, content, "image/png")
    return files


def _plots(request: EvaluationRequest, pair: Pair, title: str) -> dict[str, tuple[bytes, Mapping[str, Any]]]:
    """Return each plot by name: its PNG, and what it was drawn from."""
    graded = pair.graded
    crossing, scale = graded.comparison.crossing, graded.comparison.scale
    to_real, between_real = crossing.nearest_real.distances[:, 0] * scale, pair.nearest_other_real
    found: dict[str, tuple[bytes, Mapping[str, Any]]] = {
        DISTANCES: (
            distances_png(to_real, between_real, title),
            {"generated_to_nearest_real": _rounded(to_real), "real_to_nearest_real": _rounded(between_real)},
        ),
        MAP: _map(request, pair, title),
    }
    if len(graded.sweep) > 1:
        found[SWEEP] = sweep_png(graded.sweep, title), {"points": [point.model_dump() for point in graded.sweep]}
    if graded.replicates:
        values = {metric.value: replicates for metric, replicates in graded.replicates.items()}
        points = {metric.value: graded.metrics[metric].value for metric in graded.replicates}
        expected = {
            metric.value: item.expected
            for metric, item in graded.metrics.items()
            if metric in graded.replicates and item.expected is not None
        }
        said = {name: _rounded(replicates) for name, replicates in values.items()}
        found[BOOTSTRAP] = bootstrap_png(values, points, expected, title), {"replicates": said, "values": points}
    return found


def _map(request: EvaluationRequest, pair: Pair, title: str) -> tuple[bytes, Mapping[str, Any]]:
    rng = np.random.default_rng([request.seed, 4])
    projection = principal_components(pair.reference.rows, rng)
    crossing = pair.graded.comparison.crossing
    real, made = (drawn(len(features), _ON_MAP, rng) for features in (pair.reference, pair.generated))
    places = projection.of(pair.reference.rows[real]), projection.of(pair.generated.rows[made])
    uncovered, outside = crossing.in_real_ball[real, 0] == 0, crossing.real_balls[made, 0] == 0
    said = {
        "projection": "principal components of the reference",
        "explained": list(projection.explained),
        "reference": {"index": pair.reference.indices[real].tolist(), "place": _rounded(places[0])},
        "generated": {"index": pair.generated.indices[made].tolist(), "place": _rounded(places[1])},
    }
    return map_png(*places, projection.explained, outside, uncovered, title), said


def _rounded(values: Floats) -> list[Any]:
    """Return values to six digits, for JSON."""
    flat = [float(f"{value:.{_DIGITS}g}") for value in np.ravel(values)]
    return np.reshape(flat, values.shape).tolist()  # type: ignore[no-any-return]
