"""Concepts of whole images are read from tables as people save them, and what is wrong is named."""

import json
import unicodedata
from pathlib import Path

import pytest

from tests.datasets.archives import image
from tests.datasets.concepts import CSV, NAMES, SIZE, B, gray, members, opened, refused


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        ("", "The first line of image_labels.csv must be image,category,concept"),
        ("a,scene,day\n", "The first line of image_labels.csv must be"),
        ("image,concept,category\na,day,scene\n", "The first line of image_labels.csv must be"),
        (f"{CSV}c,scene,day\n", "image_labels.csv: line 4 is of the image 'c', which is not in images/"),
        (f"{CSV}images/a,scene,day\n", "line 4 is of the image 'images/a'"),
        (f"{CSV}\na,colour,red\n", "line 5 is of the category 'colour', which concepts.json does not name"),
        (f"{CSV}a,scene,night\n", "line 4 says 'night', which is no concept of 'scene'"),
        (f"{CSV}a,scene,sky\n", "line 4 says 'sky', which is no concept of 'scene'"),
        (f"{CSV}a,scene\n", "line 4 has 2 values, not 3"),
        (f"{CSV}a,scene,day,dusk\n", "line 4 has 4 values, not 3"),
        (f'{CSV}"a"x,scene,day\n', "line 4 cannot be read"),
        (f'{CSV}"a,scene,day\n', "cannot be read"),
        (f"{CSV}{'x' * 200_000},scene,day\n", "line 4 cannot be read"),
        (CSV.encode() + b"\xff,scene,day\n", "not UTF-8 text"),
        (CSV.splitlines()[0], "Categories of concepts.json without labels: 'scene'"),
        (None, "Categories of concepts.json without labels: 'scene'"),
    ],
)
def test_bad_labels_of_whole_images_are_refused(tmp_path: Path, csv: str | bytes | None, words: str) -> None:
    assert words in refused(tmp_path, members(csv=csv))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + CSV,
        CSV.replace(",", ";"),
        "\ufeff" + CSV.replace(",", ";").replace("\n", "\r\n"),
        CSV.replace(",", "\t"),
        CSV.replace("\n", "\r"),
        "sep=;\n" + CSV.replace(",", ";"),
        'Image,Category,Concept\n"a", scene , day\n\n"town/b.jpg",scene,"dusk"\n',
    ],
    ids=["mark", "semicolons", "excel", "tabs", "old mac", "stated", "quotes"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_labels_of_whole_images_in_any_usual_form(tmp_path: Path, content: str, encoding: str) -> None:
    text = content.removeprefix("\ufeff") if encoding == "utf-16" else content
    with opened(tmp_path, members(csv=text.encode(encoding))) as data:
        assert [data.image_concepts(index) for index in range(2)] == [[4], [5]]


def test_names_are_the_same_however_their_letters_are_encoded(tmp_path: Path) -> None:
    form = [unicodedata.normalize(name, "café") for name in ("NFC", "NFD")]
    content = {
        "concepts.json": json.dumps({form[1]: [form[1] + " one"], "scene": ["jour"]}).encode(),
        "image_labels.csv": f"image,category,concept\n{form[0]},scene,jour\n".encode(),
        f"images/{form[1]}.png": image(size=SIZE),
        f"labels/{form[0]}/{form[0]}.png": gray(B),
    }
    with opened(tmp_path, content) as data:
        data.verify()
        assert data.warnings == []
        assert data.categories == {"café": ["café one"], "scene": ["jour"]}
        assert data.image_concepts(0) == [1]
    both = {**NAMES, "object": [form[0], form[1]]}
    assert "in more than upper and lower case" in refused(tmp_path, members(both))


def test_the_first_few_faults_are_named(tmp_path: Path) -> None:
    detail = refused(tmp_path, members(csv=CSV + "".join(f"x{number},scene,day\n" for number in range(9))))
    assert "line 4 is of the image 'x0'" in detail
    assert "line 8 is of the image 'x4'" in detail
    assert "x5" not in detail
    assert "And more." in detail
