"""Boxes in the format of PASCAL VOC."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from faceter.datasets.mean_average_precision import mean_average_precision
from faceter.vision.boxes import Detections
from tests.datasets.archives import image
from tests.datasets.detection_zips import opened, refused

Box = tuple[str, float, float, float, float]


def voc(*boxes: Box, filename: str = "a.png", size: tuple[int, int] | None = (40, 30), more: str = "") -> bytes:
    """Return an annotation of some boxes; a name that ends with ? is that of a difficult one."""
    objects = "".join(
        f"<object><name>{name.removesuffix('?')}</name><difficult>{int(name.endswith('?'))}</difficult>"
        f"<bndbox><ymin>{y}</ymin><xmin>{x}</xmin><xmax> {right} </xmax><ymax>{bottom}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for name, x, y, right, bottom in boxes
    )
    shape = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{shape}{objects}{more}</annotation>".encode()


MEMBERS = {
    "VOC/Annotations/a.xml": voc(("cat", 1, 1, 40, 30), ("dog?", 2, 3, 10.5, 20)),
    "VOC/Annotations/b.xml": voc(("dog", 5, 5, 9, 9), filename="b.jpg"),
    "VOC/Annotations/c.xml": voc(filename="c.JPG"),
    "VOC/JPEGImages/a.png": image(),
    "VOC/JPEGImages/b.jpg": image(format_="JPEG"),
    "VOC/JPEGImages/c.JPG": image(format_="JPEG"),
}


def test_boxes_are_read(tmp_path: Path) -> None:
    sets = {"VOC/ImageSets/Main/val.txt": b"a\nb\n", "VOC/SegmentationClass/a.png": image()}
    with opened(tmp_path, MEMBERS | sets) as data:
        summary = data.verify()
        assert (summary.samples, summary.class_counts) == (3, {"cat": 1, "dog": 2})
        assert data.names == ["VOC/JPEGImages/a.png", "VOC/JPEGImages/b.jpg", "VOC/JPEGImages/c.JPG"]
        first, second, third = data.truths
        assert first.boxes.tolist() == [[0, 0, 40, 30], [1, 2, 10.5, 20]]
        assert (first.classes.tolist(), first.crowd.tolist()) == ([0, 1], [0, 1])
        assert first.areas.tolist() == [1200, 9.5 * 18]
        assert second.boxes.tolist() == [[4, 4, 9, 9]]
        assert third.boxes.shape == (0, 4)
        assert summary.warnings == [
            "ignored in matching, difficult: 1 objects",
            "ignored, not in the XML files: 'VOC/SegmentationClass/a.png'",
            "ignored, not images: 'VOC/ImageSets/Main/val.txt'",
        ]


def test_difficult_objects_neither_help_nor_hurt(tmp_path: Path) -> None:
    boxes = [("cat", 1, 1, 10, 10), ("cat?", 21, 1, 30, 10)]
    members = {"a.xml": voc(*boxes), "a.png": image()}

    def value(*corners: list[float]) -> float:
        scores = np.linspace(0.9, 0.5, len(corners))
        found = Detections(np.array(corners, np.float64).reshape(-1, 4), scores, np.zeros(len(corners), np.int64))
        with opened(tmp_path, members) as data:
            return mean_average_precision([found], data).at_50

    easy, difficult = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]
    assert value(easy) == value(difficult, easy) == value(difficult, difficult, easy) == pytest.approx(1)
    assert value([0.0, 15.0, 10.0, 25.0], easy) == pytest.approx(0.5)


def test_boxes_that_start_at_0_are_coordinates(tmp_path: Path) -> None:
    members = {"a.xml": voc(("cat", 0, 3, 40, 30), ("cat", 5, 6, 7, 8)), "a.png": image()}
    with opened(tmp_path, members) as data:
        data.verify()
        assert data.truths[0].boxes.tolist() == [[0, 3, 40, 30], [5, 6, 7, 8]]
        assert data.warnings == ["pixels are counted from 0, since a box starts there; PASCAL VOC counts from 1"]


@pytest.mark.parametrize(
    ("xml", "photo"),
    [
        ("a.xml", "a.png"),
        ("set/a.xml", "set/a.png"),
        ("annotations/a.xml", "images/a.png"),
        ("set/xmls/a.xml", "set/photos/a.png"),
        ("set/annotations/train/a.xml", "set/images/train/a.png"),
        ("Annotations/0001.xml", "JPEGImages/a.png"),
        ("Annotations/A.XML", "JPEGImages/a.png"),
        ("VOC2007/Annotations/a.xml", "VOC2007/JPEGImages/a.png"),
    ],
)
def test_places(tmp_path: Path, xml: str, photo: str) -> None:
    with opened(tmp_path, {xml: voc(("cat", 1, 1, 5, 5)), photo: image()}) as data:
        data.verify()
        assert data.names == [photo]


def test_years_side_by_side(tmp_path: Path) -> None:
    members = {}
    for year, box in (("2007", 5), ("2012", 9)):
        members[f"VOC{year}/Annotations/a.xml"] = voc(("cat", 1, 1, box, box))
        members[f"VOC{year}/JPEGImages/a.png"] = image()
    with opened(tmp_path, members) as data:
        assert data.names == ["VOC2007/JPEGImages/a.png", "VOC2012/JPEGImages/a.png"]
        assert [truth.boxes[0, 2] for truth in data.truths] == [5, 9]


def test_letters_are_compared_however_they_are_encoded(tmp_path: Path) -> None:
    form = [unicodedata.normalize(name, "café") for name in ("NFC", "NFD")]
    members = {f"{form[1]}.xml": voc((form[1], 1, 1, 5, 5), filename=f"{form[0]}.png"), f"{form[0]}.png": image()}
    with opened(tmp_path, members) as data:
        assert data.classes == ["café"]
        assert data.labels_for(["x", form[1]]) == [1]


def test_a_size_that_is_missing_or_0_is_not_compared(tmp_path: Path) -> None:
    for size in (None, (0, 0)):
        with opened(tmp_path, {"a.xml": voc(("cat", 1, 1, 5, 5), size=size), "a.png": image()}) as data:
            data.verify()
    detail = refused(tmp_path, {"a.xml": voc(("cat", 1, 1, 5, 5), size=(30, 40)), "a.png": image()})
    assert "'a.png' is 40 × 30 pixels (upright), but a.xml says 30 × 40" in detail


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (voc(("cat", 5, 1, 5, 5)), "object 1 of 'a.xml', 'cat', has the impossible bndbox xmin '5', ymin '1', xmax"),
        (voc(("cat", 1, 1, 5, 5), ("dog", 1, 9, 5, 5)), "object 2 of 'a.xml', 'dog', has the impossible bndbox"),
        (voc(("cat", 1, float("nan"), 5, 5)), "has the impossible bndbox"),
        (voc(("cat", 1, 1, float("inf"), 5)), "has the impossible bndbox"),
        (voc((" ", 1, 1, 5, 5)), "object 1 of 'a.xml' has no name of 1 to 200 printable characters"),
        (voc(more="<object><name>cat</name><polygon/></object>"), "has the impossible bndbox xmin None"),
        (voc(("cat", 1, 1, 500, 5)), "'a.png' is 40 × 30 pixels, but 1 of its boxes reach outside it"),
        (b"<annotation>", "a.xml is not XML"),
        (b"<!DOCTYPE a><annotation/>", "a.xml has a document type"),
    ],
)
def test_bad_annotations_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, {"a.xml": content, "a.png": image()})


def test_images_that_are_missing_are_named(tmp_path: Path) -> None:
    detail = refused(tmp_path, {"a.xml": voc(filename="gone.png"), "b.png": image(), "b.xml": voc(filename="b.png")})
    assert "'a.xml' is of the image 'gone.png', which is not in the archive" in detail
    detail = refused(tmp_path, {"a.xml": voc(), "x.xml": voc(filename="a.png"), "a.png": image()})
    assert "'x.xml' and 'a.xml' are of one image, 'a.png'" in detail


def test_other_xml_is_no_annotation(tmp_path: Path) -> None:
    members = {"a.xml": voc(("cat", 1, 1, 5, 5)), "a.png": image(), "cvat.xml": b"<annotations/>"}
    with opened(tmp_path, members) as data:
        assert data.warnings == ["ignored, not images: 'cvat.xml'"]
    assert "holds no annotations.json" in refused(tmp_path, {"cvat.xml": b"<annotations/>", "a.png": image()})
