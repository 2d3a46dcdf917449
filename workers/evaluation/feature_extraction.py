"""Feature extraction: a tensor of a model, averaged over all axes but samples and channels.

Features are stored as a dataset of kind ``features`` whose id is derived from its inputs, so that they are computed
once for each dataset, model and tensor, and can be downloaded, used by themselves and deleted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.contracts.base import derived_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import InputDataset, open_inputs
from faceter.datasets.samples import ProgressFunction
from faceter.graphs.float_types import in_float32
from faceter.graphs.working import load_working_graph
from faceter.store.library import Library
from workers.evaluation.points import Rows
from workers.host import compute_device
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import rows_in_file, scratch_folder
from workers.model_input import ImageBatches, as_model_input, inference_batch_size, pad_batch, values_per_sample
from workers.onnx_module import OnnxModule

_NAME_LENGTH = 200


def feature_dataset(
    library: Library,
    settings: Settings,
    dataset: Dataset,
    model: Model,
    source: FeatureSource,
    role: str,
    progress: ProgressFunction = lambda _: None,
) -> Dataset:
    """Return the dataset of the features of a dataset; extracted and stored if it does not exist yet.

    Args:
        library: Where records and files are stored.
        settings: Limits.
        dataset: Images or signals.
        model: The feature extractor.
        source: Names its tensor.
        role: ``reference`` or ``generated``.
        progress: Called with the fraction done.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the samples do not fit the model; ``INFERENCE_FAILED`` if the tensor is
            not finite or has no features; ``STORAGE_FULL``.
    """
    metadata = model.metadata.model_dump_json()
    id = derived_id("dts", dataset.sha256, dataset.kind.value, model.sha256, metadata, source.tensor)
    stored = library.datasets.find(id)
    if stored is not None and library.blobs.exists(stored.sha256):
        return stored
    folder = scratch_folder(settings)
    with (
        open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as data,
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        blocks = extract_features(library.blobs.read(model.sha256), model, data, source.tensor, role)
        rows = rows_in_file(_with_progress(blocks, len(data), progress), folder, np.dtype(np.float32))
        labels = data.class_positions()
        label_arrays = {} if labels is None else {"labels": labels, "classes": np.array(data.classes, np.str_)}
        np.savez(file, features=rows, **label_arrays)  # type: ignore[arg-type]
        file.seek(0)
        blob = library.store_blob(file)
    try:
        return library.add(
            Dataset(
                id=id,
                name=f"{dataset.name}, {source.tensor} of {model.name}"[:_NAME_LENGTH],
                kind=DatasetKind.FEATURES,
                created_at=utc_now(),
                sha256=blob.sha256,
                bytes=blob.bytes,
                samples=dataset.samples,
                classes=dataset.classes if labels is not None else [],
                class_counts=dataset.class_counts if labels is not None else {},
                warnings=[f"computed from {dataset.id} by {model.id}, tensor {source.tensor}"],
                derived_from_id=model.id,
                provenance=provenance_of({"tensor": source.tensor}, {"dataset": dataset.sha256, "model": model.sha256}),
            )
        )
    except BaseException:
        library.discard_blob(blob.sha256)
        raise


def extract_features(
    content: bytes, model: Model, data: InputDataset | ImageBatches, tensor: str, role: str
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of samples in order, [B, D], a batch at a time.

    Args:
        content: The model's ONNX file.
        model: Its record.
        data: The samples.
        tensor: Name of the tensor; axes after the second are averaged.
        role: ``reference`` or ``generated``.

    Raises:
        FaceterError: See `feature_dataset`.
    """
    for values in activations(content, model, data, tensor, role):
        pooled = values.float()
        if pooled.ndim > 2:
            pooled = pooled.flatten(2).mean(2)
        rows = pooled.reshape(len(pooled), -1).cpu().numpy()
        if not np.isfinite(rows).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"{model.id} gives values at {tensor!r} that are not finite (NaN or infinite) for samples of {role}. "
                "Choose another tensor or another model.",
                field="features.tensor",
            )
        yield rows


@torch.inference_mode()
def activations(
    content: bytes, model: Model, data: InputDataset | ImageBatches, tensor: str, role: str
) -> Iterator[Tensor]:
    """Yield a tensor of the network for samples in order, [B, …], a batch at a time.

    Args:
        content: The model's ONNX file.
        model: Its record.
        data: The samples.
        tensor: Name of the tensor.
        role: ``reference`` or ``generated``.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the samples do not fit the model; ``INFERENCE_FAILED`` if the tensor's
            first axis is not that of the samples.
    """
    source = as_model_input(data, model.metadata, model.varying_inputs, f"{role}_id")
    device = compute_device()
    network = OnnxModule(in_float32(load_working_graph(content, model.metadata).model)).to(device)
    size, fixed = inference_batch_size(model.varying_inputs, values_per_sample(source.shapes))
    for batch in source.batches(size, range(len(source))):
        padded = pad_batch(batch.inputs, size) if fixed else batch.inputs
        count = size if fixed else len(batch.indices)
        arrays = {name: torch.from_numpy(np.ascontiguousarray(rows)).to(device) for name, rows in padded.items()}
        values = network(arrays, watch=[tensor], outputs=())[tensor]
        if values.ndim == 0 or len(values) != count:
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The tensor {tensor!r} is {list(values.shape)} for {count} samples: its first axis is not that "
                "of the samples. Choose another.",
                field="features.tensor",
            )
        yield values[: len(batch.indices)]


def _with_progress(blocks: Iterator[Rows], count: int, progress: ProgressFunction) -> Iterator[Rows]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        progress(done / count)
