"""The files of an evaluation: each sample's neighbours, plots with their data, contact sheets."""

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
from faceter.datasets.ranked_samples import RankedSamples, RankedSet
from faceter.vision.boxes import IntArray
from workers.evaluation.contact_sheets import contact_sheet
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.metrics import EvaluationMetrics
from workers.evaluation.points import Floats
from workers.evaluation.projection import principal_components, random_subset
from workers.figures.bootstrap_histograms import bootstrap_png
from workers.figures.nearest_distances import distances_png
from workers.figures.pca_map import pca_map_png
from workers.figures.sweep import sweep_png
from workers.files import store_file
from workers.jobs.context import JobContext

PLOTS = "plots.json"
SWEEP, DISTANCES, MAP, BOOTSTRAP = "k-sweep.png", "distances.png", "map.png", "bootstrap.png"

_MAX_MAP_SAMPLES = 2000
_DIGITS = 6


@dataclass(frozen=True)
class EvaluatedSets:
    """Two sets and their metrics."""

    reference: FeatureSet
    generated: FeatureSet
    computed: EvaluationMetrics

    @property
    def nearest_other_real(self) -> Floats:
        """Distance of each real sample to the nearest other real one, [N], in the units of the features."""
        comparison = self.computed.comparison
        return np.asarray(comparison.real.distances[:, 0] * comparison.scale)

    @cached_property
    def samples(self) -> RankedSamples:
        """Rankings of the samples of both sets."""
        return RankedSamples.of(self.arrays())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return balls and nearest neighbours of each sample in the other set; see `RankedSamples.of`."""
        comparison = self.computed.comparison
        cross = comparison.cross
        arrays: dict[str, NDArray[Any]] = {
            "generated_indices": self.generated.indices,
            "reference_indices": self.reference.indices,
            "generated_balls": cross.real_balls_per_generated[:, 0],
            "reference_balls": cross.generated_per_real_ball[:, 0],
            "nearest_reference": cross.nearest_real.indices[:, 0],
            "nearest_reference_distance": cross.nearest_real.distances[:, 0] * comparison.scale,
            "nearest_generated": cross.nearest_generated.indices[:, 0],
            "nearest_generated_distance": cross.nearest_generated.distances[:, 0] * comparison.scale,
        }
        for role, features in (("reference", self.reference), ("generated", self.generated)):
            for name, texts in (("names", features.names), ("labels", features.labels)):
                if texts is not None:
                    arrays[f"{role}_{name}"] = texts
        return arrays


def neighbors_file(sets: EvaluatedSets) -> bytes:
    """Return the evaluation's own file, an ``.npz``; equal sets give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **sets.arrays())  # type: ignore[arg-type]
    return buffer.getvalue()


def ranking_lengths(sets: EvaluatedSets) -> dict[Shown, int]:
    """Return the number of samples of each ranking."""
    return {which: len(sets.samples.order(which)) for which in Shown}


def evaluation_files(
    context: JobContext,
    request: EvaluationRequest,
    sets: EvaluatedSets,
    reference: Dataset,
    generated: Dataset,
    title: str,
) -> dict[str, StoredFile]:
    """Store plots, their data and contact sheets; return them by name.

    Args:
        context: Of the job.
        request: The request.
        sets: The two sets and their metrics.
        reference: The dataset of real samples.
        generated: The dataset of generated samples.
        title: Of each plot.
    """
    plots = _plots(request, sets, title)
    files = {name: store_file(context, content, "image/png") for name, (content, _) in plots.items()}
    data = {name.removesuffix(".png"): values for name, (_, values) in plots.items()}
    files[PLOTS] = store_file(context, json.dumps(data, separators=(",", ":")).encode(), "application/json")
    for which in Shown:
        content = contact_sheet(context.library, context.settings, sets.samples, which, reference, generated)
        if content is not None:
            files[f"{which}.png"] = store_file(context, content, "image/png")
    return files


def _plots(request: EvaluationRequest, sets: EvaluatedSets, title: str) -> dict[str, tuple[bytes, Mapping[str, Any]]]:
    """Return each plot by name: its PNG and its data."""
    computed = sets.computed
    cross, scale = computed.comparison.cross, computed.comparison.scale
    to_real, between_real = cross.nearest_real.distances[:, 0] * scale, sets.nearest_other_real
    plots: dict[str, tuple[bytes, Mapping[str, Any]]] = {
        DISTANCES: (
            distances_png(to_real, between_real, title),
            {"generated_to_nearest_real": _rounded(to_real), "real_to_nearest_real": _rounded(between_real)},
        ),
        MAP: _map(request, sets, title),
    }
    if len(computed.sweep) > 1:
        plots[SWEEP] = sweep_png(computed.sweep, title), {"points": [point.model_dump() for point in computed.sweep]}
    if computed.replicates:
        values = {metric.value: replicates for metric, replicates in computed.replicates.items()}
        points = {metric.value: computed.metrics[metric].value for metric in computed.replicates}
        expected = {
            metric.value: item.expected
            for metric, item in computed.metrics.items()
            if metric in computed.replicates and item.expected is not None
        }
        data = {name: _rounded(replicates) for name, replicates in values.items()}
        plots[BOOTSTRAP] = bootstrap_png(values, points, expected, title), {"replicates": data, "values": points}
    return plots


def _map(request: EvaluationRequest, sets: EvaluatedSets, title: str) -> tuple[bytes, Mapping[str, Any]]:
    rng = np.random.default_rng([request.seed, 4])
    projection = principal_components(sets.reference.rows, rng)
    cross = sets.computed.comparison.cross
    real, fake = (random_subset(len(features), _MAX_MAP_SAMPLES, rng) for features in (sets.reference, sets.generated))
    places = projection.apply(sets.reference.rows[real]), projection.apply(sets.generated.rows[fake])
    uncovered, outside = cross.generated_per_real_ball[real, 0] == 0, cross.real_balls_per_generated[fake, 0] == 0
    data = {
        "projection": "principal components of the reference",
        "explained": list(projection.explained),
        "reference": _map_points(sets.samples.reference, sets.samples.generated, real, places[0]),
        "generated": _map_points(sets.samples.generated, sets.samples.reference, fake, places[1]),
    }
    return pca_map_png(*places, projection.explained, outside, uncovered, title), data


def _map_points(ranked: RankedSet, other: RankedSet, rows: IntArray, places: Floats) -> dict[str, Any]:
    """Return the points of one set by column; ``index`` and ``nearest_index`` are positions in the datasets."""
    points = {
        "index": ranked.indices[rows].tolist(),
        "place": _rounded(places),
        "balls": ranked.balls[rows].tolist(),
        "nearest_index": other.indices[ranked.nearest[rows]].tolist(),
        "distance": _rounded(ranked.distance[rows]),
    }
    if ranked.labels is not None:
        points["label"] = ranked.labels[rows].tolist()
    return points


def _rounded(values: Floats) -> list[Any]:
    """Return values rounded to six digits, for JSON."""
    flat = [float(f"{value:.{_DIGITS}g}") for value in np.ravel(values)]
    return np.reshape(flat, values.shape).tolist()  # type: ignore[no-any-return]
