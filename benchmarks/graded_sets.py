"""How every metric reacts on real images and signals: the tables of docs/how-it-works/measurements/evaluation.md.

    python -m benchmarks.graded_sets cifar10 --data ../shared/data --synthetic made
    python -m benchmarks.graded_sets camvid
    python -m benchmarks.graded_sets ecg --kept /tmp

``--synthetic`` is a folder of images synthesized by data-free quantization, as ``benchmarks.data_free run … --inputs``
writes them.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.post_training import classifier, print_table
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.metrics import Metric
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_inputs
from faceter.datasets.signals import signals_file
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs, output_specs
from workers.evaluation.feature_extraction import extract_features
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.metrics import compute_metrics

SHOWN = (
    Metric.DENSITY,
    Metric.COVERAGE,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.CLIPPED_DENSITY,
    Metric.CLIPPED_COVERAGE,
    Metric.P_PRECISION,
    Metric.P_RECALL,
    Metric.AUTHENTICITY,
    Metric.FID,
    Metric.KID,
)

Pixels = NDArray[np.uint8]
Labelled = list[tuple[str, Image.Image]]
Sets = Iterator[tuple[str, FeatureSet, FeatureSet]]


def model_of(content: bytes, metadata: ModelMetadata) -> Model:
    """Return the record that a model would have if it were uploaded."""
    graph = load_model(content, max_bytes=len(content))
    return Model(
        id="mdl_benchmark",
        name="benchmark",
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=len(content),
        metadata=metadata,
        inputs=input_specs(graph),
        outputs=output_specs(graph),
        opset=20,
        parameters=0,
    )


def embed(content: bytes, metadata: ModelMetadata, tensor: str, file: bytes, kind: DatasetKind) -> FeatureSet:
    """Return the features of a dataset's file under a model."""
    with tempfile.NamedTemporaryFile() as path:
        path.write(file)
        path.flush()
        with open_inputs(Path(path.name), kind, Settings(_env_file=None)) as data:
            rows = np.concatenate(
                list(extract_features(content, model_of(content, metadata), data, tensor, "reference"))
            )
            labels = data.class_positions()
            named = None if labels is None else np.array(data.classes, np.str_)[labels]
    return FeatureSet(rows, np.arange(len(rows)), named)


