"""Datasets as people zip them, uploaded through the API."""

import io
import json
import unicodedata
import zipfile
from typing import Any

import httpx
import pytest
from PIL import Image

from faceter.contracts.errors import ProblemKind
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, add_model, archive, image, post_dataset
from tests.datasets.archives import raw_zip, unicode_path
from tests.engines import graphs

PNG = image()
PAIRS = [
    {"premise": "a b", "hypothesis": "a", "label": "entailment"},
    {"premise": "a b", "hypothesis": "c", "label": "-"},
    {"premise": "a", "hypothesis": "c", "label": "contradiction"},
]


def decomposed(*names: str) -> bytes:
    return archive({unicodedata.normalize("NFD", name): PNG for name in names})


def annotated(**segmentation: Any) -> bytes:
    annotations = {
        "images": [{"id": "img-1", "file_name": "A.PNG"}],
        "categories": [{"id": "c1", "name": "cat"}],
        "annotations": [
            {"id": "a1", "image_id": "img-1", "category_id": "c1", "bbox": [1, 1, 4, 4]},
            {"id": "a2", "image_id": "img-1", "category_id": "c1", "iscrowd": 1, "segmentation": segmentation},
        ],
    }
    return archive({"coco/annotations/instances_val.json": json.dumps(annotations).encode(), "coco/val/a.png": PNG})


