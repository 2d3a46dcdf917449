import pytest
import torch

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from tests.graphs.builders import GraphBuilder
from workers.quantization.prepare import prepare
from workers.quantization.tuning.inputs.generator import InputGenerator, seeded_generator
from workers.quantization.tuning.inputs.space import InputSpace, require_input_space


def space_for(shape: tuple[int, ...], *, images: bool) -> InputSpace:
    """Return the space of the inputs of a network that takes them as they come."""
    net = GraphBuilder(["batch", *shape])
    net.add("Relu")
    metadata = ModelMetadata()
    if images:
        channels = {1: "gray", 3: "rgb"}[shape[0]]
        metadata = ModelMetadata(
            preprocessing=Preprocessing.model_validate(
                {"size": shape[1:], "channel_order": channels, "mean": [0.4], "std": [0.2]}
            )
        )
    prepared = prepare(net.build(), metadata, seed=0)
    return require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)


@pytest.mark.parametrize(
    ("shape", "images"),
    [
        ((3, 32, 32), True),
        ((1, 8, 8), True),
        ((3, 33, 17), True),
        ((3, 5, 61), True),
        ((3, 176, 352), True),
        ((2, 128), False),
        ((1, 187), False),
        ((12, 1), False),
        ((20,), False),
        ((2, 6, 7, 5), False),
        ((4, 6, 6), False),
    ],
    ids=str,
)
def test_inputs_of_any_shape(shape: tuple[int, ...], images: bool) -> None:
    space = space_for(shape, images=images)
    assert space.images == images
    generator = seeded_generator(0, space, latent=8, width=16)
    x = generator(torch.randn(6, 8, generator=torch.Generator().manual_seed(1)))
    assert x.shape == (6, *shape)
    assert x.dtype == torch.float32
    assert x.isfinite().all()
    torch.autograd.backward(x.square().sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())
    if images:
        torch.testing.assert_close(space.clamp(x), x)
        assert x.std() > 0.1
    else:
        assert x.mean().item() == pytest.approx(0, abs=1e-3)
        assert x.std(correction=0).item() == pytest.approx(1, abs=1e-2)


def test_large_images_need_no_large_generator() -> None:
    space = space_for((3, 352, 352), images=True)
    parameters = sum(p.numel() for p in seeded_generator(0, space, latent=256).parameters())
    assert parameters < 6e6


def test_labels_change_the_inputs() -> None:
    space = space_for((3, 16, 16), images=True)
    generator = seeded_generator(0, space, latent=8, width=16, classes=5)
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    first, second = (generator(z, torch.full((4,), label)) for label in (1, 3))
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match="labels"):
        generator(z)
    with pytest.raises(ValueError, match="labels"):
        seeded_generator(0, space, latent=8)(z, torch.zeros(4, dtype=torch.int64))


def test_equal_seeds_give_equal_generators_and_the_global_seed_is_unchanged() -> None:
    space = space_for((3, 16, 16), images=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two, other = (seeded_generator(seed, space, latent=8, width=16) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)

    def flat(generator: InputGenerator) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in generator.parameters()])

    assert torch.equal(flat(one), flat(two))
    assert not torch.equal(flat(one), flat(other))
