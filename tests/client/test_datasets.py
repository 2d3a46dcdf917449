"""Datasets by the client: files and folders."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from faceter import Client
from faceter.client.errors import InvalidRequest
from faceter.client.files import ReceivedFile, zipped
from faceter.contracts.datasets import DatasetKind, DatasetSummary
from tests.app.translator_fixtures import domains
from tests.app.uploads import image, images


def _folder(path: Path) -> Path:
    for label in ("cat", "dog"):
        for number in range(2):
            file = path / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image(number))
    (path / ".hidden").mkdir()
    (path / ".hidden" / "a.png").write_bytes(b"no image")
    (path / "cat" / ".DS_Store").write_bytes(b"no image")
    return path


def test_a_folder_is_zipped_on_the_way(client: Client, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pets")
    dataset = client.datasets.upload(folder, kind="images")
    assert (dataset.name, dataset.kind, dataset.samples) == ("pets", DatasetKind.IMAGES, 4)
    assert dataset.classes == ["cat", "dog"]
    assert client.datasets.upload(str(folder), kind=DatasetKind.IMAGES).sha256 == dataset.sha256
    with zipfile.ZipFile(io.BytesIO(dataset.download(tmp_path / "back.zip").read_bytes())) as archive:
        assert archive.namelist() == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    listed = next(iter(client.datasets.list(name="pets", kind="images", page_size=1)))
    assert isinstance(listed, DatasetSummary)


def test_a_zip_is_sent_as_it_is_and_pairs_are_said(client: Client) -> None:
    made = client.datasets.upload(domains(), kind="domains", name="two", paired=True)
    assert (made.paired, made.name) == (True, "two")
    made.delete()
    with pytest.raises(InvalidRequest, match="paired"):
        client.datasets.upload(images(), kind="images", paired=False)


def test_what_is_no_dataset_is_refused_here_or_there(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file in the folder"):
        client.datasets.upload(tmp_path, kind="images")
    with pytest.raises(FileNotFoundError, match="absent"):
        client.datasets.upload(tmp_path / "absent.zip", kind="images")
    with pytest.raises(ValueError, match="cats"):
        client.datasets.upload(b"", kind="cats")
    with pytest.raises(InvalidRequest, match="zip"):
        client.datasets.upload(b"no zip", kind="images")
    with pytest.raises(TypeError, match="int"):
        client.datasets.upload(3, kind="images")  # type: ignore[arg-type]


def test_the_zip_of_a_folder_is_gone_afterwards(tmp_path: Path) -> None:
    with zipped(_folder(tmp_path / "pets")) as path:
        assert path.name == "pets.zip"
    assert not path.exists()


def test_a_received_file_is_saved_and_shown(tmp_path: Path) -> None:
    file = ReceivedFile(image(), "image/png", 'a"b.png')
    assert file.save(tmp_path / "new" / "a.png").read_bytes() == file.content
    shown = file._repr_html_()
    assert shown.startswith('<img alt="a&quot;b.png" src="data:image/png;base64,iVBOR')
    assert "<" not in ReceivedFile(b"x", "text/csv", "<b>")._repr_html_()


def test_a_sample_is_returned_as_an_image(client: Client) -> None:
    made = client.datasets.upload(images(), kind="images")
    sample = made.sample_image(1, max_side=4)
    assert Image.open(io.BytesIO(sample.content)).size == (4, 3)
