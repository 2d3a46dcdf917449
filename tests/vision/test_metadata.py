from typing import Any

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.vision.metadata import check_metadata, class_output, image_input

Shape = list[int | str | None]
IMAGE = TensorSpec(name="image", dtype="float32", shape=["batch", 3, 32, 32])
LOGITS = TensorSpec(name="logits", dtype="float32", shape=["batch", 10])
LABELS = [f"class {number}" for number in range(10)]
CLASSIFIER: dict[str, Any] = {
    "task": "image_classification",
    "preprocessing": {"size": [32, 32]},
    "labels": LABELS,
}


def tensor(name: str, shape: Shape, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def metadata(**changes: Any) -> ModelMetadata:
    return ModelMetadata.model_validate({**CLASSIFIER, **changes})


def test_matching_metadata_pass() -> None:
    check_metadata(metadata(), [IMAGE], [LOGITS])
    check_metadata(metadata(output="logits"), [IMAGE], [tensor("hidden", ["n", 64]), LOGITS])
    check_metadata(ModelMetadata(), [IMAGE], [LOGITS])


@pytest.mark.parametrize(
    ("image", "logits"),
    [
        (["n", 3, "h", "w"], ["n", "classes"]),
        (["n", None, None, None], ["n", None]),
        ([1, 3, 32, 32], [1, 10, 1, 1]),
        (["n", 3, 32, 32], []),
    ],
)
def test_dynamic_sizes_match_anything(image: Shape, logits: Shape) -> None:
    check_metadata(metadata(), [tensor("image", image)], [tensor("logits", logits)])


def test_a_classifier_of_vectors_needs_no_preprocessing() -> None:
    check_metadata(metadata(preprocessing=None), [tensor("x", ["n", 64])], [LOGITS])


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"labels": LABELS[:9]}, "metadata.labels", "9 labels, but output 'logits' has 10 classes"),
        ({"labels": [*LABELS[:9], LABELS[0]]}, "metadata.labels", "'class 0' is there twice"),
        ({"output": "scores"}, "metadata.output", "no output 'scores'; it has 'logits'"),
        ({"preprocessing": {"size": [32, 64]}}, "metadata.preprocessing.size", "[32, 64]"),
        ({"preprocessing": {"size": [64, 32]}}, "metadata.preprocessing.size", "[64, 32]"),
        (
            {"preprocessing": {"size": [32, 32], "channel_order": "gray"}},
            "metadata.preprocessing.channel_order",
            "gray has 1 channels",
        ),
        ({"preprocessing": {"size": [32, 32], "input": "x"}}, "metadata.preprocessing.input", "no input 'x'"),
        ({"detection": {"head": "grid", "boxes": "logits"}}, "metadata.detection", "object_detection, not image_class"),
    ],
)
def test_contradictions_are_reported_with_their_field(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(FaceterError) as caught:
        check_metadata(metadata(**changes), [IMAGE], [LOGITS])
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert any(problem.field == field and words in problem.message for problem in caught.value.errors)


@pytest.mark.parametrize(
    ("inputs", "outputs", "field"),
    [
        ([tensor("ids", ["n", 40], "int64")], [LOGITS], "metadata.preprocessing.input"),
        ([tensor("a", [1, 3, 32, 32]), tensor("b", [1, 3, 32, 32])], [LOGITS], "metadata.preprocessing.input"),
        ([tensor("image", ["n", 3, 32, 32], "int64")], [LOGITS], "metadata.preprocessing.input"),
        ([IMAGE], [tensor("map", ["n", 10, 8, 8])], "metadata.task"),
    ],
)
def test_a_model_of_another_shape_is_refused(inputs: list[TensorSpec], outputs: list[TensorSpec], field: str) -> None:
    with pytest.raises(FaceterError) as caught:
        check_metadata(metadata(), inputs, outputs)
    assert [problem.field for problem in caught.value.errors] == [field]


def test_a_task_for_images_needs_an_input_that_could_take_one() -> None:
    with pytest.raises(FaceterError, match="needs an input for images") as caught:
        check_metadata(metadata(preprocessing=None), [tensor("ids", ["n", 40], "int64")], [LOGITS])
    assert [problem.field for problem in caught.value.errors] == ["metadata.task"]


def test_a_named_input_of_another_rank_is_refused() -> None:
    given = metadata(preprocessing={"size": [32, 32], "input": "x"})
    with pytest.raises(FaceterError, match=r"an image needs \[N, C, H, W\]"):
        check_metadata(given, [tensor("x", ["n", 40])], [LOGITS])


def test_all_contradictions_are_reported_together() -> None:
    with pytest.raises(FaceterError) as caught:
        check_metadata(metadata(labels=["a"], preprocessing={"size": [1, 1]}), [IMAGE], [LOGITS])
    assert {problem.field for problem in caught.value.errors} == {"metadata.labels", "metadata.preprocessing.size"}


def test_a_detectors_decoding_is_checked_against_its_outputs() -> None:
    given = metadata(task="object_detection", detection={"head": "grid", "boxes": "out", "class_offset": 4})
    check_metadata(given, [IMAGE], [tensor("out", [1, 14, 4, 4])])
    with pytest.raises(FaceterError) as caught:
        check_metadata(given, [IMAGE], [tensor("out", [1, 15, 4, 4])])
    assert [problem.field for problem in caught.value.errors] == ["metadata.labels"]


def test_which_input_takes_the_image() -> None:
    preprocessing = Preprocessing(size=[32, 32])
    mask = tensor("mask", ["n", 1, 32, 32])
    assert image_input(preprocessing, [tensor("ids", ["n", 4]), IMAGE]) == IMAGE
    assert image_input(Preprocessing(size=[32, 32], input="mask"), [IMAGE, mask]) == mask
    with pytest.raises(FaceterError, match="Several inputs"):
        image_input(preprocessing, [IMAGE, mask])


def test_which_output_holds_the_classes() -> None:
    other = tensor("other", ["n", 4])
    assert class_output(ModelMetadata(), [LOGITS, other]) == LOGITS
    assert class_output(ModelMetadata(output="other"), [LOGITS, other]) == other
