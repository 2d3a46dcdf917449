"""Texts refer to files by whole names, by their ends, and from other machines."""

import pytest

from faceter.datasets.file_references import FileReferences, stem

FILES = ["set/val/cat/1.jpg", "set/val/dog/1.jpg", "set/val/dog/Photo.JPG", "set/café.png", "set/a/x.png", "set/x.png"]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("set/val/cat/1.jpg", "set/val/cat/1.jpg"),
        ("cat/1.jpg", "set/val/cat/1.jpg"),
        ("./val/cat/1.jpg", "set/val/cat/1.jpg"),
        ("val\\dog\\1.jpg", "set/val/dog/1.jpg"),
        ("/home/me/data/val/dog/1.jpg", "set/val/dog/1.jpg"),
        ("C:\\data\\val\\dog\\1.jpg", "set/val/dog/1.jpg"),
        (" cat/1.jpg ", "set/val/cat/1.jpg"),
        ("cafe\u0301.png", "set/café.png"),
        ("dog/photo.jpg", "set/val/dog/Photo.JPG"),
        ("1.jpg", None),
        ("x.png", None),
        ("a/x.png", "set/a/x.png"),
        ("set/x.png", "set/x.png"),
        ("elsewhere/x.png", "set/x.png"),
        ("train/cat/1.jpg", None),
        ("emu/Photo.JPG", None),
        ("../cat/1.jpg", None),
        ("cat/../cat/1.jpg", None),
        ("2.jpg", None),
        ("", None),
        ("/", None),
    ],
)
def test_files_are_found(reference: str, found: str | None) -> None:
    assert FileReferences.of(FILES).find(reference) == found


def test_given_folders_come_first() -> None:
    references = FileReferences.of(FILES)
    assert references.find("1.jpg", ("set/val/dog/",)) == "set/val/dog/1.jpg"
    assert references.find("x.png", ("set/a/", "set/")) == "set/a/x.png"
    assert references.find("elsewhere/1.jpg", ("set/val/dog/",)) == "set/val/dog/1.jpg"
    assert references.find("1.jpg", ("set/",)) is None


def test_other_upper_and_lower_case_is_remembered() -> None:
    references = FileReferences.of(FILES)
    assert references.find("dog/PHOTO.jpg") == "set/val/dog/Photo.JPG"
    assert references.find("dog/1.jpg") == "set/val/dog/1.jpg"
    assert references.respelled == {"dog/PHOTO.jpg": "set/val/dog/Photo.JPG"}


def test_names_that_differ_in_case_alone_are_only_found_exactly() -> None:
    references = FileReferences.of(["a/Photo.jpg", "a/photo.jpg"])
    assert references.find("photo.jpg") == "a/photo.jpg"
    assert references.find("PHOTO.jpg") is None


def test_names_without_extension() -> None:
    references = FileReferences.without_extension([*FILES, "set/val/cat/1.png"])
    assert references.find("dog/1") == "set/val/dog/1.jpg"
    assert references.find("cat/1") is None
    assert FileReferences.without_extension(["cat/1.jpg", "cat/1.png", "dog/1.jpg"]).find("1") is None


def test_another_part_of_a_set_is_not_taken() -> None:
    references = FileReferences.of(["set/val/1.jpg", "set/val/2.jpg"])
    assert references.find("elsewhere/1.jpg") == "set/val/1.jpg"
    assert references.find("me/Val/images/1.jpg") == "set/val/1.jpg"
    assert references.find("me/train/1.jpg") is None


def test_extensions() -> None:
    assert stem("a.b/c.d.png") == "a.b/c.d"
    assert stem("a.b/c") == "a.b/c"
