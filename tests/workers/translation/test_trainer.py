"""What all trainings have in common: the same from equal seeds, and going on as if there had been no interruption."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.workers.training.fakes import RecordingCallbacks
from tests.workers.translation.sources import CPU, small_cyclegan, small_pix2pix, unpaired
from workers.jobs import checkpoints
from workers.training.budget import Budget
from workers.training.loop import TrainingLoop
from workers.translation.acceleration import Accelerator
from workers.translation.archive_writer import MOST_POINTS
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.networks import ResnetGenerator, UnetGenerator
from workers.translation.pipeline import POLICY
from workers.translation.pix2pix import Pix2PixSettings
from workers.translation.trainer import TranslatorSettings, TranslatorTrainer, random_source

MakeTrainer = Callable[..., TranslatorTrainer]

both = pytest.mark.parametrize("make", [small_cyclegan, small_pix2pix], ids=["cyclegan", "pix2pix"])


def stepped(trainer: TranslatorTrainer, first: int, last: int, of: int = 12) -> list[dict[str, float]]:
    return [{name: float(loss) for name, loss in trainer.step(index / of).items()} for index in range(first, last)]


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """Return everything in a state by its path, without the seconds waited, which are no part of what is learned."""
    if isinstance(state, dict):
        items = ((str(key), value) for key, value in state.items() if key != "waited")
    elif isinstance(state, list | tuple):
        items = ((str(index), value) for index, value in enumerate(state))
    else:
        return {name: state}
    return {path: value for key, part in items for path, value in flat(part, f"{name}/{key}").items()}


def equal(first: TranslatorTrainer, second: TranslatorTrainer) -> bool:
    """Return whether two trainings stand at the same, bit for bit."""
    one, two = flat(first.state()), flat(second.state())
    assert one.keys() == two.keys()
    return all(
        torch.equal(value, two[path]) if isinstance(value, Tensor) else value == two[path]
        for path, value in one.items()
    )


@both
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_resumed_training_is_one_that_was_not_interrupted(make: MakeTrainer, batch_size: int, tmp_path: Path) -> None:
    """Bit for bit, through the bytes of a checkpoint, on trainers that have been elsewhere."""
    whole = make(tmp_path, batch_size=batch_size)
    losses = stepped(whole, 0, 12)

    before = make(tmp_path, batch_size=batch_size)
    stepped(before, 0, 7)
    content = checkpoints.dump(before.state())
    torch.rand(5)
    after = make(tmp_path, seed=5, batch_size=batch_size)
    stepped(after, 0, 2)
    after.restore(checkpoints.load(content))
    assert stepped(after, 7, 12) == losses[7:]
    assert equal(after, whole)


@both
def test_a_state_is_not_changed_by_later_steps_of_who_took_it(make: MakeTrainer, tmp_path: Path) -> None:
    first, second, third = make(tmp_path), make(tmp_path), make(tmp_path)
    stepped(first, 0, 5)
    state = checkpoints.frozen(first.state())
    second.restore(state)
    stepped(second, 5, 9)
    third.restore(state)
    assert equal(third, first)


@both
def test_equal_seeds_give_equal_weights(make: MakeTrainer, tmp_path: Path) -> None:
    """Whatever else draws from torch's own source of random numbers, of which nothing is used up."""
    torch.manual_seed(1)
    first = make(tmp_path, seed=3)
    stepped(first, 0, 5)
    torch.manual_seed(2)
    second = make(tmp_path, seed=3)
    before = torch.get_rng_state()
    stepped(second, 0, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(first, second)
    other = make(tmp_path, seed=4)
    assert not equal(other, make(tmp_path, seed=3))


def test_dropout_differs_from_step_to_step(tmp_path: Path) -> None:
    trainer = small_pix2pix(tmp_path)
    noise = [trainer.state()["dropout"].clone() for _ in range(3) if trainer.step(0.0)]
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[1], noise[2])


