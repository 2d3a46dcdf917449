"""The dataset of the synthetic inputs that a tuned method generated."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.base import Provenance, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.quantizations import QuantizationReport
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.signals import signals_file
from workers.figures.contact_sheet import image_sheet, signal_sheet
from workers.figures.pixels import Pixels, to_pixels
from workers.files import store_file
from workers.jobs.context import JobContext
from workers.quantization.optimized import OptimizedNetwork

CONTACT_SHEET = "contact-sheet.png"

_MAX_BYTES = 256 * 2**20
_MAX_SAMPLES = 2048
_ON_SHEET = 64
_EPOCH = (1980, 1, 1, 0, 0, 0)

Inputs = NDArray[np.float32]


def synthetic_dataset(
    context: JobContext, model: Model, optimized: OptimizedNetwork, provenance: Provenance
) -> Dataset | None:
    """Store the generated inputs as a dataset with a contact sheet; return it, or None if there are none.

    Images are rounded to 8 bits, in class folders if the float network classifies. Inputs that are neither images nor
    signals [N, C, L] have no kind of dataset yet.

    Args:
        model: The float model.
        provenance: Of the quantized model.
    """
    if optimized.synthetic is None or not len(optimized.synthetic):
        return None
    inputs, labels = _limited(optimized.synthetic, optimized.labels)
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
    verified = verify_dataset(context.library.blobs.path(blob.sha256), kind, context.settings)
    path = optimized.tuning.path if optimized.tuning else "no data"
    return Dataset(
        id=context.new_id("dts"),
        name=f"{model.name[:180]}-synthetic",
        kind=kind,
        created_at=utc_now(),
        sha256=blob.sha256,
        bytes=blob.bytes,
        samples=verified.samples,
        classes=verified.classes,
        class_counts=verified.class_counts,
        warnings=[f"made from the model alone: {path}", *verified.warnings],
        derived_from_id=model.id,
        provenance=provenance,
        files={CONTACT_SHEET: store_file(context, sheet, "image/png")},
    )


def with_dataset(report: QuantizationReport, dataset: Dataset | None) -> QuantizationReport:
    """Return a report with the id of the synthetic dataset."""
    if dataset is None or report.tuning is None:
        return report
    tuning = report.tuning.model_copy(update={"synthetic_dataset_id": dataset.id})
    return report.model_copy(update={"tuning": tuning})


def classes_of(labels: NDArray[np.int64] | None, metadata: ModelMetadata) -> list[str] | None:
    """Return the names of the model's classes; None if a label has no name, or two classes have the same."""
    names = metadata.labels
    if labels is None or names is None or labels.max(initial=0) >= len(names) or len(set(names)) < len(names):
        return None
    return names


def class_names(labels: NDArray[np.int64], metadata: ModelMetadata) -> list[str]:
    """Return the name of each label: the model's class name, else its number."""
    names = classes_of(labels, metadata)
    return [str(label) if names is None else names[label] for label in labels]


def image_archive(pixels: Pixels, names: Sequence[str] | None) -> bytes:
    """Return a zip of images as PNG, in class folders if the names can name a folder.

    Args:
        pixels: uint8 [N, 3 or 1, H, W].
        names: The class of each image.
    """
    in_folders = names is not None and len(set(names)) > 1 and all(_is_folder_name(name) for name in names)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, values in enumerate(pixels):
            image = Image.fromarray(values[0] if len(values) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0)))
            file = io.BytesIO()
            image.save(file, "PNG")
            folder = f"{names[index]}/" if in_folders and names is not None else ""
            archive.writestr(zipfile.ZipInfo(f"{folder}{index:05d}.png", _EPOCH), file.getvalue())
    return buffer.getvalue()


def _limited(inputs: Inputs, labels: NDArray[np.int64] | None) -> tuple[Inputs, NDArray[np.int64] | None]:
    """Return at most 2048 evenly spaced inputs and 256 MiB."""
    limit = max(1, min(_MAX_SAMPLES, _MAX_BYTES // max(1, inputs[0].nbytes)))
    if len(inputs) <= limit:
        return inputs, labels
    chosen = np.linspace(0, len(inputs) - 1, limit).astype(int)
    return inputs[chosen], None if labels is None else labels[chosen]


def _is_folder_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set('/\\:*?"<>|') and name.isprintable() and name[0] != "."
