import unicodedata
from pathlib import Path
from typing import Final, Literal

import pytest
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.domain_folders import DOMAINS
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.kinds import open_inputs, verify_dataset
from tests.datasets.archives import image, write_zip

SETTINGS = Settings(_env_file=None)
KIND: Final = DatasetKind.DOMAINS

UNPAIRED = {
    "B/3.png": image("yellow"),
    "A/2.png": image("red"),
    "B/1.png": image("blue"),
    "A/day/1.jpg": image("green", format_="JPEG"),
    "B/2.png": image("black"),
}
PAIRED = {
    "A/x.png": image("red"),
    "A/x-1.png": image("blue"),
    "A/day/x.png": image("green"),
    "B/x.jpg": image("red", format_="JPEG"),
    "B/x-1.webp": image("blue", format_="WEBP"),
    "B/day/x.png": image("green"),
}
TWO = {"A/1.png": image(), "A/2.png": image(), "B/1.png": image(), "B/2.png": image()}


def refused(
    path: Path, members: dict[str, bytes], kind: ProblemKind = ProblemKind.INVALID_DATASET, *, paired: bool = False
) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), KIND, SETTINGS, paired=paired)
    assert caught.value.kind is kind
    return caught.value.detail


def pairs_of(path: Path) -> list[tuple[str, str]]:
    with DomainsDataset.open(path, SETTINGS) as dataset:
        return [(dataset.names_a[a], dataset.names_b[b]) for a, b in dataset.pairs()]


