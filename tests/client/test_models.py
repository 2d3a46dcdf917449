"""Models by the client: upload, lists, predictions in every form, files."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from faceter import Client
from faceter.client.errors import InvalidRequest, NotFound
from faceter.client.files import FileLike
from faceter.client.images import opened, png
from faceter.contracts.models import Model, ModelMetadata, ModelSummary, Task
from tests.app.uploads import LABELS, METADATA, image
from tests.engines import graphs
from tests.text.graphs import token_model
from tests.text.tokenizer_files import vocabulary, word_piece


def _pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _logits(content: bytes, feeds: dict[str, Any]) -> Any:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@pytest.mark.parametrize("form", ["path", "text", "bytes", "file", "read file"])
def test_a_model_is_uploaded_in_each_form(client: Client, tmp_path: Path, form: str) -> None:
    content = graphs.classifier(seed=11)
    path = tmp_path / "tiny net.onnx"
    path.write_bytes(content)
    with path.open("rb") as file:
        forms: dict[str, FileLike] = {
            "path": path,
            "text": str(path),
            "bytes": content,
            "file": file,
            "read file": io.BytesIO(content),
        }
        model = client.models.upload(forms[form], metadata=METADATA)
    assert isinstance(model, Model)
    assert model.name == ("model" if form in ("bytes", "read file") else "tiny net")
    assert model.metadata.labels == LABELS
    assert client.models.get(model.id) == model == model.refresh()
    assert model.download(tmp_path / "below" / "back.onnx").read_bytes() == content
    model.delete()
    with pytest.raises(NotFound):
        client.models.get(model)


def test_metadata_is_a_contract_or_a_dictionary_and_the_name_is_given(client: Client) -> None:
    given = ModelMetadata.model_validate(METADATA)
    model = client.models.upload(graphs.classifier(), name="näme", metadata=given)
    assert model.name == "näme"
    assert model.metadata.task is Task.IMAGE_CLASSIFICATION
    assert model.metadata == client.models.upload(graphs.classifier(), metadata=METADATA).metadata


def test_the_part_of_an_open_file_behind_its_position_is_sent(client: Client) -> None:
    content = graphs.classifier(seed=12)
    file = io.BytesIO(b"header" + content)
    file.seek(6)
    assert client.models.upload(file).bytes == len(content)


def test_a_list_is_read_page_by_page(client: Client) -> None:
    made = [client.models.upload(graphs.classifier(seed=seed), name=f"paged {seed}").id for seed in range(5)]
    listed = list(client.models.list(name="paged", page_size=2))
    assert all(type(item) is ModelSummary for item in listed)
    assert [item.id for item in listed] == made[::-1]
    assert [item.id for item in client.models.list(name="paged", task=Task.OTHER, quantized=True)] == []
    lazily = client.models.list(name="paged", page_size=2)
    assert next(iter(lazily)).id == made[-1]
    for id in made:
        client.models.delete(id)
    assert list(client.models.list(name="paged")) == []


def test_an_image_in_each_form_gives_what_onnx_runtime_gives(client: Client, tmp_path: Path) -> None:
    content = graphs.classifier(seed=3)
    model = client.models.upload(content, metadata=METADATA)
    file = image(5, (8, 8))
    path = tmp_path / "noise.png"
    path.write_bytes(file)
    pixels = _pixels(file)
    tensor = (pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255 - 0.5) / 0.25
    expected = _logits(content, {"image": tensor})
    for form in (path, str(path), file, Image.open(path), pixels, [pixels], pixels[None]):
        found = model.predict(form, raw=True)
        assert found.outputs is not None
        assert found.outputs["logits"].dtype == np.float32
        np.testing.assert_allclose(found.outputs["logits"], expected, rtol=1e-5, atol=1e-6)
        assert found.predictions is not None
        assert found.predictions[0].label == LABELS[int(expected.argmax())]
    both = model.predict([path, pixels], top_k=1)
    assert both.predictions is not None
    assert [len(item.top) for item in both.predictions] == [1, 1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_images_of_pillow_in_any_mode_are_taken(client: Client, mode: str) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    plain = Image.open(io.BytesIO(image()))
    assert model.predict(plain.convert(mode)).predictions


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_arrays_of_pixels_are_sent_as_the_image_that_pillow_would_write(channels: int | None) -> None:
    shape = (5, 7) if channels is None else (5, 7, channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as read:
        np.testing.assert_array_equal(np.asarray(read), pixels[..., 0] if channels == 1 else pixels)


def test_a_received_image_is_one_of_pillow_or_the_file_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    file = image(size=(12, 10))
    assert opened(file).size == (12, 10)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert opened(file) == file


def test_tensors_by_name_alone_and_as_lists(client: Client) -> None:
    content = graphs.classifier(seed=3)
    model = client.models.upload(content, metadata={"task": "other"})
    tensor = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected = _logits(content, {"image": tensor})
    for form in (tensor, tensor.tolist(), {"image": tensor}, {"image": tensor.tolist()}):
        found = model.predict(form)
        assert found.outputs is not None
        np.testing.assert_array_equal(found.outputs["logits"], expected)
    with pytest.raises(InvalidRequest, match="image"):
        model.predict({"other": tensor})
    with pytest.raises(ValueError, match="finite"):
        model.predict(np.full((1, 3, 8, 8), np.nan, np.float32))
    with pytest.raises(TypeError, match="arrays by name"):
        model.predict(3.5)
    with pytest.raises(ValueError, match="nothing to predict"):
        model.predict([])
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        model.predict("absent.png")


def test_arrays_of_uint8_are_tensors_where_the_model_takes_no_images(client: Client) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([node], "same", [value[0]], [value[1]])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    model = client.models.upload(made.SerializeToString())
    array = np.arange(8, dtype=np.uint8).reshape(2, 4)
    found = model.predict(array).outputs
    assert found is not None
    assert found["y"].dtype == np.uint8
    np.testing.assert_array_equal(found["y"], array)


def test_texts_of_a_model_with_a_tokenizer(client: Client, tmp_path: Path) -> None:
    tokenizer = word_piece(max_length=12)
    content = token_model(max(vocabulary(tokenizer).values()) + 1)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer)
    model = client.models.upload(
        content, metadata={"task": "text_classification"}, tokenizer=tmp_path / "tokenizer.json"
    )
    one, two = model.predict("a dog runs"), model.predict(["a dog runs", "it rains"])
    assert one.predictions is not None
    assert two.predictions is not None
    assert len(two.predictions) == 2
    assert two.predictions[0].score == pytest.approx(one.predictions[0].score, rel=1e-5)
    assert json.loads(model.file("tokenizer.json").content)["version"]


def test_the_graph_and_the_memory_of_a_model(client: Client) -> None:
    model = client.models.upload(graphs.classifier())
    operators = {node.op_type for node in onnx.load_from_string(graphs.classifier()).graph.node}
    assert set(model.graph().operators) == operators
    assert model.load().id == model.unload().id == model.id
    assert [*model.quantizations(), *model.explanations(), *model.units()] == []
    assert model.features("logits").model_id == model.id
    assert repr(model) == f"RemoteModel({model.id!r})"
