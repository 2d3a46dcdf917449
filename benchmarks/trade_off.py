"""The trade-off curve of a mixed-precision run on ResNet-20: size against accuracy, and the selected point.

Bits are allocated per weight so that accuracy on the test images drops by at most the target; the network is tuned
without data. Prints the measured points and draws all points:

    python -m benchmarks.trade_off --data ../shared/data --max-drop 1 --minutes 6 --image trade-off.png
"""

import argparse
import time
from pathlib import Path

from benchmarks.post_training import classifier, print_table
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.quantizations import QuantizationMethod, QuantizationReport, QuantizationRequest, Target
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from workers.figures.trade_off import trade_off_png
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize


def measure(options: argparse.Namespace) -> QuantizationReport:
    """Quantize with a target and return the report."""
    settings = Settings(_env_file=None)
    target = Target(max_bytes=options.max_bytes) if options.max_bytes else Target(max_drop=options.max_drop)
    request = QuantizationRequest(
        method=QuantizationMethod(options.method),
        target=target,
        max_minutes=options.minutes,
        seed=options.seed,
        evaluation_dataset_id="dts_benchmark",
    )
    cifar = options.data / "cifar10"
    evaluation = ImagesDataset.open(cifar / "test.zip", settings)
    record = Dataset(
        id="dts_benchmark",
        name="test",
        kind=DatasetKind.IMAGES,
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=(cifar / "test.zip").stat().st_size,
        samples=len(evaluation),
    )
    metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    content = (cifar / "resnet20.onnx").read_bytes()
    try:
        data = JobDatasets(evaluation=evaluation, records={"evaluation_dataset": record})
        return quantize(content, metadata, request, data, settings).report
    finally:
        evaluation.close()


def main() -> None:
    """Run once, print the measured points, and draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--method", default="auto", help="auto, zeroq, gdfq or zaq")
    parser.add_argument("--max-drop", type=float, default=1.0, help="largest drop of accuracy, in points")
    parser.add_argument("--max-bytes", type=int, help="largest size of the weights, instead of --max-drop")
    parser.add_argument("--minutes", type=float, default=6.0, help="budget of synthesis, bit allocation and tuning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image", type=Path, default=Path("trade-off.png"), help="output file")
    options = parser.parse_args()
    start = time.monotonic()
    report = measure(options)
    trade_off = report.trade_off
    assert trade_off is not None
    options.image.write_bytes(trade_off_png(trade_off, f"ResNet-20, {options.method}"))
    print_table(
        ["KiB", "predicted agreement", f"measured {trade_off.measure}", "after", "bits", "mean"],
        (
            [
                f"{point.weight_bytes / 1024:.1f}",
                "" if point.predicted is None else f"{100 * point.predicted:.1f}",
                f"{100 * point.measured:.2f}",
                "tuning" if point.tuned else "rounding",
                f"{min(point.bits.values())} to {max(point.bits.values())}",
                f"{8 * point.weight_bytes / (report.size.weights_before / 4):.2f}"
                + (" ← selected" if selected else ""),
            ]
            for index, point in enumerate(trade_off.points)
            if point.measured is not None
            for selected in [index == trade_off.chosen]
        ),
    )
    print(f"\nfloat {100 * trade_off.original:.2f} in {report.size.weights_before / 1024:.1f} KiB of weights")
    print(*(f"- {note}" for note in report.warnings), sep="\n")
    if report.tuning is not None:
        spent = ", ".join(f"{phase.name} {phase.seconds:.0f} s" for phase in report.tuning.phases)
        print(f"\n{spent}; the whole job {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
