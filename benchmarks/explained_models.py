"""Units of real models: the tables and images of docs/explanations.md.

python -m benchmarks.explained_models camvid --images docs/images
python -m benchmarks.explained_models nli --images docs/images
python -m benchmarks.explained_models drift
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.explained import (
    LATE,
    MIDDLE,
    Explained,
    ProbedModel,
    counted,
    explained,
    fastestdet_on_camvid,
    nli,
)
from benchmarks.graded_sets import model_of
from benchmarks.post_training import print_table
from faceter.contracts.analyses import CopyPasteRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.drawing.images import ImageSample, draw_unit_on_images
from workers.explanation.analyses.drift import firing_iou, model_drift
from workers.explanation.analyses.interpretability import interpretability, plot_interpretability
from workers.explanation.analyses.pair_classifier import PairClassifier
from workers.explanation.analyses.text_copy_paste import copy_paste_pairs
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize

_BEST = 10
_SHOWN = 6
ALL_OPERATORS = ["or", "and", "and_not", "neighbors"]


def best_first(units: Sequence[Unit], count: int = _BEST) -> list[Unit]:
    """Return the units with the highest IoU."""
    return sorted(units, key=lambda unit: -unit.score)[:count]


def image_of(subject: ProbedModel, found: Explained, unit: Unit) -> bytes:
    """Draw a unit as the service does."""
    row = found.units.index(unit)
    (masks,) = found.masks.layers
    with open_dataset(subject.data, subject.kind, Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)
        samples = [
            ImageSample(
                data.image(index), data.names[index], masks.unit_masks[row, place], masks.formula_masks[row, place]
            )
            for place, index in enumerate(masks.strongest[row, :_SHOWN].tolist())
            if index >= 0
        ]
    subtitle = f"unit {unit.unit} of {unit.layer} · IoU {unit.score:.2f} of at most {unit.ceiling:.2f}"
    return draw_unit_on_images(unit.formula or "", subtitle, samples)


def camvid(data: Path, images: Path | None) -> None:
    """Explain two layers of FastestDet by CamVid, at two quantiles, by both searches."""
    subject = fastestdet_on_camvid(data)
    rows = []
    for layer in (MIDDLE, LATE):
        for quantile in (0.005, 0.05):
            beam, best = (
                explained(subject, layer=layer, quantile=quantile, search=search) for search in ("beam", "optimal")
            )
            pairs = [(one.score, other.score) for one, other in zip(beam.units, best.units, strict=True)]
            missed = [other - one for one, other in pairs if other > one]
            summary = beam.explanation.layers[0]
            single, iou = summary.concept_iou, summary.iou
            rows.append(
                [
                    layer,
                    f"{quantile:.1%}",
                    f"{summary.explained} of {summary.units}",
                    f"{single.mean if single else 0:.3f}",
                    f"{iou.mean if iou else 0:.3f}",
                    f"{summary.mean_ceiling or 0:.3f}",
                    str(summary.at_ceiling),
                    f"{len(missed)} ({100 * len(missed) / len(pairs):.0f} %), by {max(missed, default=0):.4f} at most",
                ]
            )
            print(f"\n{layer}, {quantile:.1%}:\n")
            print_table(
                ["unit", "formula", "IoU", "best concept", "its IoU", "ceiling", "firings"],
                [
                    [
                        str(one.unit),
                        str(one.formula),
                        f"{one.score:.3f}",
                        str(one.concept),
                        f"{one.concept_score:.3f}",
                        f"{one.ceiling:.3f}",
                        f"{one.firings:,}",
                    ]
                    for one in best_first(beam.units)
                ],
            )
            if images is not None and quantile > 0.01:
                name = "middle" if layer == MIDDLE else "late"
                (images / f"explained-{name}.png").write_bytes(beam.files["layers.png"])
                for number, unit in enumerate(best_first(beam.units, 2), 1):
                    (images / f"unit-{name}-{number}.png").write_bytes(image_of(subject, beam, unit))
    print()
    header = ["layer", "quantile", "explained", "concept IoU", "formula IoU", "ceiling", "at it", "beam not optimal"]
    print_table(header, rows)


def sentence_pairs(data: Path, images: Path | None) -> None:
    """Explain the hidden layer of the NLI classifier at lengths 1 to 5, and analyse the explanation."""
    subject = nli(data)
    began = time.perf_counter()
    found = explained(subject, layer="hidden", max_length=5, operators=ALL_OPERATORS, cut_sentences=True)
    print(f"256 units, lengths 1 to 5: {time.perf_counter() - began:.1f} s\n")
    print_table(
        ["unit", "formula", "IoU", "firings", "weights (e, n, c)", "PMI (e, n, c)"],
        [
            [
                str(one.unit),
                str(one.formula),
                f"{one.score:.3f}",
                f"{one.firings:,}",
                ", ".join(f"{label.weight:.2f}" for label in one.classes if label.weight is not None),
                ", ".join("–" if label.pmi is None else f"{label.pmi:.2f}" for label in one.classes),
            ]
            for one in best_first([unit for unit in found.units if 100 <= unit.firings <= 3000], 12)
        ],
    )
    masks = found.masks
    assert masks.labels is not None
    assert masks.predicted is not None
    correct = masks.labels == masks.predicted
    result = interpretability(found.units, masks.layers[0].fires, correct, 30)
    print(f"\naccuracy {result.overall:.3f}; {len(result.units)} units fire in 30 pairs or more\n")
    print_table(
        ["length", "r", "p", "mean IoU"],
        [
            [
                str(one.length),
                f"{one.r or 0:.3f}",
                f"{one.p or 0:.3g}",
                f"{np.mean([n.scores[one.length - 1] for n in found.units if n.scores]):.3f}",
            ]
            for one in result.correlations
        ],
    )
    if images is not None:
        (images / "nli-interpretability.png").write_bytes(
            plot_interpretability(found.units, result, "Accuracy of the NLI model where a unit fires")
        )
    rows = []
    with open_dataset(subject.data, subject.kind, Settings(_env_file=None)) as opened:
        assert isinstance(opened, TextPairsDataset)
        model = PairClassifier(subject.content, subject.model, opened)
        for label in subject.model.metadata.labels or []:
            tried = copy_paste_pairs(
                found.units,
                opened.pairs,
                subject.model.metadata.labels or [],
                model.probabilities,
                CopyPasteRequest(label=label, tries=500),
            )
            rows.append(
                [label, str(len(tried.changes))]
                + [
                    f"{one.rate:.1%} ({one.interval[0]:.1%} to {one.interval[1]:.1%})"
                    for one in (tried.proposed, tried.control)
                ]
                + [str(tried.proposed.tries)]
            )
            for edit in tried.examples[:3]:
                print(
                    f"{label}: {edit.change}; {edit.before} → {edit.after}: {edit.predicted_before} → "
                    f"{edit.predicted_after} ({edit.probability_before:.2f} → {edit.probability_after:.2f})"
                )
    print()
    print_table(["class", "edits", "proposed by formulas", "random words", "tries"], rows)


def drift(data: Path) -> None:
    """Quantize FastestDet without tuning and measure the drift of its units."""
    subject = fastestdet_on_camvid(data)
    settings = Settings(_env_file=None)
    rows = []
    for layer in (MIDDLE, LATE):
        request = ExplanationRequest(dataset_id="dts_local", layer=layer, quantile=0.05)
        before = explained(subject, layer=layer, quantile=0.05)
        for bits in (8, 4, 2):
            made = quantize(
                subject.content,
                subject.model.metadata,
                QuantizationRequest(method=QuantizationMethod.DFQ, weight_bits=bits, activation_bits=bits),
                JobDatasets(),
                settings,
            )
            content = made.exported.content
            other = ProbedModel(content, model_of(content, subject.model.metadata), subject.data, subject.kind)
            after = explained(other, layer=layer, quantile=0.05)
            with counted(subject, request) as one, counted(other, request) as two:
                ious = firing_iou(
                    one.recorded,
                    one.recorded.layers[0],
                    one.counts.thresholds,
                    two.recorded,
                    two.recorded.layers[0],
                    two.counts.thresholds,
                    one.probe.grid,
                )
            found = model_drift("quantized", f"W{bits}A{bits}", before.units, after.units, ious)
            rows.append(
                [
                    layer,
                    f"W{bits}A{bits}",
                    f"{found.mean_iou:.3f}",
                    f"{found.same_formula:.0%}",
                    f"{found.score_change:+.4f}",
                ]
            )
    print_table(["layer", "bits", "IoU of masks", "formula stayed", "change of IoU"], rows)


def main() -> None:
    """Explain, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["camvid", "nli", "drift"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=Path)
    given = parser.parse_args()
    if given.what == "camvid":
        camvid(given.data, given.images)
    elif given.what == "nli":
        sentence_pairs(given.data, given.images)
    else:
        drift(given.data)


if __name__ == "__main__":
    main()
