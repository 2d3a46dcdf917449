"""What a tuned quantization leaves beside its model: curves, and the synthetic inputs as a dataset."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from faceter.contracts.base import Provenance, StoredFile, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.quantizations import CurvePoint, QuantizationReport
from faceter.datasets.kinds import check
from faceter.datasets.signals import signals_file
from workers.figures.contact_sheet import image_sheet, signal_sheet
from workers.figures.curves import curves_png
from workers.figures.pixels import Pixels, to_pixels
from workers.figures.trade_off import trade_off_png
from workers.files import stored
from workers.quantization.context import Context
from workers.quantization.tuned import TunedOutcome

CURVES = "curves.json"
CURVES_IMAGE = "curves.png"
TRADE_OFF_IMAGE = "trade-off.png"
CONTACT_SHEET = "contact-sheet.png"

_MOST_BYTES = 256 * 2**20
_MOST_SAMPLES = 2048
_ON_SHEET = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)

Inputs = NDArray[np.float32]


def report_files(context: Context, report: QuantizationReport, made: TunedOutcome) -> dict[str, StoredFile]:
    """Keep the curves and images that belong to a model; return them by name.

    Args:
        context: The job.
        report: The model's.
        made: What the method made.
    """
    files: dict[str, StoredFile] = {}
    if made.curves:
        points = list(made.curves)
        text = TypeAdapter(list[CurvePoint]).dump_json(points)
        files[CURVES] = stored(context, text, "application/json")
        files[CURVES_IMAGE] = stored(context, curves_png(points), "image/png")
    if report.trade_off is not None:
        files[TRADE_OFF_IMAGE] = stored(context, trade_off_png(report.trade_off), "image/png")
    return files


def synthetic_dataset(context: Context, model: Model, made: TunedOutcome, provenance: Provenance) -> Dataset | None:
    """Keep the inputs that were made as a dataset with a contact sheet; return it, None if there are none.

    Images lie in class folders where the float network classifies. They are rounded to 8 bits. Inputs that are
    neither images nor signals [N, C, L] have no kind of dataset yet.

    Args:
        context: The job.
        model: The float model.
        made: What the method made.
        provenance: That of the quantized model.
    """
    if made.synthetic is None or not len(made.synthetic):
        return None
    inputs, labels = _spread(made.synthetic, made.labels)
    names = None if labels is None else class_names(labels, model.metadata)
    if model.metadata.preprocessing is not None and inputs.ndim == 4:
        pixels = to_pixels(inputs, model.metadata.preprocessing)
        kind, content = DatasetKind.IMAGES, image_archive(pixels, names)
        sheet = image_sheet(pixels[:_ON_SHEET], None if names is None else names[:_ON_SHEET])
    elif inputs.ndim == 3:
        kind, content = DatasetKind.SIGNALS, signals_file(inputs, labels, classes_of(labels, model.metadata))
        sheet = signal_sheet(inputs[:_ON_SHEET], None if names is None else names[:_ON_SHEET])
    else:
        return None
    blob = context.store_blob(content)
    found = check(context.library.blobs.path(blob.sha256), kind, context.settings)
    return Dataset(
        id=context.new_id("dts"),
        name=f"{model.name[:180]}-synthetic",
        kind=kind,
        created_at=utc_now(),
        sha256=blob.sha256,
        bytes=blob.bytes,
        samples=found.samples,
        classes=found.classes,
        class_counts=found.class_counts,
        warnings=[f"made from the model alone: {made.tuning.path if made.tuning else 'no data'}", *found.notes],
        derived_from_id=model.id,
        provenance=provenance,
        files={CONTACT_SHEET: stored(context, sheet, "image/png")},
    )


def with_dataset(report: QuantizationReport, dataset: Dataset | None) -> QuantizationReport:
    """Return a report that names the dataset made."""
    if dataset is None or report.tuning is None:
        return report
    tuning = report.tuning.model_copy(update={"synthetic_dataset_id": dataset.id})
    return report.model_copy(update={"tuning": tuning})


def classes_of(labels: NDArray[np.int64] | None, metadata: ModelMetadata) -> list[str] | None:
    """Return the names of the model's classes; None if it has none for some label, or the same one twice."""
    names = metadata.labels
    if labels is None or names is None or labels.max(initial=0) >= len(names) or len(set(names)) < len(names):
        return None
    return names


def class_names(labels: NDArray[np.int64], metadata: ModelMetadata) -> list[str]:
    """Return the name of each label: the model's own where it has them, else its number."""
    names = classes_of(labels, metadata)
    return [str(label) if names is None else names[label] for label in labels]


def image_archive(pixels: Pixels, names: Sequence[str] | None) -> bytes:
    """Return a zip of images as PNG, in class folders where there are names that can name a folder.

    Args:
        pixels: uint8 [N, 3 or 1, H, W].
        names: The class of each.
    """
    in_folders = names is not None and len(set(names)) > 1 and all(_names_folder(name) for name in names)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, values in enumerate(pixels):
            image = Image.fromarray(values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))
            file = io.BytesIO()
            image.save(file, "PNG")
            folder = f"{names[index]}/" if in_folders and names is not None else ""
            archive.writestr(zipfile.ZipInfo(f"{folder}{index:05d}.png", _EPOCH), file.getvalue())
    return buffer.getvalue()


def _spread(inputs: Inputs, labels: NDArray[np.int64] | None) -> tuple[Inputs, NDArray[np.int64] | None]:
    """Return at most 2048 inputs and 256 MiB, spread over all there are."""
    most = max(1, min(_MOST_SAMPLES, _MOST_BYTES // max(1, inputs[0].nbytes)))
    if len(inputs) <= most:
        return inputs, labels
    chosen = np.linspace(0, len(inputs) - 1, most).astype(int)
    return inputs[chosen], None if labels is None else labels[chosen]


def _names_folder(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|') and name.isprintable() and name[0] != "."
