"""Which folder is the class of an image."""

import pytest

from faceter.datasets.class_folders import class_folders


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["1.png", "2.png"], [None, None]),
        (["cat/1.png", "dog/2.png"], ["cat", "dog"]),
        (["cat/1.png"], ["cat"]),
        (["set/cat/1.png", "set/dog/x/2.png"], ["cat", "dog"]),
        (["a/b/c/cat/1.png", "a/b/c/dog/2.png"], ["cat", "dog"]),
        (["images/1.png", "images/2.png"], [None, None]),
        (["set/JPEGImages/1.png"], [None]),
        (["set/test/1.png", "set/test/2.png"], [None, None]),
        (["images/cat/1.png", "images/dog/2.png"], ["cat", "dog"]),
        (["images/1.png", "masks/1.png"], ["images", "masks"]),
        (["train/cat/1.png", "train/dog/2.png"], ["cat", "dog"]),
        (["cat/1.png", "2.png"], ["cat", None]),
    ],
)
def test_the_first_folder_below_those_around_everything(names: list[str], classes: list[str | None]) -> None:
    assert class_folders(names) == (classes, [])


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["train/cat/1.png", "train/dog/2.png", "val/cat/3.png"], ["cat", "dog", "cat"]),
        (["Test/cat/1.png", "Train/cat/2.png"], ["cat", "cat"]),
        (["set/test/1.png", "set/train/2.png"], [None, None]),
        (["train/images/1.png", "valid/images/2.png"], [None, None]),
        (["images/train/1.png", "images/val/2.png"], [None, None]),
        (["test/1.png", "train/cat/2.png"], [None, "cat"]),
    ],
)
def test_parts_of_one_set_are_no_classes(names: list[str], classes: list[str | None]) -> None:
    found, warnings = class_folders(names)
    assert found == classes
    (warning,) = warnings
    assert warning.startswith("read as parts of one set: '")
