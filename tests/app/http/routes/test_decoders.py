"""The decoder of a model's preprocessing: the same pixels in predictions, datasets and explanations."""

import io
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from benchmarks.graded_sets import model_of
from faceter.contracts.explanations import DerivedConcept, ExplanationRequest
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.preprocessing import Decoder, Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.images import ImagesDataset
from faceter.vision.preprocess import preprocess
from tests.app.uploads import add_model, archive
from tests.engines import graphs
from workers.explanation.probe.images import ImageProbeDataset
from workers.model_input import as_model_input

Fields = dict[str, Any]
SETTINGS = Settings(_env_file=None)
SIDE = 24
SIZES = [(640, 480), (301, 207), (200, 400), (40, 30)]
"""Of images that are reduced to 1/8, 1/8, 1/8 and not at all."""


def jpeg(size: tuple[int, int], seed: int = 0) -> bytes:
    """Return a JPEG that lies on its side by its EXIF orientation."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


FILES = [jpeg(size, seed) for seed, size in enumerate(SIZES)]


def preprocessing(decoder: Decoder) -> Preprocessing:
    return Preprocessing(size=[SIDE, SIDE], decoder=decoder)


def echo() -> bytes:
    """Return a model whose output is its image."""
    shape: list[str | int | None] = ["N", 3, SIDE, SIDE]
    return graphs.model(
        [helper.make_node("Identity", ["image"], ["pixels"])],
        {"image": (TensorProto.FLOAT, shape)},
        {"pixels": (TensorProto.FLOAT, shape)},
    )


def echo_of(decoder: Decoder) -> Model:
    return model_of(echo(), ModelMetadata(preprocessing=preprocessing(decoder)))


def concepts() -> bytes:
    labels = {}
    for number, content in enumerate(FILES):
        with Image.open(io.BytesIO(content)) as image:
            file = io.BytesIO()
            Image.new("L", image.size[::-1], 1).save(file, "PNG")
        labels[f"labels/x/{number}.png"] = file.getvalue()
    images = {f"images/{number}.jpg": content for number, content in enumerate(FILES)}
    return archive({**images, **labels, "concepts.json": json.dumps({"x": ["one"]}).encode()})


def opened_concepts(folder: Path) -> ConceptsDataset:
    (folder / "concepts.zip").write_bytes(concepts())
    data = ConceptsDataset.open(folder / "concepts.zip", SETTINGS)
    assert isinstance(data, ConceptsDataset)
    return data


def by_hand(content: bytes, decoder: Decoder) -> NDArray[np.float64]:
    """Return what the model must get, from Pillow alone."""
    with Image.open(io.BytesIO(content)) as image:
        if decoder is Decoder.SCALED and min(image.size) >= 8 * SIDE:
            image.draft("RGB", (image.width // 8, image.height // 8))
        upright = image.transpose(Image.Transpose.ROTATE_270)
    resized = upright.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.float64).transpose(2, 0, 1) * (1 / 255)


@pytest.mark.parametrize("decoder", Decoder)
def test_every_path_gives_the_same_pixels(api: httpx.Client, tmp_path: Path, decoder: Decoder) -> None:
    expected = np.stack([by_hand(content, decoder) for content in FILES]).astype(np.float32)
    metadata = {"preprocessing": preprocessing(decoder).model_dump(mode="json")}
    address = f"/v1/models/{add_model(api, echo(), metadata=metadata)['id']}/predict"
    files = [("file", (f"{number}.jpg", content)) for number, content in enumerate(FILES)]
    answered = np.asarray(api.post(address, files=files).json()["outputs"]["pixels"], np.float32)
    np.testing.assert_array_equal(answered, expected)

    model = echo_of(decoder)
    (tmp_path / "images.zip").write_bytes(archive({f"{number}.jpg": content for number, content in enumerate(FILES)}))
    with ImagesDataset.open(tmp_path / "images.zip", SETTINGS) as data:
        assert isinstance(data, ImagesDataset)
        (batch,) = as_model_input(data, model.metadata, model.inputs, "dataset_id").batches(
            len(FILES), range(len(FILES))
        )
    np.testing.assert_array_equal(batch.inputs["image"], expected)

    with opened_concepts(tmp_path) as data:
        probe = ImageProbeDataset(data, model, ExplanationRequest(dataset_id="d", layer="pixels"))
        read = probe.read(range(len(FILES)))
        np.testing.assert_array_equal(read.inputs["image"], expected)
        for number in range(len(FILES)):
            changed = data.input_image(number, preprocessing(decoder)).pixels
            np.testing.assert_array_equal(preprocess(changed, preprocessing(decoder))[0], expected[number])


def test_the_decoders_differ_where_an_image_can_be_reduced() -> None:
    full, scaled = ([by_hand(content, decoder) for content in FILES] for decoder in Decoder)
    assert [bool((one != other).any()) for one, other in zip(full, scaled, strict=True)] == [True, True, True, False]


def test_concepts_are_the_same_with_each_decoder(tmp_path: Path) -> None:
    request = ExplanationRequest(
        dataset_id="d", layer="pixels", derived_concepts=[DerivedConcept.COLOR], resolution=[40, 50]
    )
    with opened_concepts(tmp_path) as data:
        full, scaled = (ImageProbeDataset(data, echo_of(decoder), request).read([0, 1, 2]) for decoder in Decoder)
    assert (full.inputs["image"] != scaled.inputs["image"]).any()
    for one, other in zip(full.concepts, scaled.concepts, strict=True):
        np.testing.assert_array_equal(one.label_maps, other.label_maps)
        assert len(np.unique(one.label_maps)) > 3


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_boxes_are_in_pixels_of_the_whole_image(api: httpx.Client, resize: str) -> None:
    content = graphs.model(
        [helper.make_node("Identity", ["boxes_in"], ["boxes"]), helper.make_node("ReduceMax", ["image"], ["most"])],
        {"image": (TensorProto.FLOAT, [1, 3, 8, 8])},
        {"boxes": (TensorProto.FLOAT, [1, 5, 1]), "most": (TensorProto.FLOAT, [1, 1, 1, 1])},
        {"boxes_in": np.array([[[0.5], [0.5], [0.25], [0.5], [0.9]]], np.float32)},
    )
    photo = jpeg((1600, 1200))
    found = []
    for decoder in Decoder:
        metadata = {
            "task": "object_detection",
            "preprocessing": {"size": [8, 8], "decoder": decoder, "resize": resize},
            "labels": ["ant"],
            "detection": {"head": "direct", "boxes": "boxes", "class_offset": 4, "score_threshold": 0.3},
        }
        address = f"/v1/models/{add_model(api, content, metadata=metadata)['id']}/predict"
        ((box,),) = api.post(address, files={"file": ("photo.jpg", photo)}).json()["detections"]
        found.append(box["box"])
    assert found[1] == pytest.approx(found[0])
    if resize == "stretch":
        assert found[1] == pytest.approx([450, 400, 750, 1200])
