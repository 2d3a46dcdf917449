"""Accuracy by method, bits and minutes: the tables of docs/how-it-works/measurements/quantization.md.

Every row is a whole job without the queue: synthesis, tuning, writing, and evaluation of the served file by ONNX
Runtime. The budget is wall-clock time of synthesis and tuning together, so run nothing else on the host. Rows are
appended to a file, and an interrupted run continues after the last one:

    python -m benchmarks.data_free run resnet20 --data ../shared/data
    python -m benchmarks.data_free run resnet20 --method auto --bits W4A4 --minutes 6 --seed 0
    python -m benchmarks.data_free table

With ``--inputs`` some of the synthetic images of each row are saved, and ``sheet`` draws those of all methods side by
side:

    python -m benchmarks.data_free sheet resnet20 --bits W4A4 --inputs made --image docs/images/synthetic.png
"""

import argparse
import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from benchmarks.fastestdet import DECODING
from benchmarks.post_training import classifier, print_table, record_of, trained
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_inputs
from faceter.export.module import export
from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.host import processor_count, processor_name
from workers.figures.contact_sheet import image_sheet
from workers.figures.pixels import to_pixels
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize

RESULTS = Path(__file__).parent / "results" / "data_free.jsonl"
ROUNDING = (QuantizationMethod.RQ, QuantizationMethod.DFQ, QuantizationMethod.ACIQ)
DATA_FREE = (QuantizationMethod.ZEROQ, QuantizationMethod.GDFQ, QuantizationMethod.ZAQ, QuantizationMethod.AUTO)
_SHEET_IMAGES, _SAVED_IMAGES = 16, 2000
BITS = ("W8A8", "W6A6", "W4A4", "W3A3", "W2A4", "W2A2")


@dataclass(frozen=True)
class Row:
    """The settings of one job: bits such as W4A4; 0 minutes for methods without tuning."""

    network: str
    method: str
    bits: str
    minutes: float
    seed: int


@dataclass(frozen=True)
class Workload:
    """A network with its evaluation and calibration data."""

    content: bytes
    metadata: ModelMetadata
    evaluation: Path
    kind: DatasetKind
    calibration: Path


def rows_of(network: str) -> Iterator[Row]:
    """Yield the rows of a network's table, the most important first."""
    if network == "resnet20":
        for bits in BITS:
            for method in ROUNDING:
                yield Row(network, method, bits, 0, 0)
        for bits in ("W4A4", "W2A2", "W3A3", "W2A4"):
            for method in (QuantizationMethod.AUTO, QuantizationMethod.FT):
                yield Row(network, method, bits, 6, 0)
        for bits in ("W4A4", "W3A3", "W2A4", "W2A2", "W6A6", "W8A8"):
            for method in (*DATA_FREE, QuantizationMethod.FT):
                yield Row(network, method, bits, 6, 0)
        for bits in ("W8A8", "W6A6"):
            yield Row(network, QuantizationMethod.AUTO, bits, 1, 0)
        for seed in (1, 2):
            for method in (*DATA_FREE, QuantizationMethod.FT):
                yield Row(network, method, "W4A4", 6, seed)
        for bits in ("W4A4", "W3A3", "W2A4", "W2A2"):
            for method in (QuantizationMethod.AUTO, QuantizationMethod.FT):
                yield Row(network, method, bits, 20, 0)
        return
    widths = {
        "folded": ("W4A4", "W3A3"),
        "fastestdet": ("W8A8", "W6A6", "W4A4"),
        "depthwise": ("W4A4",),
        "ecg": ("W8A8", "W4A4", "W3A3"),
    }[network]
    tuned = {
        "folded": (QuantizationMethod.ZAQ, QuantizationMethod.AUTO, QuantizationMethod.FT),
        "fastestdet": (QuantizationMethod.ZAQ, QuantizationMethod.AUTO),
        "depthwise": (*DATA_FREE, QuantizationMethod.FT),
        "ecg": (QuantizationMethod.ZAQ, QuantizationMethod.AUTO, QuantizationMethod.FT),
    }[network]
    for bits in widths:
        for method in ROUNDING if network == "folded" else (QuantizationMethod.RQ,):
            yield Row(network, method, bits, 0, 0)
        for method in tuned:
            yield Row(network, method, bits, 6 if network != "ecg" else 2, 0)


