import unicodedata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import READERS, verify_dataset
from faceter.datasets.samples import evenly_spaced
from tests.datasets.archives import image, write_zip

SETTINGS = Settings(_env_file=None)
FOLDERS = {
    "dog/1.png": image("blue"),
    "cat/2.png": image("red"),
    "cat/1.jpg": image("red", format_="JPEG"),
}


def refused(path: Path, members: dict[str, bytes], kind: ProblemKind, settings: Settings = SETTINGS) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), DatasetKind.IMAGES, settings)
    assert caught.value.kind is kind
    return caught.value.detail


def test_every_kind_has_a_reader() -> None:
    assert set(READERS) == set(DatasetKind)


def test_folders_are_classes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FOLDERS)
    summary = verify_dataset(path, DatasetKind.IMAGES, SETTINGS)
    assert summary.samples == 3
    assert summary.classes == ["cat", "dog"]
    assert summary.class_counts == {"cat": 2, "dog": 1}
    with ImagesDataset.open(path, SETTINGS) as dataset:
        assert dataset.names == ["cat/1.jpg", "cat/2.png", "dog/1.png"]
        assert dataset.labels == [0, 0, 1]
        assert dataset.image(2).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("prefix", ["cifar/", "a/b/"])
def test_a_folder_around_everything_is_no_class(tmp_path: Path, prefix: str) -> None:
    path = write_zip(tmp_path / "a.zip", {prefix + name: content for name, content in FOLDERS.items()})
    assert verify_dataset(path, DatasetKind.IMAGES, SETTINGS).class_counts == {"cat": 2, "dog": 1}


def test_folders_within_a_class_are_of_that_class(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"cat/x/1.png": image(), "cat/2.png": image(), "dog/y/z/3.png": image()})
    assert verify_dataset(path, DatasetKind.IMAGES, SETTINGS).class_counts == {"cat": 2, "dog": 1}


def test_one_folder_is_one_class(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"cat/1.png": image()})
    assert verify_dataset(path, DatasetKind.IMAGES, SETTINGS).classes == ["cat"]