def archive(images: Labelled) -> bytes:
    """Return images as the zip of a dataset of kind ``images``."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index, (folder, image) in enumerate(images):
            content = io.BytesIO()
            image.save(content, "PNG")
            file.writestr(f"{folder}/{index:05d}.png" if folder else f"{index:05d}.png", content.getvalue())
    return buffer.getvalue()


def cifar10(options: argparse.Namespace) -> Sets:
    """Two halves of the training images, the second degraded in several ways, in ResNet-20's last feature space."""
    folder = options.data / "cifar10"
    content = (folder / "resnet20.onnx").read_bytes()
    metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = _read(folder / "train.zip")
    order = np.random.default_rng(0).permutation(len(images))
    half = len(images) // 2
    first, second = ([images[index] for index in part] for part in (order[:half], order[half:]))

    def features_of(chosen: Labelled) -> FeatureSet:
        return embed(content, metadata, "mean", archive(chosen), DatasetKind.IMAGES)

    real, other = features_of(first), features_of(second)
    yield "the other half", real, other
    yield "blurred, σ = 0.7", real, features_of(_changed(second, _blurred))
    yield "noise, σ = 15 of 255", real, features_of(_changed(second, _noisy))
    for count in (2, 5):
        classes = sorted({label for label, _ in second})[count:]
        kept = [image for image in second if image[0] in classes]
        again = [kept[index % len(kept)] for index in range(half)]
        yield f"{count} classes of 10 missing", real, features_of(again)
    yield "half of it copies of real ones", real, _joined(_subset(other, half // 2), _subset(real, half // 2))
    yield "all copies", real, real
    one = [image for image in second if image[0] == "cat"]
    yield "one class only", real, features_of([one[index % len(one)] for index in range(half)])
    if options.synthetic is not None:
        for path in sorted(options.synthetic.glob("resnet20-*.npy")):
            synthetic = [("", Image.fromarray(image.transpose(1, 2, 0))) for image in np.load(path)]
            generated = features_of(synthetic)
            yield f"synthesized by {path.stem.removeprefix('resnet20-')}", _subset(real, len(generated)), generated


def camvid(options: argparse.Namespace) -> Sets:
    """Street scenes by day against others by day and at dusk, in a late feature space of FastestDet."""
    content = (options.data / "detection" / "fastestdet.onnx").read_bytes()
    preprocessing = Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR)
    metadata = ModelMetadata(preprocessing=preprocessing)
    scenes: dict[str, list[Image.Image]] = {"A": [], "B": []}
    for name in ("train.zip", "test.zip"):
        for label, image in _read(options.data / "dusk2day" / name):
            scenes[label].append(image)
    day = [scenes["B"][index] for index in np.random.default_rng(0).permutation(len(scenes["B"]))]
    half = len(day) // 2

    def features_of(chosen: Sequence[Image.Image]) -> FeatureSet:
        images = [("", image) for image in chosen]
        return embed(content, metadata, "input.568", archive(images), DatasetKind.IMAGES)

    real = features_of(day[:half])
    yield f"day, others ({len(day) - half})", real, features_of(day[half:])
    yield f"dusk ({len(scenes['A'])})", real, features_of(scenes["A"])


def ecg(options: argparse.Namespace) -> Sets:
    """Signals of several rhythms, the second half without one of them, in the last feature space of a 1-D network."""
    from benchmarks import ecg_network

    folder = options.kept / "ecg"
    ecg_network.make(folder)
    content = (folder / ecg_network.MODEL).read_bytes()
    with np.load(folder / ecg_network.TEST) as arrays:
        signals, labels, classes = arrays["signals"], arrays["labels"], arrays["classes"].tolist()
    order = np.random.default_rng(0).permutation(len(signals))
    half = len(signals) // 2
    tensor = _before_classes(content)

    def features_of(chosen: NDArray[np.int64]) -> FeatureSet:
        file = signals_file(signals[chosen], labels[chosen], classes)
        return embed(content, ecg_network.metadata(), tensor, file, DatasetKind.SIGNALS)

    first, second = order[:half], order[half:]
    real = features_of(first)
    yield "the other half", real, features_of(second)
    for number, rhythm in enumerate(classes):
        kept = second[labels[second] != number]
        yield f"without {rhythm}", real, features_of(np.resize(kept, half))


def _before_classes(content: bytes) -> str:
    """Return the tensor that enters the last layer."""
    graph = load_model(content, max_bytes=len(content)).graph
    (last,) = [node for node in graph.node if graph.output[0].name in node.output]
    return str(last.input[0])


def _read(path: Path) -> Labelled:
    with zipfile.ZipFile(path) as file:
        names = sorted(name for name in file.namelist() if name.endswith((".jpg", ".png")))
        return [(name.split("/")[-2], Image.open(io.BytesIO(file.read(name))).convert("RGB")) for name in names]


def _changed(images: Labelled, change: Callable[[Image.Image, int], Image.Image]) -> Labelled:
    return [(label, change(image, index)) for index, (label, image) in enumerate(images)]


def _blurred(image: Image.Image, _: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.7))


def _noisy(image: Image.Image, index: int) -> Image.Image:
    values = np.asarray(image) + 15 * np.random.default_rng(index).standard_normal((*image.size[::-1], 3))
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))


def _subset(features: FeatureSet, count: int) -> FeatureSet:
    """Return a random subset of samples."""
    chosen = np.random.default_rng(1).choice(len(features), min(count, len(features)), replace=False)
    return FeatureSet(features.rows[chosen], features.indices[chosen])


def _joined(one: FeatureSet, other: FeatureSet) -> FeatureSet:
    rows = np.concatenate([one.rows, other.rows])
    return FeatureSet(rows, np.arange(len(rows)))


def main() -> None:
    """Evaluate all sets and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", choices=["cifar10", "camvid", "ecg"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--kept", type=Path, default=Path("benchmarks-kept"), help="where what is made is kept")
    parser.add_argument("--synthetic", type=Path, help="folder of images made by quantizations")
    options = parser.parse_args()
    request = EvaluationRequest(reference_id="dts_benchmark", generated_id="dts_benchmark")
    lines, expected = [], ""
    for name, real, generated in {"cifar10": cifar10, "camvid": camvid, "ecg": ecg}[options.data_set](options):
        computed = compute_metrics(real, generated, request).metrics
        coverage = computed[Metric.COVERAGE]
        expected = expected or f"expected density 1, coverage {coverage.expected:.3f}"
        size = f"{len(real):,} / {len(generated):,}"
        lines.append([name, size, *(f"{computed[metric].value:.3g}" for metric in SHOWN)])
    print_table(["generated", "N / M", *(metric.value for metric in SHOWN)], lines)
    print(expected)


if __name__ == "__main__":
    main()