def workload(network: str, data: Path, trained_networks: Path) -> Workload:
    """Return a network with its data; networks trained here are saved in ``trained_networks``."""
    cifar = data / "cifar10"
    if network in ("resnet20", "folded"):
        metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        content = (cifar / "resnet20.onnx").read_bytes()
        if network == "folded":
            content = fold_batch_norms(canonicalize(onnx.load_from_string(content))).model.SerializeToString()
        return Workload(content, metadata, cifar / "test.zip", DatasetKind.IMAGES, cifar / "train.zip")
    if network == "depthwise":
        from benchmarks.depthwise_network import MEAN, STD

        content = export(trained(data, trained_networks / "depthwise.pt"), [1, 3, 32, 32]).SerializeToString()
        return Workload(content, classifier(MEAN, STD), cifar / "test.zip", DatasetKind.IMAGES, cifar / "train.zip")
    if network == "ecg":
        from benchmarks import ecg_network as ecg

        folder = trained_networks / "ecg"
        ecg.make(folder)
        content = (folder / ecg.MODEL).read_bytes()
        return Workload(content, ecg.metadata(), folder / ecg.TEST, DatasetKind.SIGNALS, folder / ecg.TRAIN)
    preprocessing = Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR)
    metadata = ModelMetadata(task=Task.OBJECT_DETECTION, preprocessing=preprocessing, detection=DECODING)
    photographs = data / "detection" / "indoor.zip"
    content = (data / "detection" / "fastestdet.onnx").read_bytes()
    return Workload(content, metadata, photographs, DatasetKind.DETECTION, photographs)


def measure(row: Row, job: Workload, inputs: Path | None = None) -> dict[str, object]:
    """Run the job of a row and return its results; save some of its synthetic images to ``inputs``."""
    weight_bits, activation_bits = (int(text) for text in row.bits[1:].split("A"))
    method = QuantizationMethod(row.method)
    settings = Settings(_env_file=None)
    datasets = {"evaluation_dataset": (job.evaluation, job.kind)}
    if method is QuantizationMethod.FT:
        datasets["calibration_dataset"] = (job.calibration, job.kind)
    request = QuantizationRequest(
        method=method,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        max_minutes=row.minutes or None,
        seed=row.seed,
        **dict.fromkeys((f"{role}_id" for role in datasets), "dts_benchmark"),
    )
    opened = {role: open_inputs(path, kind, settings) for role, (path, kind) in datasets.items()}
    records = {role: record_of(path, kind, len(opened[role])) for role, (path, kind) in datasets.items()}
    data = JobDatasets(opened.get("calibration_dataset"), opened["evaluation_dataset"], records)
    start = time.monotonic()
    done = quantize(job.content, job.metadata, request, data, settings)
    report, made = done.report, done.optimized.synthetic
    seconds = time.monotonic() - start
    if inputs is not None and made is not None and job.metadata.preprocessing is not None:
        inputs.mkdir(parents=True, exist_ok=True)
        pixels = to_pixels(_evenly_spaced(made, _SAVED_IMAGES), job.metadata.preprocessing)
        np.save(inputs / _name(row.network, row.method, row.bits), pixels)
    for dataset in opened.values():
        dataset.close()
    return {
        **asdict(row),
        "quality": {item.metric: [round(item.before, 4), round(item.after, 4)] for item in report.quality},
        "agreement": report.agreement.top1 if report.agreement.boxes is None else report.agreement.boxes,
        "seconds": round(report.tuning.seconds if report.tuning else seconds, 1),
        "whole_job_seconds": round(seconds, 1),
        "steps": report.tuning.steps if report.tuning else 0,
        "precision": report.tuning.precision if report.tuning else None,
        "compiled": report.tuning.compiled if report.tuning else None,
        "host": f"{processor_name()}, {processor_count()} cores",
    }


def saved_rows(path: Path) -> dict[Row, dict[str, object]]:
    """Return the saved results by row; the last one if a row was measured repeatedly."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {Row(*(item[name] for name in Row.__dataclass_fields__)): item for item in lines}


def run(options: argparse.Namespace) -> None:
    """Measure the selected rows that are not saved yet."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    job = workload(options.network, options.data, options.kept)
    for row in dict.fromkeys(rows_of(options.network)):
        if not _selected(row, options) or (row in saved_rows(options.results) and not options.again):
            continue
        line = measure(row, job, options.inputs)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _selected(row: Row, options: argparse.Namespace) -> bool:
    filters = {"method": options.method, "bits": options.bits, "minutes": options.minutes, "seed": options.seed}
    return all(not values or getattr(row, name) in values for name, values in filters.items())