@both
def test_generators_that_were_looked_at_go_on_learning_as_before(make: MakeTrainer, tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    stepped(first, 0, 4)
    stepped(second, 0, 2)
    for network in second.generators().values():
        network.eval()
        with torch.no_grad():
            network(torch.zeros(1, 3, 64, 64))
    stepped(second, 2, 4)
    assert equal(first, second)


def test_a_new_training_goes_on_from_the_networks_of_another(tmp_path: Path) -> None:
    """Its pools, its place among the images and its random numbers are its own."""
    earlier, later, fresh = (small_cyclegan(tmp_path, seed=seed) for seed in (1, 2, 2))
    stepped(earlier, 0, 6)
    later.load_networks(checkpoints.load(checkpoints.dump(earlier.state())))
    taken, own, begun = (flat(trainer.state()) for trainer in (earlier, later, fresh))
    for path, value in own.items():
        source = taken if path.startswith(("/networks", "/optimizers")) else begun
        assert torch.equal(value, source[path]) if isinstance(value, Tensor) else value == source[path], path


def test_networks_of_another_kind_are_no_beginning(tmp_path: Path) -> None:
    settings = CycleGanSettings(image_size=32, channels=4, blocks=2)
    larger = CycleGan(settings, unpaired(tmp_path), Accelerator(CPU))
    for state in (larger.state(), small_pix2pix(tmp_path).state()):
        with pytest.raises(FaceterError, match="another kind or size") as caught:
            small_cyclegan(tmp_path).load_networks(state)
        assert caught.value.kind is ProblemKind.INVALID_REQUEST


@pytest.mark.parametrize(("size", "generator"), [(12, "resnet"), (30, "resnet"), (16, "unet"), (80, "unet")])
def test_sizes_that_a_generator_cannot_take_are_refused(size: int, generator: str) -> None:
    with pytest.raises(FaceterError, match="multiple of") as caught:
        TranslatorSettings(image_size=size, generator=generator)  # type: ignore[arg-type]
    assert caught.value.errors[0].field == "image_size"


@pytest.mark.parametrize(
    ("size", "blocks", "expected"), [(256, None, 9), (128, None, 6), (512, None, 9), (128, 3, 3), (64, 0, 0)]
)
def test_a_resnet_has_as_many_blocks_as_published_for_its_size(size: int, blocks: int | None, expected: int) -> None:
    network = TranslatorSettings(image_size=size, channels=1, blocks=blocks).new_generator()
    assert isinstance(network, ResnetGenerator)
    assert len(network.blocks) == expected


@pytest.mark.parametrize(("size", "depth"), [(32, 5), (64, 6), (96, 5), (256, 8), (512, 8), (384, 7)])
def test_a_unet_is_as_deep_as_its_size_allows(size: int, depth: int) -> None:
    network = Pix2PixSettings(image_size=size, channels=1).new_generator()
    assert isinstance(network, UnetGenerator)
    assert len(network.encoder) == depth


@pytest.mark.parametrize("size", [16, 20, 24, 32])
def test_small_images_can_be_judged(size: int) -> None:
    judge = TranslatorSettings(image_size=size, channels=2).new_discriminator(3)
    assert min(judge(torch.zeros(1, 3, size, size)).shape) >= 1


def test_the_papers_settings_are_the_defaults() -> None:
    settings = CycleGanSettings()
    assert (settings.image_size, settings.channels, settings.learning_rate) == (256, 64, 2e-4)
    assert (settings.cycle_weight, settings.identity, settings.pool, settings.generator) == (10.0, 0.5, 50, "resnet")
    paired = Pix2PixSettings()
    assert (paired.generator, paired.l1_weight, paired.direction) == ("unet", 100.0, "a2b")


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="images of 32 pixels"):
        CycleGan(CycleGanSettings(image_size=64), unpaired(tmp_path), Accelerator(CPU))


def test_random_sources_are_told_apart_by_seed_and_name() -> None:
    drawn = [torch.rand(4, generator=random_source(*key)) for key in ((0, "a"), (0, "b"), (1, "a"), (0, "a"))]
    assert torch.equal(drawn[0], drawn[3])
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:3])


@both
def test_a_resumed_run_of_the_loop_ends_as_an_uninterrupted_one(make: MakeTrainer, tmp_path: Path) -> None:
    """Bit for bit, with a budget in steps."""
    whole = make(tmp_path)
    expected = TrainingLoop(whole, Budget(steps=20), POLICY, points=MOST_POINTS).run()
    stopped = RecordingCallbacks(every=7, stop_after=16)
    assert TrainingLoop(make(tmp_path), Budget(steps=20), POLICY, callbacks=stopped).run().ended_by == "request"
    assert len(stopped.checkpoints) == 2
    resumed = make(tmp_path)
    callbacks = RecordingCallbacks(checkpoint=stopped.checkpoint)
    found = TrainingLoop(resumed, Budget(steps=20), POLICY, callbacks=callbacks, points=MOST_POINTS).run()
    assert equal(resumed, whole)
    assert [(point.step, point.losses) for point in found.points] == [
        (point.step, point.losses) for point in expected.points
    ]
    assert (found.steps, found.resumed, resumed.data.epochs) == (20, 1, whole.data.epochs)


@both
def test_it_knows_whether_its_weights_are_finite(make: MakeTrainer, tmp_path: Path) -> None:
    trainer = make(tmp_path)
    assert trainer.is_finite()
    with torch.no_grad():
        next(trainer.networks["D_b" if "D_b" in trainer.networks else "D"].parameters()).view(-1)[0] = float("nan")
    assert not trainer.is_finite()
