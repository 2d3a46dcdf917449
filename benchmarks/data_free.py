"""Accuracy by method, bits and minutes: the tables of docs/quantization.md on tuning without data.

Every row is a whole job without its queue: made, tuned, written, and graded by ONNX Runtime on the served file. The
budget is wall-clock time of synthesis and tuning together, so run nothing beside it. Rows are kept in a file as they
come, so that a run that was cut off goes on where it was:

    python -m benchmarks.data_free run resnet20 --data ../shared/data
    python -m benchmarks.data_free run resnet20 --method auto --bits W4A4 --minutes 6 --seed 0
    python -m benchmarks.data_free table

With ``--inputs`` some of the images that a row made are kept too, and ``sheet`` puts those of all methods side by
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
from faceter.cli.export_torch import export
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ChannelOrder, ModelMetadata, Preprocessing, Task
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_inputs
from faceter.graphs.canonical import canonicalize
from faceter.graphs.fold import fold_batch_norms
from workers.figures.contact_sheet import image_sheet
from workers.figures.pixels import to_pixels
from workers.host import processor_count, processor_name
from workers.quantization.data import Data
from workers.quantization.pipeline import quantize

RESULTS = Path(__file__).parent / "results" / "data_free.jsonl"
ROUNDING = (QuantizationMethod.RQ, QuantizationMethod.DFQ, QuantizationMethod.ACIQ)
DATA_FREE = (QuantizationMethod.ZEROQ, QuantizationMethod.GDFQ, QuantizationMethod.ZAQ, QuantizationMethod.AUTO)
_ON_SHEET, _KEPT = 16, 2000
BITS = ("W8A8", "W6A6", "W4A4", "W3A3", "W2A4", "W2A2")


@dataclass(frozen=True)
class Row:
    """One job to be done.

    Args:
        network: Which network.
        method: Which method.
        bits: Such as W4A4.
        minutes: Budget; 0 for a method that is not tuned.
        seed: Random seed.
    """

    network: str
    method: str
    bits: str
    minutes: float
    seed: int


@dataclass(frozen=True)
class Subject:
    """A network and what it is graded on."""

    content: bytes
    metadata: ModelMetadata
    evaluation: Path
    kind: DatasetKind
    calibration: Path


def rows_of(network: str) -> Iterator[Row]:
    """Yield the rows of a network's table, those that matter most first."""
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


