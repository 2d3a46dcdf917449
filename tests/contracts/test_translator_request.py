"""What a translator may be made of: training with the papers' defaults, or uploaded generators."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from faceter.contracts.translation_methods import Direction, GeneratorKind, TranslationMethod
from faceter.contracts.translators import (
    TranslatorRequest,
    TranslatorTraining,
    UploadedGenerators,
    discriminator_layers_at,
    residual_blocks_at,
    unet_depth_at,
)

REQUEST: TypeAdapter[TranslatorTraining | UploadedGenerators] = TypeAdapter(TranslatorRequest)


def training(method: str = "cyclegan", **fields: Any) -> TranslatorTraining:
    return TranslatorTraining.model_validate({"method": method, "dataset_id": "dts_a", **fields})


def test_the_default_generator_is_that_of_each_paper() -> None:
    assert training("cyclegan").kind is GeneratorKind.RESNET
    assert training("pix2pix").kind is GeneratorKind.UNET
    assert training("cyclegan", generator="unet").kind is GeneratorKind.UNET
    assert training("pix2pix", generator="resnet").kind is GeneratorKind.RESNET


@pytest.mark.parametrize(("size", "blocks"), [(16, 6), (128, 6), (255, 6), (256, 9), (1024, 9)])
def test_residual_blocks_depend_on_the_image_size(size: int, blocks: int) -> None:
    assert residual_blocks_at(size) == blocks
    assert training(image_size=size).blocks == blocks
    assert training(image_size=size, residual_blocks=3).blocks == 3


def test_cyclegan_learns_both_directions_and_pix2pix_one() -> None:
    assert training("cyclegan", direction="b2a").directions == [Direction.A2B, Direction.B2A]
    assert training("pix2pix").directions == [Direction.A2B]
    assert training("pix2pix", direction="b2a").directions == [Direction.B2A]


@pytest.mark.parametrize("direction", Direction)
def test_a_direction_and_its_inverse(direction: Direction) -> None:
    assert direction.back.back is direction
    assert (direction.back.source, direction.back.target) == (direction.target, direction.source)
    assert f"{direction.source}2{direction.target}".lower() == direction.value


@pytest.mark.parametrize(("size", "depth"), [(32, 5), (64, 6), (96, 5), (256, 8), (512, 8), (1024, 8)])
def test_a_unet_halves_images_as_often_as_it_can(size: int, depth: int) -> None:
    assert unet_depth_at(size) == depth
    assert size % 2**depth == 0


def test_small_images_have_fewer_discriminator_layers() -> None:
    assert [discriminator_layers_at(size) for size in (16, 23, 24, 256)] == [2, 2, 3, 3]


def test_references_are_named_by_field() -> None:
    assert list(training().references) == ["dataset_id"]
    whole = training(
        evaluation_dataset_id="dts_b", features={"model_id": "mdl_f", "tensor": "pool"}, resume_from_id="trl_c"
    ).references
    assert {field: (reference.resource.value, reference.id) for field, reference in whole.items()} == {
        "dataset_id": ("datasets", "dts_a"),
        "evaluation_dataset_id": ("datasets", "dts_b"),
        "features.model_id": ("models", "mdl_f"),
        "resume_from_id": ("translators", "trl_c"),
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "diffusion"}, "Input should be 'cyclegan' or 'pix2pix'"),
        ({"image_size": 15}, "greater than or equal to 16"),
        ({"image_size": 1025}, "less than or equal to 1024"),
        ({"base_channels": 0}, "greater than or equal to 1"),
        ({"residual_blocks": 0}, "greater than or equal to 1"),
        ({"identity": -0.1}, "greater than or equal to 0"),
        ({"cycle_weight": 0}, "greater than 0"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"max_minutes": 0}, "greater than 0"),
        ({"batch_size": 65}, "less than or equal to 64"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"direction": "a2a"}, "Input should be 'a2b' or 'b2a'"),
        ({"dataset": "dts_a"}, "Extra inputs"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        training(**fields)


def test_a_request_is_training_or_uploaded_generators() -> None:
    assert REQUEST.validate_python({"method": "pix2pix", "dataset_id": "dts_a"}) == training("pix2pix")
    assert REQUEST.validate_python({"a2b_id": "mdl_a"}) == UploadedGenerators(a2b_id="mdl_a")
    assert REQUEST.validate_python({"b2a_id": "mdl_a"}) == UploadedGenerators(b2a_id="mdl_a")


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "method"), ({"dataset_id": "dts_a"}, "method"), ({"method": "cyclegan", "a2b_id": "mdl_a"}, "dataset_id")],
)
def test_other_requests_are_taken_as_training(body: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        REQUEST.validate_python(body)
    assert ("training", field) in [error["loc"] for error in caught.value.errors()]


def test_uploaded_generators_by_direction() -> None:
    both = UploadedGenerators(a2b_id="mdl_a", b2a_id="mdl_b")
    assert both.models == {Direction.A2B: "mdl_a", Direction.B2A: "mdl_b"}
    assert UploadedGenerators(b2a_id="mdl_b").models == {Direction.B2A: "mdl_b"}
    assert UploadedGenerators().models == {}


def test_each_generator_has_a_multiple_for_its_image_size() -> None:
    assert (GeneratorKind.RESNET.multiple, GeneratorKind.UNET.multiple) == (4, 32)
    assert {method.value for method in TranslationMethod} == {"cyclegan", "pix2pix"}