def table(options: argparse.Namespace) -> None:
    """Print one table per network and metric."""
    rows = saved_rows(options.results)
    for network in dict.fromkeys(row.network for row in rows):
        of_network = {row: item for row, item in rows.items() if row.network == network}
        for metric in dict.fromkeys(name for item in of_network.values() for name in _scores(item)):
            print(f"\n{network}, {metric}, float {_float(of_network.values(), metric):.4g}\n")
            widths = [bits for bits in BITS if any(row.bits == bits for row in of_network)]
            lines = dict.fromkeys((row.method, row.minutes) for row in of_network)
            print_table(
                ["method", "minutes", *widths],
                (
                    [method, f"{minutes:g}", *(_cell(of_network, metric, method, minutes, b) for b in widths)]
                    for method, minutes in lines
                ),
            )


def sheet(options: argparse.Namespace) -> None:
    """Draw the synthetic images of each method for one network and bit width, side by side."""
    (bits,) = options.bits
    pages = []
    for method in DATA_FREE:
        path = options.inputs / _name(options.network, method, bits)
        if path.exists():
            images = _evenly_spaced(np.load(path), _SHEET_IMAGES)
            pages.append(Image.open(io.BytesIO(image_sheet(images, title=f"{method}, {bits}"))))
    whole = Image.new("RGB", (sum(page.width for page in pages), max(page.height for page in pages)), "white")
    for index, page in enumerate(pages):
        whole.paste(page, (sum(other.width for other in pages[:index]), 0))
    options.image.parent.mkdir(parents=True, exist_ok=True)
    whole.save(options.image)


def _evenly_spaced(images: NDArray[Any], count: int) -> NDArray[Any]:
    """Return at most ``count`` images, evenly spaced."""
    chosen: NDArray[Any] = images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)]
    return chosen


def _name(network: str, method: str, bits: str) -> str:
    return f"{network}-{method}-{bits}.npy"


def _scores(item: dict[str, object]) -> dict[str, list[float]]:
    """Return each metric before and after, and the agreement with the float network (1 before)."""
    quality, agreement = item["quality"], item["agreement"]
    assert isinstance(quality, dict)
    assert isinstance(agreement, float)
    name = "same class as float" if "top1" in quality else "boxes, F1 against float"
    return {**quality, name: [1.0, agreement]}


def _float(items: Iterable[dict[str, object]], metric: str) -> float:
    return next(100 * _scores(item)[metric][0] for item in items if metric in _scores(item))


def _cell(rows: dict[Row, dict[str, object]], metric: str, method: str, minutes: float, bits: str) -> str:
    """Return the score, or mean ± standard deviation over seeds."""
    values = [
        100 * _scores(item)[metric][1]
        for row, item in rows.items()
        if (row.method, row.minutes, row.bits) == (method, minutes, bits)
    ]
    if len(values) > 1:
        return f"{mean(values):.2f} ± {stdev(values):.2f}"
    return f"{values[0]:.2f}" if values else ""


def main() -> None:
    """Measure rows, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table", "sheet"])
    parser.add_argument(
        "network",
        nargs="?",
        choices=["resnet20", "folded", "fastestdet", "depthwise", "ecg"],
        default="resnet20",
        help="folded is resnet20 with folded BatchNorm, as most exporters write it",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of results")
    parser.add_argument(
        "--kept", type=Path, default=Path("benchmarks-kept"), help="folder of networks that are trained here"
    )
    parser.add_argument("--method", nargs="*", help="only these methods")
    parser.add_argument("--bits", nargs="*", help="only these widths, such as W4A4")
    parser.add_argument("--minutes", nargs="*", type=float, help="only these budgets")
    parser.add_argument("--seed", nargs="*", type=int, help="only these seeds")
    parser.add_argument("--inputs", type=Path, help="folder for synthetic images")
    parser.add_argument("--image", type=Path, default=Path("synthetic.png"), help="output of sheet")
    parser.add_argument("--again", action="store_true", help="also measure saved rows")
    options = parser.parse_args()
    {"run": run, "table": table, "sheet": sheet}[options.action](options)


if __name__ == "__main__":
    main()
