"""Speed of CycleGAN's training against a plain torch implementation of the official recipe, with equal losses.

``python -m benchmarks.translation_training`` trains the same networks from the same weights on the same batches, with
the same losses, alternating in one process: plainly (one pass per use of a network, float32, not compiled, the default
memory format) and as a translation job does on this host (bfloat16 if supported by the hardware, passes through the
same network batched, compiled if there is a compiler). It prints steps per second of both, their ratio, and the mean
losses over the last tenth of equally many steps, each with its range over random seeds.

Claim: at least 2.8 × on a processor with AMX, 1.1 × elsewhere, and mean losses that differ no more than those of
different seeds. Compilation is not part of the measured time; its duration is printed.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from faceter.host import processor_name
from workers.host import compute_device
from workers.quantization.tuning.schedules import set_learning_rate
from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import Domain, ResizedImages

WITH_AMX, WITHOUT = 2.8, 1.1
IMAGES = 64
LAST = 10
Losses = Mapping[str, float]


class SmoothImages:
    """Smooth random images for A, inverted ones for B; their content does not affect the speed."""

    def __init__(self, size: int) -> None:
        self._size = size

    def count(self, domain: Domain) -> int:
        """Return how many images each domain has."""
        return IMAGES

    def image(self, domain: Domain, index: int) -> Image.Image:
        """Return an image."""
        drawn = np.random.default_rng([domain == "B", index])
        brightness = np.linspace(0.85, 0.15, 8)[:, None] + 0.6 * (drawn.random((8, 8)) - 0.5)
        tinted = np.stack([brightness.clip(0, 1) ** power for power in (0.5, 1.0, 2.0)], axis=-1)
        colours = (255 * (1 - tinted if domain == "B" else tinted)).astype(np.uint8)
        return Image.fromarray(colours).resize((self._size, self._size), Image.Resampling.BICUBIC)

    def pairs(self) -> list[tuple[int, int]]:
        """Return no pairs."""
        return []


class Plain:
    """The official recipe, line by line, with the initial networks of a trainer."""

    def __init__(self, settings: CycleGanSettings, data: BatchLoader) -> None:
        initial = CycleGan(settings, data, Accelerator(compute_device()))
        self.data, self.settings = data, settings
        self.device = compute_device()
        self.a2b, self.b2a, self.discriminator_a, self.discriminator_b = initial.networks.values()
        generators = itertools.chain(self.a2b.parameters(), self.b2a.parameters())
        discriminators = itertools.chain(self.discriminator_a.parameters(), self.discriminator_b.parameters())
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(0.5, 0.999))
            for parameters in (generators, discriminators)
        )
        self.pool_a, self.pool_b = (PlainImagePool(settings.pool, random.Random(settings.seed + k)) for k in (1, 2))

    def step(self, fraction: float) -> Losses:
        """Take one step and return its losses."""
        settings = self.settings
        for optimizer in (self.optimizer_g, self.optimizer_d):
            set_learning_rate(optimizer, settings.learning_rate * min(1.0, 2 - 2 * fraction))
        a, b = (part.to(self.device) for part in self.data.next_batch())
        for discriminator in (self.discriminator_a, self.discriminator_b):
            discriminator.requires_grad_(False)
        self.optimizer_g.zero_grad()
        fake_b = self.a2b(a)
        reconstructed_a = self.b2a(fake_b)
        fake_a = self.b2a(b)
        reconstructed_b = self.a2b(fake_a)
        losses = {
            "G_a2b": adversarial(self.discriminator_b(fake_b), 1.0),
            "G_b2a": adversarial(self.discriminator_a(fake_a), 1.0),
            "cycle_a": functional.l1_loss(reconstructed_a, a),
            "cycle_b": functional.l1_loss(reconstructed_b, b),
            "identity_a": functional.l1_loss(self.b2a(a), a),
            "identity_b": functional.l1_loss(self.a2b(b), b),
        }
        cycle, identity = settings.cycle_weight, settings.cycle_weight * settings.identity
        weights = [1.0, 1.0, cycle, cycle, identity, identity]
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
        torch.autograd.backward(total)
        self.optimizer_g.step()
        for discriminator in (self.discriminator_a, self.discriminator_b):
            discriminator.requires_grad_(True)
        self.optimizer_d.zero_grad()
        for name, discriminator, real, fake, pool in (
            ("D_a", self.discriminator_a, a, fake_a, self.pool_a),
            ("D_b", self.discriminator_b, b, fake_b, self.pool_b),
        ):
            sampled = pool.query(fake.detach())
            losses[name] = (adversarial(discriminator(real), 1.0) + adversarial(discriminator(sampled), 0.0)) * 0.5
            torch.autograd.backward(losses[name])
        self.optimizer_d.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}


class PlainImagePool:
    """The official image pool."""

    def __init__(self, size: int, generator: random.Random) -> None:
        self._size, self._random = size, generator
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return as many images as given, new ones or earlier ones."""
        sampled = []
        for image in images:
            if len(self._images) < self._size:
                self._images.append(image.clone())
                sampled.append(image)
            elif self._random.random() > 0.5:
                place = self._random.randrange(self._size)
                sampled.append(self._images[place])
                self._images[place] = image.clone()
            else:
                sampled.append(image)
        return torch.stack(sampled)


