"""Where the images of two domains lie: A and B, trainA and trainB, or pairs side by side."""

import io
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.domain_folders import DomainFinder
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import image, write_zip

SETTINGS = Settings(_env_file=None)
KIND: Final = DatasetKind.DOMAINS


def cyclegan(prefix: str = "", parts: tuple[str, ...] = ("train", "test")) -> dict[str, bytes]:
    """Return the images of CycleGAN's folders: three of A and two of B in each part."""
    counts = {"A": 3, "B": 2}
    return {
        f"{prefix}{part}{domain}/{number}.jpg": image("red" if domain == "A" else "blue")
        for part in parts
        for domain, count in counts.items()
        for number in range(count)
    }


def side_by_side(width: int = 40, height: int = 30) -> bytes:
    """Return an image whose left half is red and whose right half is blue."""
    halves = Image.new("RGB", (width, height), "blue")
    halves.paste(Image.new("RGB", (width // 2, height), "red"))
    stream = io.BytesIO()
    halves.save(stream, "PNG")
    return stream.getvalue()


def refused(path: Path, members: dict[str, bytes], *, paired: bool = False) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), KIND, SETTINGS, paired=paired)
    assert caught.value.kind is ProblemKind.INVALID_DATASET
    return caught.value.detail


@pytest.mark.parametrize("prefix", ["", "horse2zebra/", "data/horse2zebra/"])
@pytest.mark.parametrize(
    ("parts", "taken", "ignored"),
    [
        (("train", "test"), "train", ["testA/ (3), {}testB/ (2)"]),
        (("train", "val", "test"), "train", ["valA/ (3), {}valB/ (2), {}testA/ (3), {}testB/ (2)"]),
        (("test", "val"), "val", ["testA/ (3), {}testB/ (2)"]),
        (("train",), "train", []),
        (("test",), "test", []),
    ],
)
def test_the_folders_of_cyclegan(
    tmp_path: Path, prefix: str, parts: tuple[str, ...], taken: str, ignored: list[str]
) -> None:
    path = write_zip(tmp_path / "a.zip", cyclegan(prefix, parts))
    summary = verify_dataset(path, KIND, SETTINGS)
    assert (summary.samples, summary.classes, summary.class_counts) == (5, ["A", "B"], {"A": 3, "B": 2})
    end = ". Upload them as a set of their own to evaluate on"
    folders = [text.replace("{}", prefix) for text in ignored]
    assert summary.warnings == [f"ignored, kept for tests: {prefix}{text}{end}" for text in folders]
    with DomainsDataset.open(path, SETTINGS) as data:
        assert data.names_a == [f"{prefix}{taken}A/{number}.jpg" for number in range(3)]
        assert data.image("B", 1).getpixel((0, 0)) == (0, 0, 255)
        assert [(data.names_a[a], data.names_b[b]) for a, b in data.pairs()] == [
            (f"{prefix}{taken}A/{number}.jpg", f"{prefix}{taken}B/{number}.jpg") for number in range(2)
        ]


def test_cyclegans_folders_may_be_paired(tmp_path: Path) -> None:
    members = cyclegan()
    assert "Only in A: '2'." in refused(tmp_path, members, paired=True)
    del members["trainA/2.jpg"]
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), KIND, SETTINGS, paired=True).samples == 4


def test_images_beside_cyclegans_folders_are_refused(tmp_path: Path) -> None:
    detail = refused(tmp_path, {**cyclegan(), "example.png": image()})
    assert (
        "Images that lie neither in trainA/ nor in trainB/: 'example.png'. Move them there, or remove them." in detail
    )


@pytest.mark.parametrize("folder", ["", "facades/", "data/facades/", "facades/train/", "facades/images/"])
def test_pairs_side_by_side(tmp_path: Path, folder: str) -> None:
    members = {f"{folder}{number}.png": side_by_side(40 + 2 * number) for number in range(3)}
    path = write_zip(tmp_path / "a.zip", {**members, "README.txt": b"x"})
    seen: list[float] = []
    summary = verify_dataset(path, KIND, SETTINGS, seen.append, paired=True)
    assert (summary.samples, summary.class_counts) == (6, {"A": 3, "B": 3})
    assert summary.warnings == [
        "ignored, not images: 'README.txt'",
        "each image read as a pair side by side: its left half is of A, its right half of B",
    ]
    assert seen == pytest.approx([1 / 3, 2 / 3, 1])
    with DomainsDataset.open(path, SETTINGS) as data:
        assert data.pairs() == [(0, 0), (1, 1), (2, 2)]
        assert [size for _, size in data.sizes()] == [(20, 30), (21, 30), (22, 30)]
        for index in range(3):
            left, right = data.image("A", index), data.image("B", index)
            assert left.size == right.size == (20 + index, 30)
            assert (np.asarray(left) == (255, 0, 0)).all()
            assert (np.asarray(right) == (0, 0, 255)).all()
        with pytest.raises(IndexError):
            data.image("A", 3)


@pytest.mark.parametrize(("parts", "taken"), [(["train", "val", "test"], "train"), (["val", "test"], "val")])
def test_the_part_to_train_on_is_taken(tmp_path: Path, parts: list[str], taken: str) -> None:
    members = {f"facades/{part}/{number}.png": side_by_side() for part in parts for number in range(2)}
    path = write_zip(tmp_path / "a.zip", members)
    summary = verify_dataset(path, KIND, SETTINGS, paired=True)
    assert summary.samples == 4
    others = ", ".join(f"facades/{part}/ (2)" for part in sorted(parts) if part != taken)
    assert f"ignored, kept for tests: {others}. Upload them as a set of their own to evaluate on" in summary.warnings
    with DomainsDataset.open(path, SETTINGS) as data:
        assert data.names_a == [f"facades/{taken}/{number}.png" for number in range(2)]


def test_pairs_side_by_side_are_refused_unless_paired(tmp_path: Path) -> None:
    members = {f"facades/{number}.png": side_by_side() for number in range(2)}
    detail = refused(tmp_path, members)
    assert detail.startswith("There are no images in A/ and none in B/: they lie in 'facades/'.")
    assert detail.endswith(
        "If each image shows a pair side by side, A on the left and B on the right, upload the set with `paired=true`."
    )


def test_halves_are_of_one_size(tmp_path: Path) -> None:
    detail = refused(tmp_path, {"1.png": side_by_side(), "2.png": side_by_side(41)}, paired=True)
    assert "'2.png' is 41 × 30 pixels: as a pair side by side its width must be even" in detail


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["A/1.png", "A/2.png"], "There are no images in B/: they lie in 'A/'."),
        (["trainA/1.png", "trainA/2.png"], "no images in A/ and none in B/: they lie in 'trainA/'."),
        (["x/1.png", "y/2.png"], "no images in A/ and none in B/: they lie in 'x/', 'y/'."),
        (["1.png"], "The domain A has a single image, '1.png'."),
    ],
)
def test_other_folders_are_no_pairs_side_by_side(tmp_path: Path, names: list[str], words: str) -> None:
    assert words in refused(tmp_path, {name: side_by_side() for name in names}, paired=True)


def test_folders_are_those_of_the_names() -> None:
    found = DomainFinder(["s/A/1.png", "s/A/x/2.png", "s/B/3.png"]).find()
    assert found.names == {"A": ["s/A/1.png", "s/A/x/2.png"], "B": ["s/B/3.png"]}
    assert (found.folders, found.side_by_side, found.warnings) == ({"A": "s/A/", "B": "s/B/"}, False, [])
