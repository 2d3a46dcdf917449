"""Features are any tensor of a model, averaged over space or time, and computed once."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.signals import signals_file
from faceter.graphs.describe import input_specs, output_specs
from faceter.store.library import Library
from tests.workers.evaluation.samples import Floats
from workers.evaluation import feature_extraction
from workers.evaluation.feature_extraction import feature_dataset

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 3, 6, 6), np.uint8)
LABELS = ["cat", "dog", "cat", "dog", "dog", "cat", "cat"]


def network(batch: int | str = "n") -> onnx.ModelProto:
    """Return a model that doubles an image, halves it and adds up its pixels; one tensor is not finite."""
    nodes = [
        helper.make_node("Add", ["image", "image"], ["doubled"]),
        helper.make_node("ReduceSum", ["doubled", "axes"], ["sums"], keepdims=0),
        helper.make_node("Log", ["negative"], ["nothing"]),
        helper.make_node("Neg", ["doubled"], ["negative"]),
        helper.make_node("Transpose", ["doubled"], ["turned"], perm=[1, 0, 2, 3]),
        helper.make_node("Add", ["sums", "sums"], ["out"]),
    ]
    nodes.sort(key=lambda node: node.op_type == "Log")
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 6, 6])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in [("out", [batch, 3]), ("nothing", [batch, 3, 6, 6]), ("turned", [3, batch, 6, 6])]
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rectifier() -> onnx.ModelProto:
    """Return a model that keeps what is positive of a signal."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["signal"], ["kept"])],
        "relu",
        [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["n", 2, 30])],
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, ["n", 2, 30])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def stored(library: Library, model: onnx.ModelProto, preprocessing: Preprocessing | None = None) -> Model:
    blob = library.store_blob(model.SerializeToString())
    return library.add(
        Model(
            id=new_id("mdl"),
            name="sums",
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            metadata=ModelMetadata(preprocessing=preprocessing),
            inputs=input_specs(model),
            outputs=output_specs(model),
            opset=17,
            parameters=0,
        )
    )


def images(library: Library) -> Dataset:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
            file = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(file, "PNG")
            archive.writestr(f"{label}/{index}.png", file.getvalue())
    return kept(library, buffer.getvalue(), DatasetKind.IMAGES, len(PIXELS), sorted(set(LABELS)))


def kept(library: Library, content: bytes, kind: DatasetKind, samples: int, classes: list[str]) -> Dataset:
    blob = library.store_blob(content)
    return library.add(
        Dataset(
            id=new_id("dts"),
            name="set",
            kind=kind,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            samples=samples,
            classes=classes,
        )
    )


def features(library: Library, settings: Settings, dataset: Dataset) -> tuple[Floats, list[str]]:
    with FeaturesDataset.open(library.blobs.path(dataset.sha256), settings) as opened:
        rows = np.concatenate(list(opened.blocks()))
        labels = [] if opened.labels is None else [opened.classes[label] for label in opened.labels]
    return rows, labels


def in_order(library: Library, settings: Settings, dataset: Dataset) -> Floats:
    """Return the images of a dataset as the model's input is, before preprocessing."""
    with ImagesDataset.open(library.blobs.path(dataset.sha256), settings) as opened:
        return np.stack([np.asarray(opened.image(i), np.float64).transpose(2, 0, 1) for i in range(len(opened))])


WHOLE = Preprocessing(size=[6, 6], scale=1.0)


@pytest.mark.parametrize("batch", ["n", 1, 4])
def test_maps_are_averaged_and_vectors_taken_as_they_are(
    library: Library, settings: Settings, batch: int | str
) -> None:
    model, dataset = stored(library, network(batch), WHOLE), images(library)
    values = in_order(library, settings, dataset)
    for tensor, expected in [("doubled", 2 * values.mean((2, 3))), ("sums", 2 * values.sum((2, 3)))]:
        fractions: list[float] = []
        source = FeatureSource(model_id=model.id, tensor=tensor)
        made = feature_dataset(library, settings, dataset, model, source, "reference", fractions.append)
        rows, labels = features(library, settings, made)
        np.testing.assert_allclose(rows, expected, rtol=1e-6)
        assert labels == sorted(LABELS), "images come in the order of their names"
        assert fractions[-1] == 1


def test_they_are_kept_as_a_dataset_of_their_own_and_computed_once(
    library: Library, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, dataset = stored(library, network(), WHOLE), images(library)
    source = FeatureSource(model_id=model.id, tensor="sums")
    made = feature_dataset(library, settings, dataset, model, source, "reference")
    assert library.datasets.get(made.id) == made
    assert (made.kind, made.samples, made.derived_from_id) == (DatasetKind.FEATURES, 7, model.id)
    assert made.provenance is not None
    assert made.provenance.inputs == {"dataset": dataset.sha256, "model": model.sha256}
    monkeypatch.setattr(feature_extraction, "extract_features", None)
    assert feature_dataset(library, settings, dataset, model, source, "reference") == made
    again = images(library)
    assert feature_dataset(library, settings, again, model, source, "generated") == made, "the file is what counts"


def test_another_tensor_or_preprocessing_is_something_else(library: Library, settings: Settings) -> None:
    dataset = images(library)
    made = set()
    for preprocessing in (WHOLE, Preprocessing(size=[6, 6])):
        model = stored(library, network(), preprocessing)
        for tensor in ("sums", "doubled"):
            source = FeatureSource(model_id=model.id, tensor=tensor)
            made.add(feature_dataset(library, settings, dataset, model, source, "reference").id)
    assert len(made) == 4


def test_they_are_made_again_if_they_were_deleted(library: Library, settings: Settings) -> None:
    model, dataset = stored(library, network(), WHOLE), images(library)
    source = FeatureSource(model_id=model.id, tensor="sums")
    made = feature_dataset(library, settings, dataset, model, source, "reference")
    library.delete(library.datasets, made.id)
    assert feature_dataset(library, settings, dataset, model, source, "reference").sha256 == made.sha256


@pytest.mark.parametrize(
    ("tensor", "words"), [("nothing", "not finite"), ("turned", "its first axis is not that of the samples")]
)
def test_a_tensor_that_gives_no_features(library: Library, settings: Settings, tensor: str, words: str) -> None:
    model, dataset = stored(library, network(), WHOLE), images(library)
    with pytest.raises(FaceterError, match=words) as error:
        feature_dataset(library, settings, dataset, model, FeatureSource(model_id=model.id, tensor=tensor), "reference")
    assert error.value.kind is ProblemKind.INFERENCE_FAILED
    assert error.value.errors[0].field == "features.tensor"
    assert library.datasets.page(10).items == [dataset]
    assert not list((settings.data_dir / "scratch").iterdir()), "nothing is left lying about"


def test_signals(library: Library, settings: Settings, tmp_path: Path) -> None:
    signals = torch.randn(9, 2, 30).numpy()
    dataset = kept(library, signals_file(signals), DatasetKind.SIGNALS, 9, [])
    model = stored(library, rectifier())
    source = FeatureSource(model_id=model.id, tensor="kept")
    made = feature_dataset(library, settings, dataset, model, source, "reference")
    rows, labels = features(library, settings, made)
    np.testing.assert_allclose(rows, np.maximum(signals, 0).mean(2), rtol=1e-6)
    assert labels == []