def subject(network: str, data: Path, kept: Path) -> Subject:
    """Return a network; those that are trained here are kept in ``kept``."""
    cifar = data / "cifar10"
    if network in ("resnet20", "folded"):
        metadata = classifier((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        content = (cifar / "resnet20.onnx").read_bytes()
        if network == "folded":
            content = fold_batch_norms(canonicalize(onnx.load_from_string(content))).model.SerializeToString()
        return Subject(content, metadata, cifar / "test.zip", DatasetKind.IMAGES, cifar / "train.zip")
    if network == "depthwise":
        from benchmarks.depthwise_network import MEAN, STD

        content = export(trained(data, kept / "depthwise.pt"), [1, 3, 32, 32]).SerializeToString()
        return Subject(content, classifier(MEAN, STD), cifar / "test.zip", DatasetKind.IMAGES, cifar / "train.zip")
    if network == "ecg":
        from benchmarks import ecg_network as ecg

        folder = kept / "ecg"
        ecg.make(folder)
        content = (folder / ecg.MODEL).read_bytes()
        return Subject(content, ecg.metadata(), folder / ecg.TEST, DatasetKind.SIGNALS, folder / ecg.TRAIN)
    preprocessing = Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR)
    metadata = ModelMetadata(task=Task.OBJECT_DETECTION, preprocessing=preprocessing, detection=DECODING)
    photographs = data / "detection" / "indoor.zip"
    content = (data / "detection" / "fastestdet.onnx").read_bytes()
    return Subject(content, metadata, photographs, DatasetKind.DETECTION, photographs)


def measured(row: Row, found: Subject, inputs: Path | None = None) -> dict[str, object]:
    """Do a row's job and return it with its figures; keep some of the images it made in a folder, if there is one."""
    weight_bits, activation_bits = (int(text) for text in row.bits[1:].split("A"))
    method = QuantizationMethod(row.method)
    settings = Settings(_env_file=None)
    wanted = {"evaluation_dataset": (found.evaluation, found.kind)}
    if method is QuantizationMethod.FT:
        wanted["calibration_dataset"] = (found.calibration, found.kind)
    request = QuantizationRequest(
        method=method,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        max_minutes=row.minutes or None,
        seed=row.seed,
        **dict.fromkeys(wanted, "dts_benchmark"),
    )
    opened = {role: open_inputs(path, kind, settings) for role, (path, kind) in wanted.items()}
    records = {role: record_of(path, kind, len(opened[role])) for role, (path, kind) in wanted.items()}
    data = Data(opened.get("calibration_dataset"), opened["evaluation_dataset"], records)
    started = time.monotonic()
    done = quantize(found.content, found.metadata, request, data, settings)
    report, made = done.report, done.made.synthetic
    took = time.monotonic() - started
    if inputs is not None and made is not None and found.metadata.preprocessing is not None:
        inputs.mkdir(parents=True, exist_ok=True)
        pixels = to_pixels(_spread(made, _KEPT), found.metadata.preprocessing)
        np.save(inputs / _name(row.network, row.method, row.bits), pixels)
    for dataset in opened.values():
        dataset.close()
    return {
        **asdict(row),
        "quality": {item.metric: [round(item.before, 4), round(item.after, 4)] for item in report.quality},
        "agreement": report.agreement.top1 if report.agreement.boxes is None else report.agreement.boxes,
        "seconds": round(report.tuning.seconds if report.tuning else took, 1),
        "whole_job_seconds": round(took, 1),
        "steps": report.tuning.steps if report.tuning else 0,
        "precision": report.tuning.precision if report.tuning else None,
        "compiled": report.tuning.compiled if report.tuning else None,
        "host": f"{processor_name()}, {processor_count()} cores",
    }


def kept_rows(path: Path) -> dict[Row, dict[str, object]]:
    """Return the rows that were measured, the last of each."""
    if not path.exists():
        return {}
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {Row(*(item[name] for name in Row.__dataclass_fields__)): item for item in found}


def run(options: argparse.Namespace) -> None:
    """Measure the rows asked for that are not there yet."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    found = subject(options.network, options.data, options.kept)
    for row in dict.fromkeys(rows_of(options.network)):
        if not _wanted(row, options) or (row in kept_rows(options.results) and not options.again):
            continue
        line = measured(row, found, options.inputs)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _wanted(row: Row, options: argparse.Namespace) -> bool:
    asked = {"method": options.method, "bits": options.bits, "minutes": options.minutes, "seed": options.seed}
    return all(not values or getattr(row, name) in values for name, values in asked.items())


def table(options: argparse.Namespace) -> None:
    """Print what was measured: one table for each network and score."""
    rows = kept_rows(options.results)
    for network in dict.fromkeys(row.network for row in rows):
        mine = {row: item for row, item in rows.items() if row.network == network}
        for metric in dict.fromkeys(name for item in mine.values() for name in _scores(item)):
            print(f"\n{network}, {metric}, float {_float(mine.values(), metric):.4g}\n")
            widths = [bits for bits in BITS if any(row.bits == bits for row in mine)]
            lines = dict.fromkeys((row.method, row.minutes) for row in mine)
            print_table(
                ["method", "minutes", *widths],
                (
                    [method, f"{minutes:g}", *(_cell(mine, metric, method, minutes, b) for b in widths)]
                    for method, minutes in lines
                ),
            )


def sheet(options: argparse.Namespace) -> None:
    """Draw what each method made for one network and width, side by side."""
    (bits,) = options.bits
    pages = []
    for method in DATA_FREE:
        path = options.inputs / _name(options.network, method, bits)
        if path.exists():
            images = _spread(np.load(path), _ON_SHEET)
            pages.append(Image.open(io.BytesIO(image_sheet(images, title=f"{method}, {bits}"))))
    whole = Image.new("RGB", (sum(page.width for page in pages), max(page.height for page in pages)), "white")
    for index, page in enumerate(pages):
        whole.paste(page, (sum(other.width for other in pages[:index]), 0))
    options.image.parent.mkdir(parents=True, exist_ok=True)
    whole.save(options.image)


def _spread(made: NDArray[Any], most: int) -> NDArray[Any]:
    """Return at most so many of what was made, spread over all."""
    chosen: NDArray[Any] = made[np.linspace(0, len(made) - 1, min(most, len(made))).astype(int)]
    return chosen


def _name(network: str, method: str, bits: str) -> str:
    return f"{network}-{method}-{bits}.npy"


def _scores(item: dict[str, object]) -> dict[str, list[float]]:
    """Return each score before and after, and the agreement with the float network, which is 1 before."""
    quality, agreement = item["quality"], item["agreement"]
    assert isinstance(quality, dict)
    assert isinstance(agreement, float)
    name = "same class as float" if "top1" in quality else "boxes, F1 against float"
    return {**quality, name: [1.0, agreement]}


def _float(items: Iterable[dict[str, object]], metric: str) -> float:
    return next(100 * _scores(item)[metric][0] for item in items if metric in _scores(item))


def _cell(rows: dict[Row, dict[str, object]], metric: str, method: str, minutes: float, bits: str) -> str:
    """Return the score, or its mean ± deviation over seeds."""
    found = [
        100 * _scores(item)[metric][1]
        for row, item in rows.items()
        if (row.method, row.minutes, row.bits) == (method, minutes, bits)
    ]
    if len(found) > 1:
        return f"{mean(found):.2f} ± {stdev(found):.2f}"
    return f"{found[0]:.2f}" if found else ""


def main() -> None:
    """Measure rows, or print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "table", "sheet"])
    parser.add_argument(
        "network",
        nargs="?",
        choices=["resnet20", "folded", "fastestdet", "depthwise", "ecg"],
        default="resnet20",
        help="folded is resnet20 without its BatchNorm, as most exporters write it",
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of models and datasets")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where rows are kept")
    parser.add_argument(
        "--kept", type=Path, default=Path("benchmarks-kept"), help="where networks trained here are kept"
    )
    parser.add_argument("--method", nargs="*", help="only these methods")
    parser.add_argument("--bits", nargs="*", help="only these widths, such as W4A4")
    parser.add_argument("--minutes", nargs="*", type=float, help="only these budgets")
    parser.add_argument("--seed", nargs="*", type=int, help="only these seeds")
    parser.add_argument("--inputs", type=Path, help="folder for some of the images that were made")
    parser.add_argument("--image", type=Path, default=Path("synthetic.png"), help="what sheet draws")
    parser.add_argument("--again", action="store_true", help="measure rows that are there already once more")
    options = parser.parse_args()
    {"run": run, "table": table, "sheet": sheet}[options.action](options)


if __name__ == "__main__":
    main()
