"""Which methods train translators: a new one is one file and one line here."""

from __future__ import annotations

import torch

from faceter.contracts.translators import TranslationMethod, TranslatorTraining
from workers.training.budget import Budget
from workers.translation.acceleration import Accelerator
from workers.translation.batches import Batches
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import Images
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings
from workers.translation.trainer import Settings, Trainer
from workers.translation.workload import expected_seconds


def begin(request: TranslatorTraining, images: Images, device: torch.device) -> tuple[Trainer, Budget]:
    """Return the method at work that is asked for, and how long it may take.

    Args:
        request: What is asked for; minutes or epochs are given.
        images: What to train on.
        device: Where to compute.
    """
    settings = settings_of(request)
    paired = isinstance(settings, Pix2PixSettings)
    data = Batches(
        images, batch_size=request.batch_size, seed=request.seed, paired=paired, pinned=device.type == "cuda"
    )
    steps: int | None = None
    if request.epochs is None:
        assert request.max_minutes is not None
        seconds = 60 * request.max_minutes
    else:
        steps = data.steps(request.epochs)
        seconds = expected_seconds(settings, steps, request.batch_size)
    accelerator = Accelerator.choose(device, seconds)
    trainer: Trainer
    if isinstance(settings, Pix2PixSettings):
        trainer = Pix2Pix(settings, data, accelerator)
    else:
        trainer = CycleGan(settings, data, accelerator)
    # Its clock runs from here on, and compiling networks, which may take minutes, is no training.
    return trainer, Budget(seconds=seconds) if steps is None else Budget(steps=steps)


def settings_of(request: TranslatorTraining) -> CycleGanSettings | Pix2PixSettings:
    """Return what the method is told."""
    shared = Settings(
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
