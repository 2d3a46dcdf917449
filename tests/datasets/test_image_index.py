"""Images with an index file: val.txt, labels.csv and the like."""

from pathlib import Path

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import image, write_zip

SETTINGS = Settings(_env_file=None)
FLAT = {f"set/images/{name}": image() for name in ("a.JPEG", "my cat.png", "café.png")}


def opened(path: Path, members: dict[str, bytes]) -> ImagesDataset:
    return ImagesDataset.open(write_zip(path / "a.zip", members), SETTINGS)


def classes_of(path: Path, members: dict[str, bytes]) -> dict[str, str]:
    with opened(path, members) as data:
        data.verify()
        assert data.labels is not None
        return {name: data.classes[label] for name, label in zip(data.names, data.labels, strict=True)}


def refused(path: Path, members: dict[str, bytes]) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), DatasetKind.IMAGES, SETTINGS)
    assert caught.value.kind is ProblemKind.INVALID_DATASET
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("val.txt", "a.JPEG tabby\nmy cat.png tabby\ncafé.png tench\n"),
        ("val.txt", "images/a.JPEG\ttabby\r\nimages/my cat.png\ttabby\r\nimages/cafe\u0301.png\ttench\r\n"),
        ("val.txt", "/home/me/set/images/a.JPEG tabby\n/home/me/my cat.png tabby\ncafé.png tench"),
        ("images/val.txt", ".\\a.JPEG tabby\n\n.\\my cat.png tabby\n.\\café.png tench\n"),
        ("val.lst", "a tabby\nmy cat tabby\ncafé tench\n"),
        ("labels.csv", "\ufefffile;class\na.JPEG;tabby\nmy cat.png;tabby\ncafé.png;tench\n"),
        ("labels.csv", 'label,image,split\ntabby,a.JPEG,val\ntabby,"my cat.png",val\ntench,café.png,val\n'),
        ("labels.tsv", "id\tbreed\na\ttabby\nmy cat\ttabby\ncafé\ttench\n"),
        ("labels.csv", "a.JPEG,tabby\na.JPEG,tabby\nmy cat.png,tabby\ncafé.png,tench\n"),
    ],
)
def test_lines_name_images_and_classes(tmp_path: Path, name: str, text: str) -> None:
    members = {**FLAT, f"set/{name}": text.encode(), "README.txt": b"Photos of cats\nand a fish.\n"}
    assert classes_of(tmp_path, members) == {
        "set/images/a.JPEG": "tabby",
        "set/images/café.png": "tench",
        "set/images/my cat.png": "tabby",
    }
    with opened(tmp_path, members) as data:
        assert f"classes from 'set/{name}'" in data.warnings
        assert "ignored, not images: 'README.txt'" in data.warnings


def test_numbers_are_the_models_outputs(tmp_path: Path) -> None:
    members = {**FLAT, "val.txt": "a.JPEG 65\nmy cat.png 970\ncafé.png 7\n".encode()}
    with opened(tmp_path, members) as data:
        assert data.classes == ["7", "65", "970"]
        assert data.labels_for(None) == [65, 7, 970]
        assert data.labels_for([f"label {number}" for number in range(1000)]) == [65, 7, 970]
        assert data.labels == [1, 0, 2]


def test_an_index_chooses_the_images(tmp_path: Path) -> None:
    members = {f"set/{name}/{number}.png": image() for name in ("cat", "dog") for number in range(3)}
    with opened(tmp_path, {**members, "set/val.txt": b"cat/1.png\ndog/0.png\ndog/2.png\n"}) as data:
        assert data.names == ["set/cat/1.png", "set/dog/0.png", "set/dog/2.png"]
        assert (data.classes, data.labels) == (["cat", "dog"], [0, 1, 1])
        assert data.warnings == [
            "ignored, not in 'set/val.txt': 3 images, such as 'set/cat/0.png', 'set/cat/2.png', 'set/dog/1.png'"
        ]


def test_indexes_of_all_parts_are_one_set(tmp_path: Path) -> None:
    members = {f"images/{number}.png": image() for number in range(4)}
    members |= {"train.txt": b"0.png cat\n1.png dog\n", "val.txt": b"2.png cat\n", "all.txt": b"0.png\n1.png\n"}
    assert classes_of(tmp_path, members) == {"images/0.png": "cat", "images/1.png": "dog", "images/2.png": "cat"}
    contrary = {**members, "test.txt": b"1.png cat\n"}
    assert "'images/1.png' is 'cat' by one index file and 'dog' by train.txt" in refused(tmp_path, contrary)


def test_the_folder_of_the_same_name_comes_first(tmp_path: Path) -> None:
    members = {f"{part}/{number}.png": image() for part in ("train", "val") for number in range(2)}
    assert classes_of(tmp_path, {**members, "val.txt": b"0.png cat\n1.png dog\n"}) == {
        "val/0.png": "cat",
        "val/1.png": "dog",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a.JPEG cat\nmy cat.png dog\ngone.png cat\n",
            "line 3 names the image 'gone.png', which is not in the archive",
        ),
        ("a.JPEG cat\nmy cat.png dog\na.JPEG dog\n", "line 3 says 'dog' of 'set/images/a.JPEG', an earlier line 'cat'"),
        ("a.JPEG,cat\nmy cat.png,dog,x\n", "line 2 has 3 values, not 2"),
        ("a.JPEG,cat\nmy cat.png,\n", "line 2 has a class that is no text of 1 to 200"),
        ("a.JPEG cat\nmy cat.png " + "x" * 201, "line 2 has a class that is no text of 1 to 200"),
    ],
)
def test_lines_that_do_not_fit_the_others_are_named(tmp_path: Path, text: str, words: str) -> None:
    detail = refused(tmp_path, {**FLAT, "set/val.txt": text.encode()})
    assert detail.startswith("set/val.txt: ")
    assert words in detail
    assert detail.endswith("Correct it, or leave it out.")


def test_an_index_of_another_encoding_is_refused(tmp_path: Path) -> None:
    detail = refused(tmp_path, {**FLAT, "labels.csv": "a.JPEG;été\nmy cat.png;hiver\n".encode("cp1252")})
    assert "labels.csv: line 1 is not UTF-8 text. Save the file as UTF-8" in detail


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\1\2",
        b"Photos of cats\n",
        b"cat\ndog\n",
        b"image,caption\na.JPEG,a cat on a mat\nmy cat.png,another\n",
        b"a.JPEG a cat on a mat\nmy cat.png another cat\n",
        b"image,x,y\na.JPEG,1,2\nmy cat.png,3,4\n",
        b'"\n',
        b"a.JPEG\nnothing\nof\nthe kind\n",
        "caf\xe9".encode("cp1252"),
    ],
)
def test_other_texts_are_no_index(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, {**FLAT, "notes.csv": content, "notes.txt": content}) as data:
        assert len(data) == 3
        assert data.labels is None
        assert data.warnings == ["ignored, not images: 'notes.csv', 'notes.txt'"]
