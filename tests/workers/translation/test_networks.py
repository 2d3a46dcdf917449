"""The networks: parameter counts, receptive field of a patch, norms and dropout."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.translation import networks
from workers.translation.networks import (
    PatchDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    initialize,
    instance_norm,
)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (ResnetGenerator(), 11_378_179),
        (ResnetGenerator(blocks=6), 7_837_699),
        (PatchDiscriminator(), 2_764_737),
        (PatchDiscriminator(inputs=6), 2_767_809),
        # As published, but each of the 4,928 normalized channels has a bias before its norm for a factor and a shift
        # after it, and so have the outermost and the innermost ones of the encoder.
        (UnetGenerator(), 54_413_955 - 4_928 + 64 + 512),
    ],
    ids=["resnet of 9", "resnet of 6", "patches", "patches of pairs", "u-net"],
)
def test_parameter_counts_equal_the_published_ones(module: nn.Module, expected: int) -> None:
    assert parameters(module) == expected


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_the_receptive_field_of_a_score_is_the_published_patch(
    layers: int, field: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the norms, which see the whole image."""
    monkeypatch.setattr(networks, "instance_norm", lambda x: x)
    module = PatchDiscriminator(channels=4, layers=layers)
    image = drawn(1, 3, 128, 128).requires_grad_(True)
    scores = module(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)) > 0
    for axis in (0, 1):
        places = seen.any(axis).nonzero()
        assert int(places.max() - places.min()) + 1 == field


def test_a_discriminator_returns_a_score_per_patch() -> None:
    assert PatchDiscriminator(channels=2)(drawn(2, 3, 256, 256)).shape == (2, 1, 30, 30)
    assert PatchDiscriminator(inputs=6, channels=2)(drawn(1, 6, 64, 48)).shape == (1, 1, 6, 4)


@pytest.mark.parametrize("module", [ResnetGenerator(4, blocks=1), UnetGenerator(2, depth=3)])
def test_a_translation_has_the_size_of_the_image(module: ResnetGenerator | UnetGenerator) -> None:
    for height, width in ((module.multiple * 2, module.multiple * 3), (module.multiple * 4, module.multiple * 2)):
        made = module(drawn(2, 3, height, width))
        assert made.shape == (2, 3, height, width)
        assert made.dtype is torch.float32
        assert float(made.detach().abs().max()) <= 1.0


def test_a_translation_does_not_depend_on_the_rest_of_the_batch() -> None:
    images = drawn(3, 3, 32, 32)
    for module in (ResnetGenerator(4, blocks=1), UnetGenerator(4, depth=4)):
        initialize(module, seeded())
        together = module(images)
        alone = torch.cat([module(image[None]) for image in images])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_a_unet_at_256_has_a_bottleneck_of_one_pixel() -> None:
    module = UnetGenerator(channels=2)
    assert module.multiple == 256
    assert module(drawn(1, 3, 256, 256)).shape == (1, 3, 256, 256)
    with pytest.raises(ValueError, match="at least 2"):
        UnetGenerator(depth=1)


@pytest.mark.parametrize(("depth", "expected"), [(5, 0), (6, 1), (7, 2), (8, 3)])
def test_dropout_is_in_the_inner_blocks_and_only_in_training(
    depth: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[tuple[float, bool]] = []

    def noted(x: Tensor, share: float, training: bool) -> Tensor:
        shares.append((share, training))
        return x

    monkeypatch.setattr(functional, "dropout", noted)
    module = UnetGenerator(channels=1, depth=depth)
    x = drawn(1, 3, module.multiple, module.multiple)
    module.train()(x)
    module.eval()(x)
    assert shares == [(0.5, True)] * expected + [(0.5, False)] * expected


def test_dropout_is_off_in_evaluation_mode() -> None:
    module = UnetGenerator(channels=4, depth=6)
    initialize(module, seeded())
    x = drawn(1, 3, 64, 64)
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_computed_in_float32_and_returns_the_dtype_given(dtype: torch.dtype) -> None:
    x = (drawn(2, 3, 9, 7) * 0.3 + 20.0).to(dtype)
    values = x.double().numpy()
    mean, variance = (part((2, 3), keepdims=True) for part in (values.mean, values.var))
    expected = torch.from_numpy((values - mean) / np.sqrt(variance + 1e-5))
    found = instance_norm(x)
    assert found.dtype is dtype
    tolerance = 1e-4 if dtype is torch.float32 else 2**-8
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_weights_are_drawn_from_the_seed_with_deviation_2_percent() -> None:
    modules = [ResnetGenerator(16, blocks=2) for _ in range(3)]
    for module, seed in zip(modules, (1, 1, 2), strict=True):
        initialize(module, seeded(seed))
    first, equal, other = (
        torch.cat([p.detach().flatten() for n, p in m.named_parameters() if "bias" not in n]) for m in modules
    )
    assert torch.equal(first, equal)
    assert not torch.equal(first, other)
    assert float(first.std()) == pytest.approx(0.02, rel=0.01)
    assert float(first.mean()) == pytest.approx(0.0, abs=2e-4)
    assert all(not p.any() for n, p in modules[0].named_parameters() if "bias" in n)
