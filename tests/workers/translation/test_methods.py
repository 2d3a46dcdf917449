"""What requests become: settings of the methods, budgets, and what an image size decides of networks."""

from pathlib import Path

import pytest
import torch

from app.services.translators.validation import layers_at
from faceter.contracts.translation_methods import GeneratorKind, TranslationMethod
from faceter.contracts.translators import TranslatorTraining
from tests.workers.translation.sources import CPU, GivenImages, smooth
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import ResizedImages
from workers.translation.methods import expected_stages, new_trainer, settings_of
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings
from workers.translation.trainer import TranslatorSettings
from workers.translation.workload import expected_seconds


def request(**said: object) -> TranslatorTraining:
    return TranslatorTraining.model_validate({"method": "cyclegan", "dataset_id": "dts_x", "image_size": 16, **said})


def test_everything_that_is_said_reaches_the_method() -> None:
    said = {"base_channels": 3, "residual_blocks": 2, "learning_rate": 0.01, "seed": 4}
    assert settings_of(request(**said, identity=0.2, cycle_weight=3, generator="resnet")) == CycleGanSettings(
        image_size=16, channels=3, blocks=2, learning_rate=0.01, seed=4, identity=0.2, cycle_weight=3
    )
    assert settings_of(
        request(method="pix2pix", **said, image_size=64, l1_weight=7, direction="b2a")
    ) == Pix2PixSettings(
        image_size=64, channels=3, blocks=2, learning_rate=0.01, seed=4, l1_weight=7, direction="b2a", generator="unet"
    )


@pytest.mark.parametrize("method", list(TranslationMethod))
def test_the_papers_settings_are_the_defaults_of_requests_too(method: TranslationMethod) -> None:
    settings = settings_of(TranslatorTraining(method=method, dataset_id="dts_x"))
    published = CycleGanSettings(blocks=9) if method is TranslationMethod.CYCLEGAN else Pix2PixSettings(blocks=9)
    assert settings == published


@pytest.mark.parametrize(
    ("said", "steps", "seconds"),
    [({"epochs": 3, "batch_size": 2}, 8, None), ({"epochs": 2}, 10, None), ({"max_minutes": 2.5}, None, 150.0)],
)
def test_the_budget_is_in_steps_or_in_seconds(
    said: dict[str, object], steps: int | None, seconds: float | None, tmp_path: Path
) -> None:
    images = ResizedImages(GivenImages(smooth(5), smooth(3)), 16, folder=tmp_path)
    trainer, budget = new_trainer(request(base_channels=2, residual_blocks=1, **said), images, CPU)
    assert isinstance(trainer, CycleGan)
    assert (budget.limit_steps, budget.limit_seconds) == (steps, seconds)


def test_pix2pix_walks_through_pairs(tmp_path: Path) -> None:
    images = ResizedImages(GivenImages(smooth(4), smooth(4), paired=True), 32, folder=tmp_path)
    trainer, budget = new_trainer(request(method="pix2pix", image_size=32, base_channels=2, epochs=2), images, CPU)
    assert isinstance(trainer, Pix2Pix)
    assert budget.limit_steps == 8
    assert list(trainer.generators()) == ["a2b"]


def shapes(settings: TranslatorSettings) -> list[tuple[torch.Size, ...]]:
    with torch.device("meta"):
        networks = settings.new_generator(), settings.new_discriminator(3)
    return [tuple(values.shape for values in network.parameters()) for network in networks]


@pytest.mark.parametrize("kind", list(GeneratorKind))
def test_the_api_knows_which_sizes_have_the_same_networks(kind: GeneratorKind) -> None:
    sizes = range(16, 60, 4) if kind is GeneratorKind.RESNET else (32, 64, 96, 128, 160, 192, 256, 320, 512, 768, 1024)
    known = {
        size: shapes(CycleGanSettings(image_size=size, generator=kind.value, channels=2, blocks=1)) for size in sizes
    }
    for one in sizes:
        for other in sizes:
            assert (layers_at(one, kind) == layers_at(other, kind)) is (known[one] == known[other]), (one, other)


@pytest.mark.parametrize(
    ("budget", "training"), [({"max_minutes": 2.5}, 150.0), ({"epochs": 4, "batch_size": 2}, None)]
)
def test_training_is_weighted_by_its_budget(budget: dict[str, object], training: float | None) -> None:
    stages = expected_stages(request(**budget), 20)
    assert list(stages)[2:] == ["training", "evaluating", "writing the translator"]
    if training is None:
        training = expected_seconds(settings_of(request(**budget)), 20, 2)
    assert stages["training"] == training
    assert min(stages.values()) > 0