def adversarial(scores: Tensor, target: float) -> Tensor:
    return functional.mse_loss(scores, torch.full_like(scores, target))


def has_amx() -> bool:
    return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def synchronized_time(device: torch.device) -> float:
    """Return the time after the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(
    steps: int, trainings: Mapping[str, Callable[[float], Losses]], device: torch.device
) -> tuple[dict[str, list[Losses]], dict[str, list[float]]]:
    """Alternate the steps of the trainings under equal conditions; return losses and seconds of each."""
    losses: dict[str, list[Losses]] = {name: [] for name in trainings}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for index in range(steps):
        for name, step in trainings.items():
            began = synchronized_time(device)
            step_losses = step(index / steps)
            losses[name].append({key: float(value) for key, value in step_losses.items()})
            seconds[name].append(synchronized_time(device) - began)
    return losses, seconds


def last_means(losses: list[Losses]) -> dict[str, float]:
    """Return the mean of each loss over the last tenth of the steps."""
    last = losses[-max(1, len(losses) // LAST) :]
    return {name: float(np.mean([item[name] for item in last])) for name in last[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    device = compute_device()
    plain_means: list[dict[str, float]] = []
    fast_means: list[dict[str, float]] = []
    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        images = ResizedImages(SmoothImages(options.size), options.size, folder=Path(folder))
        for seed in range(options.seeds):
            settings = CycleGanSettings(
                image_size=options.size, channels=options.channels, blocks=options.blocks, seed=seed
            )
            plain = Plain(settings, BatchLoader(images, batch_size=1, seed=seed))
            began = time.perf_counter()
            accelerator = Accelerator.choose(device, None)
            data = BatchLoader(images, batch_size=1, seed=seed, pinned=accelerator.pinned)
            ours = CycleGan(settings, data, accelerator)
            prepared = time.perf_counter() - began

            def fast(fraction: float, trainer: CycleGan = ours) -> Losses:
                step_losses = trainer.step(fraction)
                return dict(zip(step_losses, torch.stack(list(step_losses.values())).tolist(), strict=True))

            losses, seconds = in_turns(options.steps, {"plain": plain.step, "ours": fast}, device)
            plain_means.append(last_means(losses["plain"]))
            fast_means.append(last_means(losses["ours"]))
            for name, taken in seconds.items():
                speeds[name].append(1 / float(np.median(taken)))
            print(
                f"seed {seed}: {speeds['plain'][-1]:.3f} steps/s plainly, {speeds['ours'][-1]:.3f} ours, "
                f"{speeds['ours'][-1] / speeds['plain'][-1]:.2f} ×; prepared in {prepared:.1f} s, "
                f"waited {data.waited:.2f} s for images of {sum(seconds['ours']):.1f}",
                flush=True,
            )
    record = accelerator.record
    ratio = float(np.median(np.array(speeds["ours"]) / np.array(speeds["plain"])))
    claimed = WITH_AMX if has_amx() else WITHOUT
    print(f"{processor_name()}, {torch.get_num_threads()} threads, {device.type}: {record}")
    print(f"{options.size}², {options.channels} channels, {options.blocks} blocks: {ratio:.2f} × (claimed {claimed} ×)")
    print(f"losses, mean of the last {LAST}th of {options.steps} steps: plainly over seeds | ours over seeds")
    for name in plain_means[0]:
        ranges = [[means[name] for means in side] for side in (plain_means, fast_means)]
        ranges_text = " | ".join(f"{min(r):.4f} … {max(r):.4f}" for r in ranges)
        apart = abs(float(np.mean(ranges[0]) - np.mean(ranges[1])))
        spread = max(max(r) - min(r) for r in ranges)
        print(
            f"  {name:11} {ranges_text}   means {apart:.4f} apart, "
            f"{'within' if apart <= spread else 'NOT within'} the spread"
        )


if __name__ == "__main__":
    main()
