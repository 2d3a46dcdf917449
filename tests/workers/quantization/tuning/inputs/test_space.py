"""The input space: shapes, pixel ranges, noise."""

import numpy as np
import pytest
import torch
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.vision.preprocess import preprocess
from tests.graphs.builders import GraphBuilder
from workers.figures.pixels import to_pixels
from workers.quantization.tuning.inputs.space import InputSpace, input_space, require_input_space

MODEL = GraphBuilder(["batch", 3, 8, 8], name="image")
MODEL.add("Relu")

PREPROCESSINGS = {
    "RGB": Preprocessing(size=[8, 8], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    "BGR of whole pixels": Preprocessing(
        size=[8, 8], channel_order="bgr", scale=1.0, mean=[103.5, 116.3, 123.7], std=[57.4, 57.1, 58.4]
    ),
    "gray": Preprocessing(size=[8, 8], channel_order="gray", mean=[0.3], std=[0.35]),
    "one mean for all": Preprocessing(size=[8, 8], scale=1 / 127.5, mean=[1.0], std=[1.0]),
}
every_preprocessing = pytest.mark.parametrize("name", PREPROCESSINGS)


def spec(*shape: int | str, dtype: str = "float32", name: str = "image") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=list(shape))


def space_of(*specs: TensorSpec, preprocessing: Preprocessing | None = None) -> InputSpace:
    space = input_space(MODEL.build(), specs, preprocessing)
    assert space is not None
    return space


@every_preprocessing
def test_bounds_are_what_preprocessing_makes_of_black_and_white(name: str) -> None:
    preprocessing = PREPROCESSINGS[name]
    space = space_of(spec("n", preprocessing.channels, 8, 8), preprocessing=preprocessing)
    assert space.images
    assert space.low is not None
    assert space.high is not None
    assert space.low.shape == (1, preprocessing.channels, 1, 1)
    for colour, bound in (((0, 0, 0), space.low), ((255, 255, 255), space.high)):
        expected, _ = preprocess(Image.new("RGB", (8, 8), colour), preprocessing)
        torch.testing.assert_close(bound[0].expand(-1, 8, 8), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@every_preprocessing
def test_values_from_0_to_1_are_pixels_and_undoing_preprocessing_gives_them_back(name: str) -> None:
    preprocessing = PREPROCESSINGS[name]
    space = space_of(spec("n", preprocessing.channels, 8, 8), preprocessing=preprocessing)
    pixels = torch.randint(0, 256, (4, preprocessing.channels, 8, 8), generator=torch.Generator().manual_seed(0))
    back = to_pixels(space.from_unit(pixels / 255).numpy(), preprocessing)
    own_order = back[:, ::-1] if name.startswith("BGR") else back
    np.testing.assert_array_equal(own_order, pixels.numpy())


@every_preprocessing
def test_values_are_clamped_to_the_pixel_range_and_noise_is_within_it(name: str) -> None:
    preprocessing = PREPROCESSINGS[name]
    space = space_of(spec("n", preprocessing.channels, 8, 8), preprocessing=preprocessing)
    wild = torch.randn(3, preprocessing.channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 1000
    clamped = space.clamp(wild)
    assert torch.equal(space.clamp(clamped), clamped)
    assert space.low is not None
    assert space.high is not None
    assert torch.equal(
        clamped, torch.where(wild < space.low, space.low, torch.where(wild > space.high, space.high, wild))
    )
    noise = space.noise(5, 1)
    torch.testing.assert_close(space.clamp(noise), noise, rtol=1e-5, atol=1e-4)


def test_inputs_that_are_no_images_are_unbounded() -> None:
    signal = space_of(spec("n", 2, 40, name="signal"))
    assert (signal.shape, signal.images, signal.fixed_batch) == ((2, 40), False, None)
    wild = torch.full((1, 2, 40), 1e6)
    assert torch.equal(signal.clamp(wild), wild)
    assert torch.equal(signal.from_unit(wild), wild)
    noise = signal.noise(64, 0)
    assert noise.shape == (64, 2, 40)
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(noise.std()) - 1) < 0.05
    assert torch.equal(noise, signal.noise(64, 0))
    assert not torch.equal(noise, signal.noise(64, 1))


def test_features_without_spatial_axes() -> None:
    space = space_of(spec("n", 13, name="features"))
    assert space.shape == (13,)
    assert space.noise(3, 0).shape == (3, 13)


def test_noise_has_any_batch_size_with_a_fixed_batch_too() -> None:
    space = space_of(spec(4, 2, 10, name="signal"))
    assert space.fixed_batch == 4
    assert space.shape == (2, 10)
    assert space.noise(7, 0).shape == (7, 2, 10)


def test_images_with_channels_last_are_packed_channels_first() -> None:
    last = Preprocessing(size=[24, 40], layout="channels_last")
    space = space_of(spec("n", 24, 40, 3), preprocessing=last)
    assert space.images
    assert space.shape == (3, 24, 40)
    noise = space.noise(5, 0)
    assert noise.shape == (5, 3, 24, 40)
    taken = space.packing.to_network(noise)
    assert isinstance(taken, torch.Tensor)
    assert taken.shape == (5, 24, 40, 3)
    np.testing.assert_array_equal(space.packing.unpack(noise.numpy())["image"], taken.numpy())


def test_images_without_preprocessing_are_unbounded() -> None:
    space = space_of(spec("n", 3, 8, 8))
    assert not space.images
    assert space.low is None


def test_several_inputs_share_one_tensor() -> None:
    space = space_of(spec("n", 3, 8, 8), spec("n", 4, name="other"))
    assert space.shape == (3 * 8 * 8 + 4,)
    noise = space.noise(6, 0)
    assert noise.shape == (6, 196)
    inputs = space.packing.to_network(noise)
    assert isinstance(inputs, dict)
    assert {name: tuple(values.shape) for name, values in inputs.items()} == {"image": (6, 3, 8, 8), "other": (6, 4)}


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_are_random_and_neither_mixed_nor_optimized(dtype: str) -> None:
    space = space_of(spec("n", 12, dtype=dtype, name="tokens"))
    assert not space.continuous
    noise = space.noise(50, 0)
    assert set(noise.flatten().tolist()) == {0.0, 1.0}, "they index no table"
    with pytest.raises(FaceterError, match="auto, rq, dfq and aciq work for any") as caught:
        require_input_space(MODEL.build(), space.packing.specs, None)
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE
    assert require_input_space(MODEL.build(), space.packing.specs, None, continuous=False).shape == (12,)


@pytest.mark.parametrize("specs", [(spec("n", 4, dtype="str", name="words"),), ()], ids=["text", "none"])
def test_text_and_no_inputs_at_all_are_refused(specs: tuple[TensorSpec, ...]) -> None:
    assert input_space(MODEL.build(), specs, None) is None
    with pytest.raises(FaceterError, match="rq, dfq and aciq") as caught:
        require_input_space(MODEL.build(), specs, None)
    assert caught.value.kind is ProblemKind.METHOD_NOT_APPLICABLE
    assert [problem.field for problem in caught.value.errors] == ["method"]


def test_moving_to_a_device_keeps_everything() -> None:
    space = space_of(spec("n", 3, 8, 8), preprocessing=PREPROCESSINGS["RGB"])
    moved = space.to(torch.device("meta"))
    assert moved.low is not None
    assert moved.low.device.type == "meta"
    assert (moved.shape, moved.fixed_batch, moved.packing) == (space.shape, space.fixed_batch, space.packing)