def test_two_domains(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", UNPAIRED)
    summary = verify_dataset(path, KIND, SETTINGS)
    assert (summary.samples, summary.classes, summary.class_counts) == (5, ["A", "B"], {"A": 2, "B": 3})
    assert (summary.concepts, summary.warnings) == ({}, [])
    with DomainsDataset.open(path, SETTINGS) as dataset:
        assert dataset.names_a == ["A/2.png", "A/day/1.jpg"]
        assert dataset.names_b == ["B/1.png", "B/2.png", "B/3.png"]
        assert dataset.names == dataset.names_a + dataset.names_b
        assert (len(dataset), [dataset.count(domain) for domain in DOMAINS]) == (5, [2, 3])
        assert dataset.image("A", 0).getpixel((0, 0)) == (255, 0, 0)
        assert [dataset.image("B", index).getpixel((0, 0)) for index in range(3)] == [
            (0, 0, 255), (0, 0, 0), (255, 255, 0),
        ]  # fmt: skip
        for domain in DOMAINS:
            with pytest.raises(IndexError):
                dataset.image(domain, dataset.count(domain))


def test_images_are_upright_and_rgb(tmp_path: Path) -> None:
    turned = Image.new("L", (40, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    members = {**TWO, "A/1.jpg": (tmp_path / "turned.jpg").read_bytes()}
    with DomainsDataset.open(write_zip(tmp_path / "a.zip", members), SETTINGS) as dataset:
        image = dataset.image("A", 0)
    assert (image.mode, image.size) == ("RGB", (30, 40))


@pytest.mark.parametrize("prefix", ["streets/", "a/b/", "A/"])
def test_folders_around_everything_are_ignored(tmp_path: Path, prefix: str) -> None:
    path = write_zip(tmp_path / "a.zip", {prefix + name: content for name, content in PAIRED.items()})
    assert verify_dataset(path, KIND, SETTINGS, paired=True).class_counts == {"A": 3, "B": 3}
    assert len(pairs_of(path)) == 3


def test_pairs_have_the_same_path_whatever_the_extension(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", PAIRED)
    assert verify_dataset(path, KIND, SETTINGS, paired=True).samples == 6
    assert pairs_of(path) == [
        ("A/day/x.png", "B/day/x.png"),
        ("A/x-1.png", "B/x-1.webp"),
        ("A/x.png", "B/x.jpg"),
    ]


def test_some_images_are_in_no_pair(tmp_path: Path) -> None:
    members = {**PAIRED, "A/alone.png": image(), "B/other.png": image()}
    path = write_zip(tmp_path / "a.zip", {**members, "A/x-1.jpg": image(), "B/x.png": image()})
    assert pairs_of(path) == [("A/day/x.png", "B/day/x.png")]


def test_upper_and_lower_case_do_not_separate_a_pair(tmp_path: Path) -> None:
    members = {f"A/{name}": image() for name in ("Photo1.jpg", "x.png", "X/2.PNG", "café.png")}
    members |= {f"B/{name}": image() for name in ("photo1.JPG", "x.png", "x/2.png", "CAFÉ.png")}
    path = write_zip(tmp_path / "a.zip", members)
    summary = verify_dataset(path, KIND, SETTINGS, paired=True)
    assert summary.warnings == [
        "paired though upper and lower case differ: 'A/Photo1.jpg' with 'B/photo1.JPG', 'A/X/2.PNG' with 'B/x/2.png', "
        "'A/café.png' with 'B/CAFÉ.png'"
    ]
    assert len(pairs_of(path)) == 4
    assert verify_dataset(path, KIND, SETTINGS).warnings == []


def test_equal_names_come_before_those_that_differ_in_case(tmp_path: Path) -> None:
    members = {f"A/{name}.png": image() for name in ("Photo", "photo", "x")}
    members |= {f"B/{name}.png": image() for name in ("photo", "PHOTO", "x")}
    path = write_zip(tmp_path / "a.zip", members)
    assert ("A/photo.png", "B/photo.png") in pairs_of(path)
    assert ("A/Photo.png", "B/PHOTO.png") in pairs_of(path)
    members["B/pHOTO.png"] = image()
    detail = refused(tmp_path, members, paired=True)
    assert "Only in A: 'Photo'. Only in B: 'PHOTO', 'pHOTO'." in detail


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_letters_are_compared_however_they_are_encoded(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]
) -> None:
    members = {
        f"{domain}/{unicodedata.normalize(form, name)}.png": image()
        for domain, form in zip(DOMAINS, forms, strict=True)
        for name in ("café", "été")
    }
    summary = verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS, paired=True)
    assert (summary.samples, summary.warnings) == (4, [])


def test_only_the_last_extension_is_left_out_of_a_name(tmp_path: Path) -> None:
    members = {"A/a.v1.png": image(), "A/a.v2.png": image(), "B/a.v2.jpg": image(), "B/a.v1.jpg": image()}
    path = write_zip(tmp_path / "a.zip", members)
    assert verify_dataset(path, KIND, SETTINGS, paired=True).samples == 4
    assert pairs_of(path) == [("A/a.v1.png", "B/a.v1.jpg"), ("A/a.v2.png", "B/a.v2.jpg")]


def test_ignored_files_are_in_the_warnings(tmp_path: Path) -> None:
    members = {**TWO, "README.txt": b"hello", "A/list.csv": b"1", "C/x.txt": b"x", "__MACOSX/A/._1.png": b"x"}
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS).warnings == [
        "ignored: __MACOSX (1)",
        "ignored, not images: 'A/list.csv', 'C/x.txt', 'README.txt'",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["A/1.png", "A/2.png"], "There are no images in B/: they lie in 'A/'. Put"),
        (["B/x/1.png", "B/x/2.png"], "There are no images in A/: they lie in 'B/x/'. Put"),
        (["A/x/1.png", "A/y/2.png"], "There are no images in B/: they lie in 'A/x/', 'A/y/'. Put"),
        (["s/A/1.png", "s/C/2.png"], "There are no images in B/: they lie in 's/A/', 's/C/'. Put"),
        (["trainA/1.png", "testB/1.png"], "no images in A/ and none in B/: they lie in 'testB/', 'trainA/'. Put"),
        (["a/1.png", "b/1.png"], "no images in A/ and none in B/: they lie in 'a/', 'b/'. Put"),
        (["s/1.png", "s/2.png"], "no images in A/ and none in B/: they lie in 's/'. Put"),
        (["1.png", "2.png"], "no images in A/ and none in B/: they lie in no folder. Put"),
        (["1.png", "B/2.png"], "There are no images in A/: they lie in 'B/' and in no folder. Put"),
        (["A/1.png", "A/2.png", "B/x.txt"], "There are no images in B/: they lie in 'A/'. Put"),
        (["A/1.png", "A/2.png", "B/1.png"], "The domain B has a single image, 'B/1.png'. Put 2 into each"),
        (["A/1.png", "B/1.png", "B/2.png"], "The domain A has a single image, 'A/1.png'. Put 2 into each"),
        ([*TWO, "C/1.png", "2.png"], "neither in A/ nor in B/: '2.png', 'C/1.png'. Move"),
        (["A/x.txt", "B/x.txt"], "holds no images (.jpg, .png, .webp, .gif, .bmp, .tif), only 'A/x.txt', 'B/x.txt'."),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, names: list[str], words: str) -> None:
    assert words in refused(tmp_path, {name: image() for name in names})


