"""A whole explanation against what it cannot do without: decoding the images, and the model's own forward pass.

The job reads the dataset, runs the model up to the layer, finds thresholds and patterns, searches and stores. The peer
decodes and prepares the same images and runs the whole model on each by ONNX Runtime, with as many threads as there
are processors; it does so in two ways, the usual one after the other, and as the job does it: several images at once
with one thread each. In turns, several times, in one run; the median counts.

    python -m benchmarks.explanation_job --data ../shared/data
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.explained import LATE, MIDDLE, Subject, explained, fastestdet_on_camvid
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_dataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.preprocess import preprocess
from workers.explanation.stream import in_order
from workers.host import processor_count


def forward(subject: Subject, threads: int, at_once: int) -> None:
    """Decode all images and run the whole model on each."""
    preprocessing = subject.model.metadata.preprocessing
    assert preprocessing is not None
    loaded = OnnxRuntimeEngine().load(subject.content, threads=threads)
    name = subject.model.inputs[0].name
    with open_dataset(subject.data, DatasetKind.CONCEPTS, Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)

        def one(index: int) -> None:
            values, _ = preprocess(data.image(index), preprocessing)
            loaded.run({name: np.ascontiguousarray(values[None])})

        for _ in in_order(one, range(len(data)), at_once):
            pass


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    subject = fastestdet_on_camvid(given.data)
    cores = processor_count()
    ways: dict[str, Callable[[], object]] = {
        f"decoding and the model, {cores} threads": lambda: forward(subject, cores, 1),
        f"decoding and the model, {cores} images at once": lambda: forward(subject, 1, cores),
        f"explaining {MIDDLE} (96 units)": lambda: explained(subject, layer=MIDDLE),
        f"explaining {LATE} (192 units)": lambda: explained(subject, layer=LATE),
        f"explaining {MIDDLE}, optimal": lambda: explained(subject, layer=MIDDLE, search="optimal"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(given.times):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    first, second = (median(seconds[name]) for name in list(ways)[:2])
    print("| | seconds | of decoding and the model | of the same, images at once |\n|---|---|---|---|")
    for name, took in seconds.items():
        print(f"| {name} | {median(took):.2f} | {median(took) / first:.2f} | {median(took) / second:.2f} |")


if __name__ == "__main__":
    main()
