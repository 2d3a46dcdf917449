"""The methods that train translators: a new one is one file and one branch here."""

from __future__ import annotations

import torch

from faceter.contracts.translation_methods import TranslationMethod
from faceter.contracts.translators import TranslatorTraining
from workers.training.budget import Budget
from workers.training.replicas import ALONE, Replicas
from workers.translation.acceleration import MIN_SECONDS_TO_COMPILE, Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.evaluation_set import MAX_IMAGES
from workers.translation.images import ResizedImages
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings
from workers.translation.trainer import TranslatorSettings, TranslatorTrainer
from workers.translation.workload import expected_seconds

_SECONDS_PER_IMAGE = 0.01


def new_trainer(
    request: TranslatorTraining, images: ResizedImages, device: torch.device, replicas: Replicas = ALONE
) -> tuple[TranslatorTrainer, Budget]:
    """Return the trainer of a request before its first step, and its budget.

    Args:
        request: Its budget is filled in, in minutes or in epochs.
        images: Training images.
        device: Where to compute.
        replicas: The processes that share each batch.
    """
    settings = settings_of(request)
    paired = isinstance(settings, Pix2PixSettings)
    data = BatchLoader(
        images,
        batch_size=request.batch_size,
        seed=request.seed,
        paired=paired,
        pinned=device.type == "cuda",
        replicas=replicas,
    )
    steps: int | None = None
    if request.epochs is None:
        assert request.max_minutes is not None
        seconds = 60 * request.max_minutes
    else:
        steps = data.steps(request.epochs)
        seconds = expected_seconds(settings, steps, request.batch_size)
    accelerator = Accelerator.choose(device, seconds)
    trainer: TranslatorTrainer
    if isinstance(settings, Pix2PixSettings):
        trainer = Pix2Pix(settings, data, accelerator)
    else:
        trainer = CycleGan(settings, data, accelerator)
    # After the trainer, since compiling its networks may take minutes that are not part of the budget.
    return trainer, Budget(seconds=seconds) if steps is None else Budget(steps=steps)


def settings_of(request: TranslatorTraining) -> CycleGanSettings | Pix2PixSettings:
    """Return the settings of a request's method."""
    shared = TranslatorSettings(
        image_size=request.image_size,
        generator=request.kind.value,
        channels=request.base_channels,
        blocks=request.blocks,
        learning_rate=request.learning_rate,
        seed=request.seed,
    )
    match request.method:
        case TranslationMethod.CYCLEGAN:
            return CycleGanSettings(**vars(shared), cycle_weight=request.cycle_weight, identity=request.identity)
        case TranslationMethod.PIX2PIX:
            return Pix2PixSettings(**vars(shared), l1_weight=request.l1_weight, direction=request.direction.value)


def expected_stages(request: TranslatorTraining, samples: int) -> dict[str, float]:
    """Return the stages of a translation job with the seconds that each may take on two cores.

    Args:
        request: Its budget is filled in, in minutes or in epochs.
        samples: Images of both domains.
    """
    settings = settings_of(request)
    per_domain = max(1, samples // 2)
    if request.max_minutes is not None:
        training = 60 * request.max_minutes
    else:
        steps = (request.epochs or 1) * -(-per_domain // request.batch_size)
        training = expected_seconds(settings, steps, request.batch_size)
    return {
        "reading images": _SECONDS_PER_IMAGE * samples,
        "preparing the networks (compiling may take minutes)": 1.0 if training < MIN_SECONDS_TO_COMPILE else 120.0,
        "training": training,
        "evaluating": 1.0 + expected_seconds(settings, 1, min(per_domain, MAX_IMAGES)) / 4,
        "writing the translator": 1.0,
    }
