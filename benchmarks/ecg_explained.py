"""What units of a network detect in an ECG: waves of the heart, and noise added to parts of it.

Recordings and the network are those of ``benchmarks.ecg_network``. P, QRS and T waves come from ``ecg_delineate`` of
neurokit2 (wavelets; Martínez et al. 2004) on the recording before noise is added, so they are known where the signal
does not show them.

    python -m benchmarks.ecg_network kept/ecg
    python -m benchmarks.ecg_explained --kept kept --image docs/images/ecg-units.png
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.ecg_network import LENGTH, METADATA, MODEL, RATE, RHYTHMS, recording, with_artifacts
from benchmarks.explained import Explained, ProbedModel, explained
from benchmarks.graded_sets import model_of
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ModelMetadata
from faceter.explanations.drawing.signals import SignalSample, draw_unit_on_signals

CONCEPTS = ["P wave", "QRS", "T wave", "noise"]
RECORDINGS = 24
_NOISE = 0.8
_WAVES = {"P wave": "P", "QRS": "R", "T wave": "T"}


def waves(minute: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return which wave each moment of a recording without noise belongs to, 0 for none, int64 [length]."""
    from neurokit2 import ecg_delineate, ecg_peaks

    _, found = ecg_peaks(minute, sampling_rate=RATE)
    _, marks = ecg_delineate(minute, found["ECG_R_Peaks"], sampling_rate=RATE, method="dwt")
    labels = np.zeros(len(minute), np.int64)
    for number, (_, letter) in enumerate(_WAVES.items(), 1):
        begins, ends = (np.array(marks[f"ECG_{letter}_{end}"], np.float64) for end in ("Onsets", "Offsets"))
        for begin, end in zip(begins, ends, strict=True):
            if np.isfinite(begin) and np.isfinite(end):
                labels[int(begin) : int(end) + 1] = number
    return labels


def labelled_signals(recordings: int = RECORDINGS, seed: int = 77) -> bytes:
    """Return a dataset of kind ``signals`` whose moments carry a wave and, in one part of each signal, noise."""
    rng = np.random.default_rng(seed)
    signals, concepts, classes = [], [], []
    for index in range(recordings):
        number = index % len(RHYTHMS)
        minute = recording(list(RHYTHMS.values())[number], rng)
        wave = waves(minute)
        for start in range(0, len(minute) - LENGTH + 1, LENGTH):
            signal = with_artifacts(minute[None, start : start + LENGTH], rng)[0]
            noisy = np.zeros(LENGTH, np.int64)
            begin = int(rng.integers(0, LENGTH - 100))
            noisy[begin : begin + int(rng.integers(60, 200))] = CONCEPTS.index("noise") + 1
            signals.append(signal + _NOISE * (noisy > 0) * rng.normal(size=LENGTH))
            concepts.append(np.stack([wave[start : start + LENGTH], noisy]))
            classes.append(number)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        signals=np.array(signals, np.float32)[:, None],
        concepts=np.array(concepts),
        concept_names=np.array(CONCEPTS),
        labels=np.array(classes, np.int64),
        classes=np.array(list(RHYTHMS)),
    )
    return buffer.getvalue()


def subject(kept: Path, data: Path) -> ProbedModel:
    """Return the network of ``benchmarks.ecg_network`` and a dataset's file."""
    content = (kept / "ecg" / MODEL).read_bytes()
    metadata = ModelMetadata.model_validate_json((kept / "ecg" / METADATA).read_bytes())
    return ProbedModel(content, model_of(content, metadata), data, DatasetKind.SIGNALS)


def unit_images(found: Explained, data: bytes, best: int) -> Iterator[bytes]:
    """Yield an image of each of the best units: the signals in which it is strongest, shaded where it fires."""
    with np.load(io.BytesIO(data)) as arrays:
        signals = arrays["signals"]
    masks = found.masks.layers[0]
    order = sorted(range(len(found.units)), key=lambda row: -found.units[row].score)[:best]
    for row in order:
        unit = found.units[row]
        samples = [
            SignalSample(
                signals[index], f"signal {index}", masks.unit_masks[row, place], masks.formula_masks[row, place]
            )
            for place, index in enumerate(masks.strongest[row, :3].tolist())
        ]
        subtitle = f"unit {unit.unit} of {unit.layer} · IoU {unit.score:.2f} of at most {unit.ceiling:.2f}"
        yield draw_unit_on_signals(unit.formula or "", subtitle, samples, unit.formula or "")


def main() -> None:
    """Explain layers, print a table, and keep an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, default=Path("kept"))
    parser.add_argument("--layers", nargs="*", default=[])
    parser.add_argument("--quantile", type=float, default=0.05)
    parser.add_argument("--image", type=Path)
    given = parser.parse_args()
    content = labelled_signals()
    path = given.kept / "ecg" / "labelled.npz"
    path.write_bytes(content)
    about = subject(given.kept, path)
    for layer in given.layers:
        found = explained(about, layer=layer, quantile=given.quantile, search="optimal")
        (summary,) = found.explanation.layers
        mean = summary.iou.mean if summary.iou else 0.0
        print(
            f"\n{layer}: {summary.explained} of {summary.units} units, mean IoU {mean:.3f}, "
            f"ceiling {summary.mean_ceiling:.3f}, at the ceiling {summary.at_ceiling}"
        )
        print("| unit | formula | IoU | ceiling |\n|---|---|---|---|")
        for unit in sorted(found.units, key=lambda one: -one.score)[:10]:
            print(f"| {unit.unit} | {unit.formula} | {unit.score:.3f} | {unit.ceiling:.3f} |")
        if given.image is not None and layer == given.layers[-1]:
            for number, image in enumerate(unit_images(found, content, 3)):
                given.image.with_stem(f"{given.image.stem}-{number + 1}").write_bytes(image)


if __name__ == "__main__":
    main()
