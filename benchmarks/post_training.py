"""Accuracy of RQ, DFQ and ACIQ on real models, measured by ONNX Runtime on the packed, served graph.

python -m benchmarks.post_training resnet20 --data ../shared/data
python -m benchmarks.post_training fastestdet --data ../shared/data
python -m benchmarks.post_training depthwise --data ../shared/data --network depthwise.pt
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from benchmarks.depthwise_network import (
    MEAN,
    STD,
    DepthwiseNetwork,
    badly_scaled,
    load,
    train,
    with_relu,
)
from benchmarks.fastestdet import DECODING as FASTESTDET
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationReport, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_inputs
from faceter.export.module import export
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize

METHODS = tuple(method for method in QuantizationMethod if not method.tuned)
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
EPOCHS = 18


def report_on(
    content: bytes,
    metadata: ModelMetadata,
    dataset: Path,
    kind: DatasetKind,
    *,
    method: QuantizationMethod,
    bits: int,
    granularity: Granularity,
) -> QuantizationReport:
    """Quantize and evaluate a model as a job does."""
    request = QuantizationRequest(
        method=method,
        weight_bits=bits,
        activation_bits=bits,
        weight_granularity=granularity,
        evaluation_dataset_id="dts_benchmark",
    )
    settings = Settings(_env_file=None)
    with open_inputs(dataset, kind, settings) as data:
        record = record_of(dataset, kind, len(data))
        result = quantize(
            content, metadata, request, JobDatasets(evaluation=data, records={"evaluation_dataset": record}), settings
        )
    return result.report


def record_of(path: Path, kind: DatasetKind, samples: int) -> Dataset:
    """Return the record of a dataset that is not in a library."""
    return Dataset(
        id="dts_benchmark",
        name=path.name,
        kind=kind,
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=path.stat().st_size,
        samples=samples,
    )


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table row by row."""
    titles = list(header)
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles), flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def classifier(mean: Iterable[float], std: Iterable[float]) -> ModelMetadata:
    """Return the metadata of a CIFAR-10 classifier."""
    return ModelMetadata(
        task=Task.IMAGE_CLASSIFICATION,
        preprocessing=Preprocessing(size=[32, 32], mean=list(mean), std=list(std)),
        labels=list(CIFAR10_CLASSES),
    )


def resnet20(data: Path) -> None:
    """Print accuracy of ResNet-20 on CIFAR-10 for three methods, three bit widths and both granularities."""
    content = (data / "cifar10" / "resnet20.onnx").read_bytes()
    metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def rows() -> Iterable[list[str]]:
        for bits in (8, 6, 4):
            for method in METHODS:
                for granularity in Granularity:
                    report = report_on(
                        content, metadata, data / "cifar10" / "test.zip", DatasetKind.IMAGES,
                        method=method, bits=bits, granularity=granularity,
                    )  # fmt: skip
                    (quality,) = report.quality
                    yield [
                        f"W{bits}A{bits}",
                        method.value,
                        granularity.value,
                        f"{100 * quality.after:.2f}",
                        f"{100 * (quality.after - quality.before):+.2f}",
                        f"{100 * (report.agreement.top1 or 0):.1f}",
                        f"{report.size.packed / 1000:.0f}",
                    ]

    print_table(["bits", "method", "scales per", "top-1 %", "against float", "same class %", "file, kB"], rows())


def fastestdet(data: Path) -> None:
    """Print mAP of FastestDet on indoor.zip at W8A8 for three methods and float, and the agreement of boxes."""
    content = (data / "detection" / "fastestdet.onnx").read_bytes()
    dataset = data / "detection" / "indoor.zip"
    preprocessing = Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR)
    metadata = ModelMetadata(task=Task.OBJECT_DETECTION, preprocessing=preprocessing, detection=FASTESTDET)

    def rows() -> Iterable[list[str]]:
        for method in METHODS:
            for granularity in Granularity:
                report = report_on(
                    content, metadata, dataset, DatasetKind.DETECTION, method=method, bits=8, granularity=granularity
                )
                map_50, map_50_95 = report.quality
                if method is METHODS[0] and granularity is Granularity.TENSOR:
                    yield ["float", "", f"{map_50.before:.3f}", f"{map_50_95.before:.3f}", "1.000"]
                boxes = f"{report.agreement.boxes:.3f}"
                yield [method.value, granularity.value, f"{map_50.after:.3f}", f"{map_50_95.after:.3f}", boxes]

    print_table(["method", "scales per", "mAP@0.5", "mAP@[.5:.95]", "boxes, F1 against float"], rows())


def depthwise(data: Path, saved: Path) -> None:
    """Print accuracy of a MobileNetV2-style network at W8A8, with channels as trained and badly scaled."""
    network = with_relu(trained(data, saved))
    metadata = classifier(MEAN, STD)

    def rows() -> Iterable[list[str]]:
        for spread in (0.0, 2.0, 3.0):
            content = export(badly_scaled(network, spread), [1, 3, 32, 32]).SerializeToString()
            for granularity in Granularity:
                scores = []
                before = 0.0
                for method in METHODS:
                    report = report_on(
                        content, metadata, data / "cifar10" / "test.zip", DatasetKind.IMAGES,
                        method=method, bits=8, granularity=granularity,
                    )  # fmt: skip
                    before = report.quality[0].before
                    scores.append(f"{100 * report.quality[0].after:.2f}")
                factors = "as trained" if not spread else f"e^±{spread:.0f}"
                yield [factors, granularity.value, f"{100 * before:.2f}", *scores]

    print_table(["channel factors", "scales per", "float", *(method.value for method in METHODS)], rows())


def trained(data: Path, saved: Path) -> DepthwiseNetwork:
    """Return the network in the file ``saved``, after training it if the file does not exist."""
    network = DepthwiseNetwork()
    if not saved.exists():
        torch.set_num_threads(1)
        images, classes = load(data / "cifar10" / "train.zip")
        network = train(images, classes, epochs=EPOCHS, bfloat16=_has_amx())
        torch.save(network.state_dict(), saved)
    network.load_state_dict(torch.load(saved, weights_only=True))
    return network.eval()


def _has_amx() -> bool:
    path = Path("/proc/cpuinfo")
    return path.exists() and "amx_bf16" in path.read_text(encoding="utf-8", errors="replace")


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["resnet20", "fastestdet", "depthwise"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument(
        "--network", type=Path, default=Path("depthwise.pt"), help="file of the trained depthwise network"
    )
    arguments = parser.parse_args()
    start = time.monotonic()
    if arguments.table == "depthwise":
        depthwise(arguments.data, arguments.network)
    elif arguments.table == "fastestdet":
        fastestdet(arguments.data)
    else:
        resnet20(arguments.data)
    print(f"\n{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