ZIPPED: dict[str, tuple[bytes, str, dict[str, int], list[str]]] = {
    "decomposed": (decomposed("café/1.png", "plain/2.png"), "images", {"café": 1, "plain": 1}, []),
    "UTF-8 without a flag": (
        raw_zip([("café/1.png".encode(), PNG, b""), (b"plain/2.png", PNG, b"")]), "images", {"café": 1, "plain": 1}, [],
    ),
    "a stated path": (
        raw_zip([(b"caf?/1.png", PNG, unicode_path(b"caf?/1.png", "café/1.png")), (b"plain/2.png", PNG, b"")]),
        "images", {"café": 1, "plain": 1}, [],
    ),
    "a folder icon": (
        raw_zip([(b"set/cat/1.png", PNG, b""), (b"set/dog/2.png", PNG, b""), (b"set/Icon\r", b"", b""),
                 (b"set/.DS_Store", b"x", b""), (b"__MACOSX/set/._Icon\r", b"x", b"")]),
        "images", {"cat": 1, "dog": 1},
        ["ignored: __MACOSX (1)", "ignored: folder icons (1)", "ignored: hidden files (1)"],
    ),
    "backslashes": (
        raw_zip([(b"cat\\1.png", PNG, b""), (b"dog\\2.png", PNG, b"")]), "images", {"cat": 1, "dog": 1},
        ["names with backslashes, read as folders: 'cat/1.png', 'dog/2.png'"],
    ),
    "numbers": (
        archive({f"{number}/p.png": PNG for number in range(12)}),
        "images", {str(number): 1 for number in range(12)}, [],
    ),
    "an index": (
        archive({"val/1.JPEG": PNG, "val/2.JPEG": PNG, "val.txt": b"1.JPEG 10\n2.JPEG 9\n"}),
        "images", {"9": 1, "10": 1}, ["classes from 'val.txt'"],
    ),
    "no agreement": (
        archive({"pairs.jsonl": "\r\n".join(map(json.dumps, PAIRS)).encode(), "vocab.txt": b"<pad>\n<unk>\na\nb\nc\n"}),
        "text_pairs", {"contradiction": 1, "entailment": 1},
        ["ignored, labelled '-' because annotators did not agree: 1 pair, the first on line 2"],
    ),
    "COCO": (
        annotated(size=[10, 12], counts=[0, 20, 100]), "detection", {"cat": 2},
        ["found in other upper and lower case than in instances_val.json: 'A.PNG'"],
    ),
    "VOC": (
        archive({"VOC/JPEGImages/1.png": PNG, "VOC/Annotations/1.xml":
                 b"<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>12</xmax><ymax>10</ymax>"
                 b"</bndbox></object></annotation>"}),
        "detection", {"cat": 1}, [],
    ),
    "YOLO": (
        archive({"images/1.png": PNG, "labels/1.txt": b"1 0.5 0.5 1 1\n", "data.yaml": b"names: [cat, dog]\n"}),
        "detection", {"dog": 1}, [],
    ),
    "CycleGAN": (
        archive({f"h2z/{part}{domain}/{number}.png": PNG
                 for part in ("train", "test") for domain in "AB" for number in range(2)}),
        "domains", {"A": 2, "B": 2},
        ["ignored, kept for tests: h2z/testA/ (2), h2z/testB/ (2). Upload them as a set of their own to evaluate on"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIPPED)
def test_zipped_sets_are_taken(api: httpx.Client, case: str) -> None:
    content, kind, counts, warnings = ZIPPED[case]
    dataset = add_dataset(api, content, kind)
    assert dataset["class_counts"] == counts
    assert dataset["warnings"] == warnings
    assert api.get(dataset["links"]["self"]).json() == dataset


def test_classes_that_are_numbers_come_in_their_order(api: httpx.Client) -> None:
    content = archive({f"{number}/p.png": PNG for number in range(12)})
    assert add_dataset(api, content)["classes"] == [str(number) for number in range(12)]


def test_the_large_form_of_the_format(api: httpx.Client) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive_file:
        for name in ("cat/1.png", "dog/2.png"):
            with archive_file.open(name, "w", force_zip64=True) as member:
                member.write(PNG)
    assert add_dataset(api, file.getvalue())["class_counts"] == {"cat": 1, "dog": 1}


def test_pairs_side_by_side(api: httpx.Client) -> None:
    content = archive({f"facades/train/{number}.jpg": image(number, (24, 10), "JPEG") for number in range(2)})
    dataset = add_dataset(api, content, "domains", paired="true")
    assert (dataset["samples"], dataset["class_counts"], dataset["paired"]) == (4, {"A": 2, "B": 2}, True)
    assert dataset["warnings"] == ["each image read as a pair side by side: its left half is of A, its right half of B"]
    document = problem(post_dataset(api, content, "domains"), ProblemKind.INVALID_DATASET)
    assert "upload the set with `paired=true`" in document.detail
    request = {"method": "pix2pix", "dataset_id": dataset["id"], "image_size": 32}
    document = problem(api.post("/v1/translators", json=request), ProblemKind.DATASET_MISMATCH)
    assert "'facades/train/0.jpg' is 12 × 10" in document.detail


def test_pairs_that_differ_in_upper_and_lower_case(api: httpx.Client) -> None:
    names = ["A/Photo1.jpg", "A/2.jpg", "B/photo1.jpg", "B/2.jpg"]
    dataset = add_dataset(api, archive({name: image(form="JPEG") for name in names}), "domains", paired="true")
    assert dataset["warnings"] == ["paired though upper and lower case differ: 'A/Photo1.jpg' with 'B/photo1.jpg'"]


def test_a_label_is_the_class_however_its_letters_are_encoded(api: httpx.Client) -> None:
    dataset = add_dataset(api, decomposed("café/1.png", "dog/2.png"))
    for form in ("NFC", "NFD"):
        labels = [unicodedata.normalize(form, "café"), "dog", "emu"]
        metadata = {
            "task": "image_classification",
            "preprocessing": {"size": [8, 8], "mean": [0.5], "std": [0.25]},
            "labels": labels,
        }
        model = add_model(api, metadata=metadata)
        request = {"evaluation_dataset_id": dataset["id"]}
        assert api.post(f"/v1/models/{model['id']}/quantizations", json=request).status_code == 202


def test_numbers_beyond_the_models_outputs_are_refused_before_the_job(api: httpx.Client) -> None:
    metadata = {"task": "image_classification", "preprocessing": {"size": [8, 8], "mean": [0.5], "std": [0.25]}}
    model = add_model(api, graphs.classifier(), metadata=metadata)
    fits = add_dataset(api, archive({f"{number}/p.png": PNG for number in (0, 2)}))
    beyond = add_dataset(api, archive({f"{number}/p.png": PNG for number in (1, 2, 3)}))
    address = f"/v1/models/{model['id']}/quantizations"
    assert api.post(address, json={"evaluation_dataset_id": fits["id"]}).status_code == 202
    response = api.post(address, json={"evaluation_dataset_id": beyond["id"]})
    document = problem(response, ProblemKind.DATASET_MISMATCH)
    assert "numbers up to 3, which stand for the model's outputs, and it has 3, from 0 to 2" in document.detail
    assert [error.field for error in document.errors] == ["evaluation_dataset_id"]


@pytest.mark.parametrize(
    ("content", "kind", "refusal", "words"),
    [
        (raw_zip([(b"..\\evil.png", PNG, b"")]), "images", ProblemKind.UNSAFE_ARCHIVE, "leads outside"),
        (raw_zip([(b"a/1.png", PNG, b""), (b"a\\1.png", PNG, b"")]), "images", ProblemKind.UNSAFE_ARCHIVE, "twice"),
        (raw_zip([(b"a/1\r.png", PNG, b"")]), "images", ProblemKind.UNSAFE_ARCHIVE, "Rename the file"),
        (
            archive({"1.png": PNG, "1.xml": b"<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>"}),
            "detection",
            ProblemKind.INVALID_DATASET,
            "1.xml has a document type",
        ),
        (
            archive({"images/1.png": PNG, "labels/1.txt": b"0 5 5 2 2", "classes.txt": b"cat"}),
            "detection",
            ProblemKind.INVALID_DATASET,
            "line 1 of 'labels/1.txt' has a box that reaches outside the image",
        ),
        (
            archive({"1.png": PNG, "2.png": PNG, "labels.csv": b"1.png;cat\n2.png;dog\n3.png;emu\n"}),
            "images",
            ProblemKind.INVALID_DATASET,
            "labels.csv: line 3 names the image '3.png'",
        ),
        (annotated(size=[10, 12], counts=[500]), "detection", ProblemKind.INVALID_DATASET, "annotation a2 has no bbox"),
    ],
)
def test_what_cannot_be_read_is_named(
    api: httpx.Client, content: bytes, kind: str, refusal: ProblemKind, words: str
) -> None:
    document = problem(post_dataset(api, content, kind), refusal)
    assert words in document.detail
    assert [error.field for error in document.errors] == ["file"]


def test_a_mask_with_a_palette(api: httpx.Client) -> None:
    label, file = Image.new("P", (12, 10), 1), io.BytesIO()
    label.putpalette([0, 0, 0, 128, 0, 0] + [7] * 762)
    label.putpixel((0, 0), 255)
    label.save(file, "PNG")
    content = archive({
        "VOC/concepts.json": b'{"object": ["aeroplane"]}',
        "VOC/images/a.jpg": image(form="JPEG"),
        "VOC/labels/object/a.png": file.getvalue(),
    })  # fmt: skip
    dataset = add_dataset(api, content, "concepts")
    assert dataset["concepts"] == {"object": ["aeroplane"]}
    assert dataset["warnings"] == ["index 255 of a palette, read as no concept, in 'VOC/labels/object/a.png'"]