def test_images_without_folders_have_no_labels(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.png": image(), "2.png": image()})
    summary = verify_dataset(path, DatasetKind.IMAGES, SETTINGS)
    assert (summary.samples, summary.classes, summary.class_counts) == (2, [], {})
    with ImagesDataset.open(path, SETTINGS) as dataset:
        assert dataset.labels is None
        assert dataset.labels_for(["cat"]) is None
        (batch,) = dataset.batches(Preprocessing(size=[8, 8]), 5)
        assert batch.labels is None


def test_classes_are_numbered_as_the_models_labels(tmp_path: Path) -> None:
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", FOLDERS), SETTINGS) as dataset:
        assert dataset.labels_for(None) == [0, 0, 1]
        assert dataset.labels_for(["dog", "fox", "cat"]) == [2, 2, 0]
        with pytest.raises(FaceterError, match="no labels of the model: 'dog'") as caught:
            dataset.labels_for(["cat", "fox"])
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_letters_are_compared_however_they_are_encoded(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    for form in forms:
        with ImagesDataset.open(write_zip(tmp_path / "a.zip", {f"{form}/1.png": image()}), SETTINGS) as dataset:
            assert dataset.classes == ["café"]
            assert [dataset.labels_for(["tea", label]) for label in forms] == [[1], [1]]


def numbers(*names: int | str) -> dict[str, bytes]:
    return {f"{name}/p.png": image() for name in names}


def test_classes_that_are_numbers_come_in_their_order(tmp_path: Path) -> None:
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", numbers(*range(12))), SETTINGS) as dataset:
        assert dataset.classes == [str(number) for number in range(12)]
        assert dataset.outputs == list(range(12))
        found = dict(zip(dataset.names, dataset.labels_for(None) or [], strict=True))
        assert found == {f"{number}/p.png": number for number in range(12)}
        assert dataset.labels_for([str(number) for number in reversed(range(12))]) == [
            11 - found[name] for name in dataset.names
        ]
        positions = dataset.class_positions()
        assert positions is not None
        assert [dataset.classes[position] for position in positions] == [name.split("/")[0] for name in dataset.names]


def test_classes_that_are_numbers_stand_for_outputs(tmp_path: Path) -> None:
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", numbers("02", "10", "7")), SETTINGS) as dataset:
        assert dataset.classes == ["02", "7", "10"]
        assert dataset.labels_for(None) == [2, 10, 7]
        assert dataset.labels_for([f"label {number}" for number in range(11)]) == [2, 10, 7]
        assert dataset.labels_for(["10", "7", "02"]) == [2, 0, 1]
        with pytest.raises(FaceterError, match=r"no labels of the model: '10'\. Its labels .*, outputs 0 to 9\."):
            dataset.labels_for([f"label {number}" for number in range(10)])
        with pytest.raises(FaceterError, match="no labels of the model: '02', '7'"):
            dataset.labels_for(["10", *(f"label {number}" for number in range(99))])


def test_a_file_may_name_numbered_classes(tmp_path: Path) -> None:
    members = {**numbers(0, 2, 10), "classes.txt": b"".join(b"name %d\n" % number for number in range(11))}
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", members), SETTINGS) as dataset:
        assert dataset.classes == ["name 0", "name 2", "name 10"]
        assert dataset.summary().class_counts == {"name 0": 1, "name 2": 1, "name 10": 1}
        assert dataset.labels_for(None) == [0, 10, 2]
        assert dataset.labels_for(["name 10", "name 2", "name 0"]) == [2, 0, 1]
        assert dataset.warnings == ["names of classes from 'classes.txt'"]
        with pytest.raises(FaceterError, match="no labels of the model: 'name 0', 'name 2', 'name 10'"):
            dataset.labels_for([f"label {number}" for number in range(11)])
    detail = refused(tmp_path, {**members, "classes.txt": b"a\nb\n"}, ProblemKind.INVALID_DATASET)
    assert "classes.txt names 2 classes, the first of which is number 0, but there is a class 10" in detail


def test_some_numbers_among_names_are_names(tmp_path: Path) -> None:
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", numbers("10", "9", "cat")), SETTINGS) as dataset:
        assert (dataset.classes, dataset.outputs) == (["10", "9", "cat"], None)
        assert dataset.labels_for(None) == [0, 1, 2]


def test_classes_that_differ_in_case_alone_are_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FOLDERS, "Cat/9.png": image()})
    summary = verify_dataset(path, DatasetKind.IMAGES, SETTINGS)
    assert summary.class_counts == {"Cat": 1, "cat": 2, "dog": 1}
    assert summary.warnings == ["classes that differ only in upper and lower case: 'Cat', 'cat'"]


@pytest.mark.parametrize("ending", [".JPG", ".Jpeg", ".jfif", ".PNG", ".TIFF", ".Webp"])
def test_endings_in_upper_case(tmp_path: Path, ending: str) -> None:
    path = write_zip(tmp_path / "a.zip", {f"cat/1{ending}": image(), "dog/2.png": image()})
    assert verify_dataset(path, DatasetKind.IMAGES, SETTINGS).class_counts == {"cat": 1, "dog": 1}


def test_ignored_files_are_in_the_warnings(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {**FOLDERS, "README.txt": b"hello", "__MACOSX/cat/._1.jpg": b"x"})
    assert verify_dataset(path, DatasetKind.IMAGES, SETTINGS).warnings == [
        "ignored: __MACOSX (1)",
        "ignored, not images: 'README.txt'",
    ]


def test_images_both_in_folders_and_outside_are_refused(tmp_path: Path) -> None:
    detail = refused(tmp_path, {**FOLDERS, "7.png": image()}, ProblemKind.INVALID_DATASET)
    assert "'7.png'" in detail


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    assert "'data.csv'" in refused(tmp_path, {"data.csv": b"1,2"}, ProblemKind.INVALID_DATASET)


@pytest.mark.parametrize("broken", [b"", b"no image", image()[:60]])
def test_a_broken_image_is_named(tmp_path: Path, broken: bytes) -> None:
    assert "'dog/7.png'" in refused(tmp_path, {**FOLDERS, "dog/7.png": broken}, ProblemKind.INVALID_IMAGE)


