"""Features of a dataset under a model: a tensor of the network, averaged over what is not its channels.

They are kept as a dataset of kind ``features`` whose id follows from what it was made of, so that they are computed
once for each dataset, model and tensor, may be downloaded and used by themselves, and go when they are deleted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

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
from faceter.graphs.check import load_model
from faceter.store.library import Library
from workers.evaluation.points import Rows
from workers.host import compute_device
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import rows_in_file, scratch_folder
from workers.model_input import Batch, ImageBatches, as_input, batch_of, filled
from workers.network import OnnxModule

_NAME_LENGTH = 200

Progress = Callable[[float], None]


def embedded(
    library: Library,
    settings: Settings,
    dataset: Dataset,
    model: Model,
    source: FeatureSource,
    role: str,
    progress: Progress = lambda _: None,
) -> Dataset:
    """Return the dataset of a dataset's features under a model; made and kept if it is not there yet.

    Args:
        library: Where everything is.
        settings: Limits.
        dataset: Images or signals.
        model: Describes them.
        source: Which of its tensors does.
        role: `reference` or `generated`: which of the two sets it is.
        progress: Called with the share that is done.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else; ``INFERENCE_FAILED`` if it gives what is
            not finite or no features; ``STORAGE_FULL``.
    """
    metadata = model.metadata.model_dump_json()
    id = derived_id("dts", dataset.sha256, dataset.kind.value, model.sha256, metadata, source.tensor)
    known = library.datasets.find(id)
    if known is not None and library.blobs.exists(known.sha256):
        return known
    folder = scratch_folder(settings)
    with (
        open_inputs(library.blobs.path(dataset.sha256), dataset.kind, settings) as data,
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        blocks = features(library.blobs.read(model.sha256), model, data, source.tensor, role)
        rows = rows_in_file(_told(blocks, len(data), progress), folder, np.dtype(np.float32))
        labels = data.sample_labels(None)
        named = {} if labels is None else {"labels": labels, "classes": np.array(data.classes, np.str_)}
        np.savez(file, features=rows, **named)  # type: ignore[arg-type]
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


def features(
    content: bytes, model: Model, data: InputDataset | ImageBatches, tensor: str, role: str
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of samples in order, [B, D], a batch in memory at a time.

    Args:
        content: The model's ONNX file.
        model: Its record.
        data: The samples.
        tensor: Which tensor; axes after the second are averaged.
        role: `reference` or `generated`: which of the two sets it is.

    Raises:
        FaceterError: See `embedded`.
    """
    for values in activations(content, model, data, tensor, role):
        pooled = values.float()
        if pooled.ndim > 2:
            pooled = pooled.flatten(2).mean(2)
        found = pooled.reshape(len(pooled), -1).cpu().numpy()
        if not np.isfinite(found).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"{model.id} gives values at {tensor!r} that are not finite (NaN or infinite) for samples of {role}. "
                "Choose another tensor or another model.",
                field="features.tensor",
            )
        yield found


@torch.inference_mode()
def activations(
    content: bytes, model: Model, data: InputDataset | ImageBatches, tensor: str, role: str
) -> Iterator[Tensor]:
    """Yield a tensor of the network for samples in order, [B, …], a batch in memory at a time.

    Args:
        content: The model's ONNX file.
        model: Its record.
        data: The samples.
        tensor: Which tensor.
        role: `reference` or `generated`: which of the two sets it is.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else; ``INFERENCE_FAILED`` if the tensor's first
            axis is not that of the samples.
    """
    source = as_input(data, model.metadata, model.inputs, f"{role}_id")
    device = compute_device()
    network = OnnxModule(load_model(content, max_bytes=len(content))).to(device)
    size, fixed = batch_of(model.inputs, int(np.prod(source.shape)))
    for batch in source.batches(size, range(len(source))):
        rows: Batch = {source.name: batch.inputs}
        given = filled(rows, size) if fixed else rows
        values = torch.from_numpy(np.ascontiguousarray(given[source.name])).to(device)
        found = network(values, watch=[tensor], outputs=())[tensor]
        if found.ndim == 0 or len(found) != len(values):
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                f"The tensor {tensor!r} is {list(found.shape)} for {len(values)} samples: its first axis is not that "
                "of the samples. Choose another.",
                field="features.tensor",
            )
        yield found[: len(batch.indices)]


def _told(blocks: Iterator[Rows], count: int, progress: Progress) -> Iterator[Rows]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        progress(done / count)