def test_names_without_a_partner_are_listed(tmp_path: Path) -> None:
    detail = refused(tmp_path, {**PAIRED, "A/p.png": image(), "B/day/p.png": image()}, paired=True)
    assert "Only in A: 'p'. Only in B: 'day/p'. Rename or remove them, or upload the set without `paired`." in detail
    detail = refused(tmp_path, {**PAIRED, **{f"B/p{i}.png": image() for i in range(7)}}, paired=True)
    assert "Only in B: 'p0', 'p1', 'p2', 'p3', 'p4' and 2 more." in detail
    assert "Only in A" not in detail


@pytest.mark.parametrize("domain", DOMAINS)
def test_pairs_are_of_two(tmp_path: Path, domain: str) -> None:
    members = {**PAIRED, f"{domain}/day/x.gif": image(format_="GIF")}
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS).samples == 7
    detail = refused(tmp_path, members, paired=True)
    assert f"Images of {domain} have the same name but for the extension: '{domain}/day/x.gif', " in detail
    assert f"'{domain}/day/x.png'." in detail


def test_images_of_a_pair_are_of_one_size(tmp_path: Path) -> None:
    members = {**PAIRED, "B/x.jpg": image(size=(30, 40), format_="JPEG")}
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS).samples == 6
    detail = refused(tmp_path, members, paired=True)
    assert "'A/x.png' is 40 × 30 pixels, but 'B/x.jpg', the other of its pair, is 30 × 40 (upright)." in detail


def test_images_that_are_no_pair_may_differ_in_size(tmp_path: Path) -> None:
    members = PAIRED | {f"{domain}/x.png": image(size=(9, 9)) for domain in DOMAINS}
    del members["B/x.jpg"]
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS, paired=True).samples == 6


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_broken_image_is_named(tmp_path: Path, domain: str) -> None:
    members = {**TWO, f"{domain}/7.png": image()[:60]}
    assert f"'{domain}/7.png'" in refused(tmp_path, members, ProblemKind.INVALID_IMAGE)


def test_progress_goes_up_to_one(tmp_path: Path) -> None:
    seen: list[float] = []
    verify_dataset(write_zip(tmp_path / "a.zip", UNPAIRED), KIND, SETTINGS, seen.append)
    assert seen == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_domains_are_no_inputs_of_one_model(tmp_path: Path) -> None:
    with pytest.raises(FaceterError, match="two domains, which are for translators") as caught:
        open_inputs(write_zip(tmp_path / "a.zip", TWO), KIND, SETTINGS)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_a_refused_archive_is_closed(tmp_path: Path) -> None:
    # an open file that is forgotten warns, and warnings are errors
    with pytest.raises(FaceterError):
        DomainsDataset.open(write_zip(tmp_path / "a.zip", {"A/1.png": image()}), SETTINGS)


def test_real_domains(shared_data: Path) -> None:
    path = shared_data / "dusk2day" / "train.zip"
    assert verify_dataset(path, KIND, SETTINGS).class_counts == {"A": 100, "B": 120}
    assert pairs_of(path) == []
    with pytest.raises(FaceterError, match=r"Only in A: '0001TP_006690', .* and 95 more\. Only in B: .* and 115 more"):
        verify_dataset(path, KIND, SETTINGS, paired=True)


def test_real_pairs(shared_data: Path) -> None:
    path = shared_data / "labels2photo" / "train.zip"
    summary = verify_dataset(path, KIND, SETTINGS, paired=True)
    assert (summary.class_counts, summary.warnings) == ({"A": 184, "B": 184}, [])
    found = pairs_of(path)
    assert len(found) == 184
    assert found[0] == ("A/0001TP_006690.png", "B/0001TP_006690.jpg")