def test_an_image_of_too_many_pixels_is_named(tmp_path: Path) -> None:
    members = {**FOLDERS, "dog/7.png": image(size=(101, 100))}
    few = SETTINGS.model_copy(update={"max_pixels": 10_000})
    assert "'dog/7.png'" in refused(tmp_path, members, ProblemKind.IMAGE_TOO_LARGE, few)


def test_the_settings_limits_hold(tmp_path: Path) -> None:
    refused(tmp_path, FOLDERS, ProblemKind.ARCHIVE_TOO_LARGE, SETTINGS.model_copy(update={"max_archive_entries": 2}))
    refused(tmp_path, FOLDERS, ProblemKind.ARCHIVE_TOO_LARGE, SETTINGS.model_copy(update={"max_unpacked_bytes": 99}))


def test_progress_goes_up_to_one(tmp_path: Path) -> None:
    seen: list[float] = []
    verify_dataset(write_zip(tmp_path / "a.zip", FOLDERS), DatasetKind.IMAGES, SETTINGS, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_batches_come_in_order_whatever_their_size(tmp_path: Path) -> None:
    members = {f"{'cat' if i % 2 else 'dog'}/{i:02}.png": image(f"#{i:02x}0000", (8, 8)) for i in range(7)}
    preprocessing = Preprocessing(size=[8, 8], scale=1)
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", members), SETTINGS) as dataset:
        for size in (1, 3, 7, 50):
            batches = list(dataset.batches(preprocessing, size, model_labels=["dog", "cat"]))
            assert max(len(batch.inputs) for batch in batches) <= size
            reds = np.concatenate([batch.inputs[:, 0, 0, 0] for batch in batches])
            assert reds.tolist() == [1, 3, 5, 0, 2, 4, 6]
            assert [int(i) for batch in batches for i in batch.indices] == list(range(7))
            assert [int(i) for batch in batches for i in batch.labels] == [1, 1, 1, 0, 0, 0, 0]  # type: ignore[union-attr]
            assert batches[0].inputs.dtype == np.float32
            assert batches[0].placements[0].image == (8, 8)


def test_some_images_only(tmp_path: Path) -> None:
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", FOLDERS), SETTINGS) as dataset:
        batches = list(dataset.batches(Preprocessing(size=[4, 4]), 2, indices=[2, 0]))
        assert [batch.indices.tolist() for batch in batches] == [[2, 0]]
        assert list(dataset.batches(Preprocessing(size=[4, 4]), 2, indices=[])) == []


def test_evenly_spaced_indices_cover_the_whole_range() -> None:
    assert evenly_spaced(10, 3) == [1, 5, 8]
    assert evenly_spaced(3, 10) == [0, 1, 2]
    assert len(set(evenly_spaced(5000, 256))) == 256


def test_verification_reads_every_image_of_a_real_set(shared_data: Path) -> None:
    summary = verify_dataset(shared_data / "cifar10" / "test.zip", DatasetKind.IMAGES, SETTINGS)
    assert summary.samples == 5000
    assert set(summary.class_counts.values()) == {500}
    assert summary.warnings == []


def test_the_class_that_is_a_number_is_the_models_output_of_it(tmp_path: Path) -> None:
    greys = np.arange(12, dtype=np.float32) * 20 / 255
    text = """<ir_version: 8, opset_import: ["" : 17]>
    nearest (float[N, 3, 8, 8] x) => (float[N, 12] y) {
        mean = ReduceMean <axes = [1, 2, 3], keepdims = 0> (x)
        column = Unsqueeze (mean, axis)
        distance = Sub (column, greys)
        square = Mul (distance, distance)
        y = Neg (square)
    }"""
    model = onnx.parser.parse_model(text)
    for name, values in (("greys", greys[None]), ("axis", np.array([1]))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    members = {f"{number}/p.png": image("#" + f"{20 * number:02x}" * 3, (8, 8)) for number in range(12)}
    with ImagesDataset.open(write_zip(tmp_path / "a.zip", members), SETTINGS) as dataset:
        (batch,) = dataset.batches(Preprocessing(size=[8, 8]), 12)
        (outputs,) = session.run(None, {"x": batch.inputs})
        assert batch.labels is not None
        assert np.argmax(np.asarray(outputs), axis=1).tolist() == batch.labels.tolist()
