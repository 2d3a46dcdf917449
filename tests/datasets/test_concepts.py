"""Images with concepts: labels are read as the numbers they are, and what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import open_inputs, verify_dataset
from tests.datasets.archives import image, write_zip
from tests.datasets.concepts import (
    CSV,
    NAMES,
    SETTINGS,
    SIZE,
    WHEELS,
    A,
    B,
    gray,
    members,
    opened,
    palette,
    png,
    refused,
    saved,
    warnings,
)  # fmt: skip


def test_images_and_concepts_are_read(tmp_path: Path) -> None:
    fractions: list[float] = []
    path = write_zip(tmp_path / "a.zip", members())
    summary = verify_dataset(path, DatasetKind.CONCEPTS, SETTINGS, fractions.append)
    assert (summary.samples, summary.concepts, summary.warnings) == (2, NAMES, [])
    assert (summary.classes, summary.class_counts) == ([], {})
    assert fractions == [0.5, 1.0]
    with ConceptsDataset.open(path, SETTINGS) as data:
        assert data.names == ["images/a.png", "images/town/b.jpg"]
        assert data.categories == NAMES
        assert list(data.categories) == ["object", "part", "scene"]
        assert data.concept_names == ["sky", "road", "car", "wheel", "day", "dusk"]
        assert data.concept_categories == ["object", "object", "object", "part", "scene", "scene"]
        assert data.pixel_categories == ["object", "part"]
        assert data.label_maps(0).dtype == np.uint16
        np.testing.assert_array_equal(data.label_maps(0), [A, WHEELS])
        np.testing.assert_array_equal(data.label_maps(1), [B, B])
        assert [data.image_concepts(index) for index in range(2)] == [[4], [5]]
        assert data.classes == []
        assert data.sample_labels(["x"]) is None  # type: ignore[func-returns-value]
        assert data.labels_for(["x"]) is None  # type: ignore[func-returns-value]


def test_they_are_images_for_a_model(tmp_path: Path) -> None:
    with open_inputs(write_zip(tmp_path / "a.zip", members()), DatasetKind.CONCEPTS, SETTINGS) as data:
        assert isinstance(data, ConceptsDataset)
        (batch,) = data.batches(Preprocessing(size=[3, 4], scale=1), 4)
    assert batch.labels is None
    assert batch.inputs[0, :, 0, 0].tolist() == [255, 0, 0]


def test_a_folder_around_everything_is_allowed(tmp_path: Path) -> None:
    with opened(tmp_path, {f"streets/{name}": content for name, content in members().items()}) as data:
        data.verify()
        assert data.warnings == []
        np.testing.assert_array_equal(data.label_maps(0), [A, WHEELS])
        assert data.image_concepts(0) == [4]


def test_folders_around_everything_and_files_beside_them_do_not_matter(tmp_path: Path) -> None:
    content = {f"data/streets/{name}": content for name, content in members().items()}
    with opened(tmp_path, {**content, "README.txt": b"x", "data/LICENSE": b"x"}) as data:
        data.verify()
        assert data.warnings == ["ignored, unknown: 'README.txt', 'data/LICENSE'"]
        np.testing.assert_array_equal(data.label_maps(0), [A, WHEELS])


def full_palette(values: ArrayLike) -> bytes:
    """Return a label file with 256 colours, as PASCAL VOC has them."""
    image = Image.fromarray(np.asarray(values, np.uint8)).convert("P")
    image.putpalette(list(range(256)) * 3)
    return saved(image)


def test_void_of_a_palette_is_no_concept(tmp_path: Path) -> None:
    void = np.where(A == 3, 255, A)
    with opened(tmp_path, members(object_a=full_palette(void))) as data:
        assert data.verify().warnings == ["index 255 of a palette, read as no concept, in 'labels/object/a.png'"]
        np.testing.assert_array_equal(data.label_maps(0)[0], np.where(A == 3, 0, A))
    assert "holds the value 255" in refused(tmp_path, members(object_a=gray(void)))
    many = {**NAMES, "object": [f"object {number}" for number in range(255)]}
    with opened(tmp_path, members(many, object_a=full_palette(void))) as data:
        assert data.verify().warnings == []
        np.testing.assert_array_equal(data.label_maps(0)[0], void)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("options", [{}, {"transparency": 0}])
def test_a_palette_does_not_matter(tmp_path: Path, bits: int, options: dict[str, int]) -> None:
    with opened(tmp_path, members(object_a=palette(A, bits, **options))) as data:
        data.verify()
        np.testing.assert_array_equal(data.label_maps(0)[0], A)


def test_sixteen_bits_number_more_concepts_than_eight(tmp_path: Path) -> None:
    names = {"object": [f"thing {number}" for number in range(65_535)]}
    values = A * 256 + 65_535 - 3 * 256
    content = members(names, None, object_a=gray(values, np.uint16), part_a=None, part_b=None)
    with opened(tmp_path, content) as data:
        data.verify()
        np.testing.assert_array_equal(data.label_maps(0), [values])


def test_labels_lie_over_the_image_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (3, 4))
    turned = saved(stored, "JPEG", exif=exif)
    with opened(tmp_path, members(a=turned)) as data:
        data.verify()
        assert data.image(0).size == SIZE
    content = members(a=turned, object_a=gray(A.T))
    assert "'labels/object/a.png' is 3 × 4 pixels, but its image 'images/a.png' is 4 × 3 (upright)" in refused(
        tmp_path, content
    )


def test_whole_images_alone(tmp_path: Path) -> None:
    content = members({"scene": NAMES["scene"]}, object_a=None, object_b=None, part_a=None, part_b=None)
    with opened(tmp_path, content) as data:
        data.verify()
        assert data.pixel_categories == []
        assert data.label_maps(0).shape == (0, 3, 4)
        assert data.image_concepts(1) == [1]


def test_a_category_may_be_of_pixels_and_of_images(tmp_path: Path) -> None:
    csv = CSV + "a,object,sky\na,object,sky\na.png,part,wheel\n\n town/b.jpg , object , car \n"
    with opened(tmp_path, members(csv="\ufeff" + csv.replace("\n", "\r\n"))) as data:
        data.verify()
        assert data.pixel_categories == ["object", "part"]
        assert data.image_concepts(0) == [0, 3, 4]
        assert data.image_concepts(1) == [2, 5]


def test_a_name_without_its_extension_goes_first(tmp_path: Path) -> None:
    content = {
        "concepts.json": b'{"scene": ["day", "dusk"]}',
        "image_labels.csv": b"image,category,concept\na.jpg,scene,day\na.jpg.png,scene,dusk\n",
        "images/a.jpg.png": image(size=SIZE),
        "images/b.jpg": image(size=SIZE),
    }
    with opened(tmp_path, content) as data:
        assert [data.image_concepts(index) for index in range(2)] == [[0, 1], []]


def test_without_whole_images_no_csv_is_needed(tmp_path: Path) -> None:
    names = {name: NAMES[name] for name in ("object", "part")}
    with opened(tmp_path, members(names, None)) as data:
        assert data.image_concepts(0) == []


def test_names_keep_parentheses_and_lose_blanks_around(tmp_path: Path) -> None:
    names = {**NAMES, "object": [" sky (clear) ", "road", "voiture é"]}
    with opened(tmp_path, members(names)) as data:
        assert data.concept_names[:3] == ["sky (clear)", "road", "voiture é"]


def test_what_is_not_known_is_ignored_with_a_warning(tmp_path: Path) -> None:
    more = {"labels/object/gone.png": b"x", "labels/part/a.txt": b"x", "labels/a.png": b"x", "images/read.me": b"x"}
    assert warnings(tmp_path, {**members(), **more, "more/c.png": image()}) == [
        "ignored, no labels of an image: 'labels/a.png', 'labels/object/gone.png', 'labels/part/a.txt'",
        "ignored, unknown: 'images/read.me', 'more/c.png'",
    ]


def test_extensions_in_upper_case(tmp_path: Path) -> None:
    content = members(object_a=None)
    with opened(tmp_path, {**content, "labels/object/a.PNG": gray(A)}) as data:
        np.testing.assert_array_equal(data.label_maps(0)[0], A)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (b"{", "concepts.json is not JSON"),
        (b"\xff\xfe\x00", "concepts.json is not JSON"),
        ([], "must list the names of each category"),
        ({"object": "sky"}, "must list the names of each category"),
        ({"object": ["sky", 1]}, "must list the names of each category"),
        ({"object": {"sky": 1}}, "must list the names of each category"),
        ({}, "names no categories"),
        ({"object": []}, "Category 'object' of concepts.json has no concepts"),
        ({**NAMES, "scene": []}, "Category 'scene' of concepts.json has no concepts"),
        ({"object": ["sky", "sky"]}, "has 'sky' of 'object' and 'sky' of 'object'"),
        ({"object": ["sky", " sky"]}, "has 'sky' of 'object' and 'sky' of 'object'"),
        ({"object": ["sky"], "part": ["Sky"]}, "has 'sky' of 'object' and 'Sky' of 'part'"),
        ({"object": ["straße"], "part": ["STRASSE"]}, "upper and lower case"),
        ({"object": [""]}, "Category 'object' of concepts.json has a concept ''"),
        ({"object": ["  "]}, "a name has 1 to 100 printable characters"),
        ({"object": ["a\nb"]}, r"has a concept 'a\nb'"),
        ({"object": ["a\x00"]}, r"has a concept 'a\x00'"),
        ({"object": ["x" * 101]}, "1 to 100 printable characters"),
        ({"": ["sky"]}, "names a category ''; it must be the name of a folder"),
        ({"a/b": ["sky"]}, "names a category 'a/b'"),
        ({" object": ["sky"]}, "names a category ' object'"),
        ({"x" * 101: ["sky"]}, "of 1 to 100 printable characters"),
        ({"object": ["sky"], "Object": ["road"]}, "has the category 'object' and the category 'Object'"),
        (b'{"object": ["sky"], "object": ["road"]}', "has the category 'object' and the category 'object'"),
        ({"object": [str(number) for number in range(65_536)]}, "has 65,536 concepts; it may have 65,535"),
        ({**NAMES, "color": ["red"]}, "Categories of concepts.json without labels: 'color'"),
        ({"part": ["wheel"], "scene": ["day", "dusk"]}, "is of the category 'object', which concepts.json does not"),
    ],
)
def test_bad_concepts_are_refused(tmp_path: Path, names: Any, words: str) -> None:
    assert words in refused(tmp_path, members(names))


def test_names_may_be_a_hundred_characters_long(tmp_path: Path) -> None:
    with opened(tmp_path, members({**NAMES, "part": ["x" * 100]})) as data:
        assert data.concept_names[3] == "x" * 100


def broken(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (gray(A[:2]), "is 4 × 2 pixels, but its image 'images/a.png' is 4 × 3 (upright)"),
        (gray(np.zeros((2000, 2000))), "is 2000 × 2000 pixels, but its image"),
        (gray(A + 1), "holds the value 4, but category 'object' of concepts.json has 3 names"),
        (gray(A + 1, np.uint16), "holds the value 4, but category 'object' of concepts.json has 3 names"),
        (gray(A * 256, np.uint16), "All its values are multiples of 256: 16-bit was written where 8-bit was meant"),
        (gray(A * 257, np.uint16), "All its values are multiples of 257: 16-bit was written where 8-bit was meant"),
        (palette(A + 1, 4), "holds the value 4"),
        (saved(Image.fromarray(A.astype(np.uint8)).convert("RGB")), "is RGB, so its values are colours"),
        (saved(Image.new("RGBA", SIZE)), "is RGB with transparency"),
        (saved(Image.new("LA", SIZE)), "is grey with transparency"),
        (saved(Image.new("1", SIZE)), "is grey of 1 bit. Save it with one channel of 8 or 16 bits"),
        (png(4, 3, 4, 0, 3 * b"\0\x01\x23"), "is grey of 4 bits"),
        (saved(Image.new("L", SIZE), "BMP"), "is not a PNG file"),
        (b"", "is not a PNG file"),
        (gray(A)[:20], "is not a PNG file"),
        (broken(gray(np.random.default_rng(0).integers(0, 4, (3, 4)))), "is broken or cut off"),
        (png(0, 3, 8, 0, 3 * b"\0"), "'labels/object/a.png'"),
        (png(4, 3, 5, 3, 3 * b"\0\x01\x02\x03\x00"), "is broken or cut off"),
    ],
)
def test_bad_labels_of_pixels_are_refused(tmp_path: Path, label: bytes, words: str) -> None:
    detail = refused(tmp_path, members(object_a=label))
    assert words in detail
    assert "'labels/object/a.png'" in detail


@pytest.mark.parametrize("values", [np.full((3, 4), 300), A * 256 + (A == 1)])
def test_values_that_are_no_multiples_are_not_called_so(tmp_path: Path, values: NDArray[np.int64]) -> None:
    detail = refused(tmp_path, members(object_a=gray(values, np.uint16)))
    assert f"holds the value {values.max()}" in detail
    assert "multiples" not in detail


def test_missing_labels_are_named(tmp_path: Path) -> None:
    detail = refused(tmp_path, members(object_b=None))
    assert "without labels of category 'object'; these files are missing: 'labels/object/town/b.png'" in detail
    content = {"concepts.json": b'{"object": ["sky"]}', "labels/object/x.png": gray(B)}
    content.update({f"images/{number}.png": image() for number in range(9)})
    assert "'labels/object/4.png' and 4 more" in refused(tmp_path, content)
    assert "'labels/object/a.png'" in refused(tmp_path, {**members(object_a=None), "labels/object/a.jpg": image()})


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    detail = refused(tmp_path, {**members(), "images/a.jpg": image(size=SIZE)})
    assert "'images/a.jpg' and 'images/a.png' would have the same labels" in detail


def test_archives_that_lack_something_are_refused(tmp_path: Path) -> None:
    content = members()
    assert "holds no concepts.json" in refused(tmp_path, {"images/a.png": image()})
    apart = {"a/concepts.json": content["concepts.json"], "images/a.png": image()}
    assert "no images in images/" in refused(tmp_path, apart)
    twice = {"a/concepts.json": content["concepts.json"], "b/concepts.json": content["concepts.json"]}
    assert "several files concepts.json: 'a/concepts.json', 'b/concepts.json'. Leave one" in refused(tmp_path, twice)
    del content["images/a.png"], content["images/town/b.jpg"]
    assert "no images in images/" in refused(tmp_path, {**content, "a.png": image()})


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceterError, match=r"'images/a\.png'") as caught:
        verify_dataset(write_zip(tmp_path / "a.zip", members(a=image()[:50])), DatasetKind.CONCEPTS, SETTINGS)
    assert caught.value.kind is ProblemKind.INVALID_IMAGE


def test_labels_are_bounded_as_images_are(tmp_path: Path) -> None:
    with opened(tmp_path, members(object_a=gray(B.repeat(4, 1)))) as data, pytest.raises(FaceterError) as caught:
        data.label_maps(0)
    assert "The labels of 'images/a.png' differ in size" in caught.value.detail
    small = SETTINGS.model_copy(update={"max_pixels": 12})
    with opened(tmp_path, members(object_a=gray(B.repeat(4, 1))), small) as data:
        assert data.image(0).size == SIZE
        with pytest.raises(FaceterError, match="takes up to 12 in all") as caught:
            data.label_maps(0)
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE
    bomb = np.random.default_rng(0).integers(0, 256, (1100, 1100))
    with opened(tmp_path, members(object_a=gray(bomb)), small) as data, pytest.raises(FaceterError) as caught:
        data.label_maps(0)
    assert "'labels/object/a.png'" in caught.value.detail
    assert caught.value.kind is ProblemKind.ARCHIVE_TOO_LARGE


@pytest.mark.parametrize(("file", "images", "dusk"), [("train.zip", 123, 21), ("val.zip", 51, 0)])
def test_a_real_set_passes(shared_data: Path, file: str, images: int, dusk: int) -> None:
    path = shared_data / "camvid" / file
    summary = verify_dataset(path, DatasetKind.CONCEPTS, SETTINGS)
    assert (summary.samples, summary.warnings) == (images, [])
    assert summary.concepts["scene"] == ["day", "dusk"]
    assert summary.concepts["object"][:2] == ["sky", "building"]
    with ConceptsDataset.open(path, SETTINGS) as data:
        assert data.pixel_categories == ["object"]
        assert data.concept_names[11:] == ["day", "dusk"]
        scenes = [data.image_concepts(index) for index in range(len(data))]
        assert scenes.count([12]) == dusk
        assert scenes.count([11]) == images - dusk
        maps = data.label_maps(0)
        assert maps.shape == (1, 360, 480)
        assert {0, 1, 2, 4} <= set(np.unique(maps).tolist()) <= set(range(12))
