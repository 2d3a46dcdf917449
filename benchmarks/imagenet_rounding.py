"""Top-1 accuracy of every method that only rounds, of EfficientNet-Lite0 on 500 ImageNet images.

python -m benchmarks.imagenet_rounding --data ../shared/data

The packed model is served by ONNX Runtime in the layout that is exact on this host.
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.post_training import METHODS, print_table
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.layouts import PLAIN, UNSIGNED
from faceter.host import processor_count
from workers.quantization.export import export
from workers.quantization.methods import methods
from workers.quantization.prepare import PreparedNetwork, prepare

BITS = ((8, 8), (6, 8), (4, 8))
_BATCH = 50


def preprocessing() -> Preprocessing:
    """Return that of the network's authors: the centre 224 / 256 of the shorter side, bicubic."""
    return Preprocessing.model_validate(
        {
            "size": [224, 224],
            "resize": "crop",
            "crop_fraction": 224 / 256,
            "interpolation": "bicubic",
            "scale": 1.0,
            "mean": [127.0] * 3,
            "std": [128.0] * 3,
        }
    )


def load(data: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the images as the network's input, [500, 3, 224, 224], and their classes, [500]."""
    folder = data / "imagenet"
    labels = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    with ImagesDataset.open(folder / "sample.zip", Settings(_env_file=None)) as dataset:
        classes = dataset.sample_labels(labels)
        batches = [batch.inputs for batch in dataset.batches(preprocessing(), _BATCH)]
    assert classes is not None
    return np.concatenate(batches), np.asarray(classes, np.int64)


def classes_of(content: bytes, inputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the first class of each input, [N]."""
    engine = OnnxRuntimeEngine()
    loaded = engine.load(content, threads=processor_count(), layout=UNSIGNED if sums_saturate(engine) else PLAIN)
    parts = [loaded.run({"image": inputs[start : start + _BATCH]}) for start in range(0, len(inputs), _BATCH)]
    output = loaded.outputs[0].name
    loaded.close()
    return np.concatenate([part[output].argmax(axis=1) for part in parts])


def rows(
    prepared: PreparedNetwork, original: bytes, inputs: NDArray[np.float32], labels: NDArray[np.int64]
) -> Iterable[list[str]]:
    """Yield the rows of the table."""
    expected = classes_of(original, inputs)
    before = float((expected == labels).mean())
    yield ["float", "", "", f"{100 * before:.1f}", "", "", f"{len(original) / 1e6:.2f}"]
    for weight_bits, activation_bits in BITS:
        for method in METHODS:
            for granularity in Granularity:
                content = _quantized(prepared, method, weight_bits, activation_bits, granularity)
                answers = classes_of(content, inputs)
                after = float((answers == labels).mean())
                yield [
                    f"W{weight_bits}A{activation_bits}",
                    method.value,
                    granularity.value,
                    f"{100 * after:.1f}",
                    f"{100 * (after - before):+.1f}",
                    f"{100 * float((answers == expected).mean()):.1f}",
                    f"{len(content) / 1e6:.2f}",
                ]


def _quantized(
    prepared: PreparedNetwork,
    method: QuantizationMethod,
    weight_bits: int,
    activation_bits: int,
    granularity: Granularity,
) -> bytes:
    request = QuantizationRequest(
        method=method, weight_bits=weight_bits, activation_bits=activation_bits, weight_granularity=granularity
    )
    return export(methods[method](prepared, request).plan).content


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    arguments = parser.parse_args()
    start = time.monotonic()
    inputs, labels = load(arguments.data)
    content = (arguments.data / "imagenet" / "efficientnet_lite0.onnx").read_bytes()
    metadata = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=preprocessing())
    prepared = prepare(onnx.load_from_string(content), metadata, seed=0)
    header = ["bits", "method", "scales per", "top-1 %", "against float", "same class %", "file, MB"]
    print_table(header, rows(prepared, content, inputs, labels))
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
