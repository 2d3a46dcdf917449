"""Boxes as YOLO has them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.errors import ProblemKind
from tests.datasets.archives import image
from tests.datasets.detection_zips import opened, refused

YAML = b"train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n"
LINES = b"0 0.5 0.5 1 1\r\n\r\n1 0.25 0.5 0.1 0.2\r\n"


def test_boxes_are_read(tmp_path: Path) -> None:
    members = {
        "set/data.yaml": YAML,
        "set/README.roboflow.txt": b"exported",
        "set/images/a.PNG": image(),
        "set/images/b.jpg": image(format_="JPEG"),
        "set/images/c.png": image(),
        "set/labels/a.txt": LINES,
        "set/labels/c.txt": b"",
    }
    with opened(tmp_path, members) as data:
        summary = data.verify()
        assert data.names == ["set/images/a.PNG", "set/images/b.jpg", "set/images/c.png"]
        assert (data.classes, summary.class_counts) == (["cat", "dog"], {"cat": 1, "dog": 1})
        first, second, third = data.truths
        np.testing.assert_allclose(first.boxes, [[0, 0, 40, 30], [8, 12, 12, 18]])
        np.testing.assert_allclose(first.areas, [1200, 24])
        assert (first.classes.tolist(), first.crowd.tolist()) == ([0, 1], [0, 0])
        assert second.boxes.shape == third.boxes.shape == (0, 4)
        assert summary.warnings == [
            "images without a file of labels, so without objects: 'set/images/b.jpg'",
            "ignored, not images: 'set/README.roboflow.txt'",
        ]


@pytest.mark.parametrize(
    ("photo", "labels", "names"),
    [
        ("images/a.png", "labels/a.txt", "classes.txt"),
        ("images/train/a.png", "labels/train/a.txt", "data.yaml"),
        ("train/images/a.png", "train/labels/a.txt", "data.yaml"),
        ("set/obj_train_data/a.png", "set/obj_train_data/a.txt", "set/obj.names"),
        ("a.png", "a.txt", "classes.txt"),
        ("a.png", "labels/a.txt", "labels/classes.txt"),
        ("photos/a.png", "labels/photos/a.txt", "classes.txt"),
        ("photos/a.png", "photos/labels/a.txt", "classes.txt"),
    ],
)
def test_places(tmp_path: Path, photo: str, labels: str, names: str) -> None:
    content = YAML if names.endswith(".yaml") else b"cat\ndog\n"
    with opened(tmp_path, {photo: image(), labels: LINES, names: content}) as data:
        data.verify()
        assert (data.classes, data.warnings) == (["cat", "dog"], [])
        assert data.truths[0].classes.tolist() == [0, 1]


def test_labels_of_another_part_are_not_taken(tmp_path: Path) -> None:
    members = {"data.yaml": YAML, "train/labels/a.txt": LINES}
    members |= {f"{part}/images/a.png": image() for part in ("train", "valid")}
    with opened(tmp_path, members) as data:
        assert [len(truth.boxes) for truth in data.truths] == [2, 0]


def test_the_box_of_a_polygon_is_taken(tmp_path: Path) -> None:
    members = {"a.png": image(), "a.txt": b"1 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n", "classes.txt": b"cat\ndog\n"}
    with opened(tmp_path, members) as data:
        np.testing.assert_allclose(data.truths[0].boxes, [[4, 6, 12, 18]])


def test_fractions_are_of_the_upright_image(tmp_path: Path) -> None:
    stream = io.BytesIO()
    turned = Image.new("RGB", (40, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(stream, "JPEG", exif=exif)
    members = {"a.jpg": stream.getvalue(), "a.txt": b"0 0.5 0.5 1 1\n", "classes.txt": b"cat\n"}
    with opened(tmp_path, members) as data:
        data.verify()
        np.testing.assert_allclose(data.truths[0].boxes, [[0, 0, 30, 40]])


def test_boxes_of_large_images_are_read_from_their_beginning(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    members = {"classes.txt": b"cat\n"}
    for number, form in enumerate(("PNG", "WEBP", "TIFF", "BMP", "JPEG", "GIF")):
        stream = io.BytesIO()
        Image.fromarray(noise).save(stream, form)
        ending = {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
        members |= {f"{number}.{ending}": stream.getvalue(), f"{number}.txt": b"0 0.5 0.5 1 1\n"}
    with opened(tmp_path, members) as data:
        assert len(data) == 6
        for truth in data.truths:
            np.testing.assert_allclose(truth.boxes, [[0, 0, 800, 600]])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 2 of 'labels/a.txt' is of class 2, but there are classes 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "is of class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "is of class 0.5"),
        ("nan 0.5 0.5 0.1 0.1", "is of class nan"),
        ("cat 0.5 0.5 0.1 0.1", "holds something that is not a number"),
        ("0 0.5 0.5 0.1", "has 4 values; a class and the centre, width and height of its box are 5"),
        ("0 0.5 0.5 0.1 0.1 0.9", "has 6 values"),
        ("0 20 15 10 10", "has a box that reaches outside the image; coordinates are fractions"),
        ("0 0.5 0.5 1.2 0.1", "has a box that reaches outside the image"),
        ("0 0.5 nan 0.1 0.1", "has a box that reaches outside the image"),
        ("0 0.5 0.5 0 0.1", "has an empty box"),
        ("0 0.5 0.5 0.1 -0.1", "has an empty box"),
        ("0,0.5,0.5,0.1,0.1", "holds something that is not a number"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, words: str) -> None:
    members = {"images/a.png": image(), "labels/a.txt": f"0 0.5 0.5 1 1\n{line}\n".encode(), "data.yaml": YAML}
    assert words in refused(tmp_path, members)


def test_names_are_needed(tmp_path: Path) -> None:
    detail = refused(tmp_path, {"images/a.png": image(), "labels/a.txt": LINES})
    assert "labels as YOLO has them, but no file that names the classes. Put in the data.yaml" in detail


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    members = {"a.png": b"no image", "a.txt": LINES, "classes.txt": b"cat\ndog\n"}
    assert "'a.png'" in refused(tmp_path, members, ProblemKind.INVALID_IMAGE)


def test_texts_of_no_image_are_no_labels(tmp_path: Path) -> None:
    assert "holds no annotations.json" in refused(tmp_path, {"images/a.png": image(), "labels/b.txt": LINES})
