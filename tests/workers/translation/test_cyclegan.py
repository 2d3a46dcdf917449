"""CycleGAN: its losses and gradients against passes made one by one, and that it learns both directions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests.references.translation import cyclegan_discriminator_loss, cyclegan_generator_losses, cyclegan_total
from tests.workers.translation.sources import CPU, small_cyclegan, smooth, unpaired
from workers.training.budget import Budget
from workers.training.loop import TrainingLoop
from workers.translation.acceleration import Accelerator
from workers.translation.batches import normalize
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.pipeline import POLICY


def gradients(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def close(found: Tensor, expected: Tensor) -> None:
    """Check that gradients are the same to 1e-5 of the largest."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_passes_made_together_give_what_passes_made_one_by_one_do(batch_size: int, tmp_path: Path) -> None:
    trainer = small_cyclegan(tmp_path, batch_size=batch_size)
    a, b = trainer.data.next_batch()
    a2b, b2a, discriminator_a, discriminator_b = trainer.networks.values()

    found, fake_a, fake_b = trainer.generator_backward(a, b)
    together = [gradients(network) for network in (a2b, b2a)]
    assert all(p.grad is None for network in (discriminator_a, discriminator_b) for p in network.parameters())
    trainer._generator_optimizer.zero_grad()
    expected = cyclegan_generator_losses(a2b, b2a, discriminator_a, discriminator_b, a, b)
    torch.autograd.backward(cyclegan_total(expected), inputs=[*a2b.parameters(), *b2a.parameters()])
    assert found.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(found[name], loss.detach(), rtol=1e-5, atol=1e-5)
    for network, gradient in zip((a2b, b2a), together, strict=True):
        close(gradient, gradients(network))
    torch.testing.assert_close(fake_b, a2b(a).detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(fake_a, b2a(b).detach(), rtol=0, atol=1e-5)

    found = trainer.discriminator_backward(a, fake_a, b, fake_b)
    together = [gradients(network) for network in (discriminator_a, discriminator_b)]
    trainer._discriminator_optimizer.zero_grad()
    for name, network, real, fake in (("D_a", discriminator_a, a, fake_a), ("D_b", discriminator_b, b, fake_b)):
        loss = cyclegan_discriminator_loss(network, real, fake)
        torch.testing.assert_close(found[name], loss.detach(), rtol=1e-5, atol=1e-5)
        torch.autograd.backward(loss)
    for network, gradient in zip((discriminator_a, discriminator_b), together, strict=True):
        close(gradient, gradients(network))


def test_without_the_identity_loss_the_others_stay_the_same(tmp_path: Path) -> None:
    trainer = small_cyclegan(tmp_path, identity=0.0)
    a, b = trainer.data.next_batch()
    a2b, b2a, discriminator_a, discriminator_b = trainer.networks.values()
    found, fake_a, fake_b = trainer.generator_backward(a, b)
    expected = cyclegan_generator_losses(a2b, b2a, discriminator_a, discriminator_b, a, b)
    assert found.keys() == expected.keys() - {"identity_a", "identity_b"}
    for name, loss in found.items():
        torch.testing.assert_close(loss, expected[name].detach(), rtol=1e-5, atol=1e-5)
    assert fake_a.shape == fake_b.shape == a.shape
    expected = {**expected, "identity_a": torch.zeros(()), "identity_b": torch.zeros(())}
    together = gradients(a2b)
    trainer._generator_optimizer.zero_grad()
    torch.autograd.backward(cyclegan_total(expected), inputs=[*a2b.parameters(), *b2a.parameters()])
    close(together, gradients(a2b))


def test_weights_of_the_losses_are_the_settings(tmp_path: Path) -> None:
    settings = CycleGanSettings(image_size=32, channels=4, blocks=1, cycle_weight=3.0, identity=0.2)
    trainer = CycleGan(settings, unpaired(tmp_path), Accelerator(CPU))
    a, b = trainer.data.next_batch()
    a2b, b2a, discriminator_a, discriminator_b = trainer.networks.values()
    trainer.generator_backward(a, b)
    together = gradients(b2a)
    trainer._generator_optimizer.zero_grad()
    losses = cyclegan_generator_losses(a2b, b2a, discriminator_a, discriminator_b, a, b)
    torch.autograd.backward(cyclegan_total(losses, 3.0, 0.2), inputs=[*a2b.parameters(), *b2a.parameters()])
    close(together, gradients(b2a))


def test_a_step_returns_all_losses_and_changes_all_networks(tmp_path: Path) -> None:
    trainer = small_cyclegan(tmp_path)
    before = {name: next(network.parameters()).detach().clone() for name, network in trainer.networks.items()}
    losses = trainer.step(0.0)
    assert set(losses) == {"G_a2b", "G_b2a", "cycle_a", "cycle_b", "identity_a", "identity_b", "D_a", "D_b"}
    assert not any(loss.requires_grad for loss in losses.values())
    for name, network in trainer.networks.items():
        change = (next(network.parameters()).detach() - before[name]).abs()
        assert 0 < float(change.max()) <= 2.01e-4, "Adam's first step is at most the learning rate"


def test_the_learning_rate_follows_the_used_fraction_and_the_factor(tmp_path: Path) -> None:
    trainer = small_cyclegan(tmp_path)
    trainer.rate = 0.5
    for fraction, expected in ((0.2, 1e-4), (0.75, 5e-5), (1.0, 0.0)):
        trainer.step(fraction)
        for optimizer in trainer.optimizers.values():
            assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(expected)]
            assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_discriminators_see_earlier_translations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = small_cyclegan(tmp_path)
    shown, made = [], []
    discriminator_backward, generator_backward = trainer.discriminator_backward, trainer.generator_backward

    def recorded_discriminator(real_a: Tensor, fake_a: Tensor, real_b: Tensor, fake_b: Tensor) -> dict[str, Tensor]:
        shown.append(fake_b)
        return discriminator_backward(real_a, fake_a, real_b, fake_b)

    def recorded_generator(real_a: Tensor, real_b: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        found = generator_backward(real_a, real_b)
        made.append(found[2])
        return found

    monkeypatch.setattr(trainer, "discriminator_backward", recorded_discriminator)
    monkeypatch.setattr(trainer, "generator_backward", recorded_generator)
    for _ in range(30):
        trainer.step(0.0)
    same = [torch.equal(first, second) for first, second in zip(shown, made, strict=True)]
    assert all(same[:3])
    assert 6 <= same[3:].count(False) <= 21
    for index in [index for index, equal in enumerate(same) if not equal]:
        assert any(torch.equal(shown[index], earlier) for earlier in made[:index])


def test_parameters_are_counted(tmp_path: Path) -> None:
    settings = CycleGanSettings(image_size=32, blocks=9)
    assert CycleGan(settings, unpaired(tmp_path), Accelerator(CPU)).parameters == {
        "generator": 11_378_179,
        "discriminator": 2_764_737,
    }


def test_inverted_colours_are_learned_in_both_directions(tmp_path: Path) -> None:
    """Of halves that hold no pairs.

    In shares of the range, errors measured are 0.05 to 0.06. A network that changes nothing is off by 0.54, the mean
    image of the other domain by 0.107.
    """
    settings = CycleGanSettings(image_size=32, channels=8, blocks=2, identity=0.0, learning_rate=1e-3)
    trainer = CycleGan(settings, unpaired(tmp_path, count=64), Accelerator(CPU))
    TrainingLoop(trainer, Budget(steps=600), POLICY).run()
    unseen = torch.stack([torch.from_numpy(normalize(_planes(image))) for image in smooth(16, 32, seed=9)])
    networks = trainer.generators()
    for network in networks.values():
        network.eval()
    with torch.no_grad():
        made_b, made_a = networks["a2b"](unseen), networks["b2a"](-unseen)
        back_a, back_b = networks["b2a"](made_b), networks["a2b"](made_a)
    assert _difference(unseen, -unseen) > 0.5
    assert _difference(unseen, unseen.mean(0)) > 0.1
    errors = {
        "a2b": _difference(made_b, -unseen),
        "b2a": _difference(made_a, unseen),
        "cycle a": _difference(back_a, unseen),
        "cycle b": _difference(back_b, -unseen),
    }
    assert max(errors.values()) < 0.085, errors


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the mean absolute difference of images in [−1, 1], in shares of that range."""
    return float((first - second).abs().mean()) / 2


def _planes(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image).transpose(2, 0, 1)
