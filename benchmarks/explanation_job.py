"""Time of an explanation job against decoding the images and one forward pass of the model.

The job reads the dataset, runs the model up to the layer, finds thresholds and patterns, searches and stores. The
baseline decodes and preprocesses the same images and runs the whole model on each by ONNX Runtime, in two variants: one
image at a time on all processors, and, as the job does, several images at once on one thread each. Variants alternate;
the median of their times is reported.

    python -m benchmarks.explanation_job --data ../shared/data
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.explained import LATE, MIDDLE, ProbedModel, explained, fastestdet_on_camvid
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.host import processor_count
from faceter.vision.preprocess import preprocess
from workers.explanation.parallel import map_in_order


def forward(subject: ProbedModel, threads: int, at_once: int) -> None:
    """Decode all images and run the whole model on each."""
    preprocessing = subject.model.metadata.preprocessing
    assert preprocessing is not None
    loaded = OnnxRuntimeEngine().load(subject.content, threads=threads)
    name = subject.model.inputs[0].name
    with ConceptsDataset.open(subject.data, Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)

        def one(index: int) -> None:
            values, _ = preprocess(data.image(index), preprocessing)
            loaded.run({name: np.ascontiguousarray(values[None])})

        for _ in map_in_order(one, range(len(data)), at_once):
            pass


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    subject = fastestdet_on_camvid(given.data)
    cores = processor_count()
    variants: dict[str, Callable[[], object]] = {
        f"decoding and the model, {cores} threads": lambda: forward(subject, cores, 1),
        f"decoding and the model, {cores} images at once": lambda: forward(subject, 1, cores),
        f"explaining {MIDDLE} (96 units)": lambda: explained(subject, layer=MIDDLE),
        f"explaining {LATE} (192 units)": lambda: explained(subject, layer=LATE),
        f"explaining {MIDDLE}, optimal": lambda: explained(subject, layer=MIDDLE, search="optimal"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants.values():
        variant()
    for _ in range(given.times):
        for name, variant in variants.items():
            began = time.perf_counter()
            variant()
            seconds[name].append(time.perf_counter() - began)
    first, second = (median(seconds[name]) for name in list(variants)[:2])
    print("| | seconds | of decoding and the model | of the same, images at once |\n|---|---|---|---|")
    for name, took in seconds.items():
        print(f"| {name} | {median(took):.2f} | {median(took) / first:.2f} | {median(took) / second:.2f} |")


if __name__ == "__main__":
    main()
