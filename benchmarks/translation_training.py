"""Speed of CycleGAN's training against the official recipe written plainly in torch, and that both learn the same.

``python -m benchmarks.translation_training`` trains the same networks from the same weights on the same batches, with
the same losses, in turns and in one process: plainly (a pass for each use of a network, float32, no compilation, the
default memory format) and as a translation job does on this host (bfloat16 where it is in hardware, passes that share a
network together, compiled where there is a compiler). It prints steps per second of both, their ratio, and the means of
the losses over the last tenth of equally many steps, each with its range over random seeds.

What is claimed is at least 2.8 × on a processor with AMX, 1.1 × elsewhere, and means of losses that are no further
apart than those of random seeds. Compiling is done before the clock runs, and its seconds are told.
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

from workers.host import compute_device, processor_name
from workers.quantization.tuning.schedules import set_rate
from workers.translation.acceleration import Accelerator
from workers.translation.batches import Batches
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import Domain, Images

WITH_AMX, WITHOUT = 2.8, 1.1
IMAGES = 64
LAST = 10
Losses = Mapping[str, float]


class SmoothImages:
    """Smooth random images for A; for B the same kind, inverted: what is in them does not change the speed."""

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
        """Return that no images belong together."""
        return []


class Plain:
    """The official recipe, line by line; its networks are taken from a trainer, so that both begin alike."""

    def __init__(self, settings: CycleGanSettings, data: Batches) -> None:
        begun = CycleGan(settings, data, Accelerator(compute_device()))
        self.data, self.settings = data, settings
        self.device = compute_device()
        self.a2b, self.b2a, self.judge_a, self.judge_b = begun.networks.values()
        generators = itertools.chain(self.a2b.parameters(), self.b2a.parameters())
        judges = itertools.chain(self.judge_a.parameters(), self.judge_b.parameters())
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(parameters, lr=settings.learning_rate, betas=(0.5, 0.999))
            for parameters in (generators, judges)
        )
        self.pool_a, self.pool_b = (Pool(settings.pool, random.Random(settings.seed + k)) for k in (1, 2))

    def step(self, share_done: float) -> Losses:
        """Take one step; returns its losses."""
        settings = self.settings
        for optimizer in (self.optimizer_g, self.optimizer_d):
            set_rate(optimizer, settings.learning_rate * min(1.0, 2 - 2 * share_done))
        a, b = (part.to(self.device) for part in self.data.take())
        for judge in (self.judge_a, self.judge_b):
            judge.requires_grad_(False)
        self.optimizer_g.zero_grad()
        fake_b = self.a2b(a)
        back_a = self.b2a(fake_b)
        fake_a = self.b2a(b)
        back_b = self.a2b(fake_a)
        losses = {
            "G_a2b": adversarial(self.judge_b(fake_b), 1.0),
            "G_b2a": adversarial(self.judge_a(fake_a), 1.0),
            "cycle_a": functional.l1_loss(back_a, a),
            "cycle_b": functional.l1_loss(back_b, b),
            "identity_a": functional.l1_loss(self.b2a(a), a),
            "identity_b": functional.l1_loss(self.a2b(b), b),
        }
        cycle, same = settings.cycle_weight, settings.cycle_weight * settings.identity
        weights = [1.0, 1.0, cycle, cycle, same, same]
        total = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
        torch.autograd.backward(total)
        self.optimizer_g.step()
        for judge in (self.judge_a, self.judge_b):
            judge.requires_grad_(True)
        self.optimizer_d.zero_grad()
        for name, judge, real, fake, pool in (
            ("D_a", self.judge_a, a, fake_a, self.pool_a),
            ("D_b", self.judge_b, b, fake_b, self.pool_b),
        ):
            shown = pool.query(fake.detach())
            losses[name] = (adversarial(judge(real), 1.0) + adversarial(judge(shown), 0.0)) * 0.5
            torch.autograd.backward(losses[name])
        self.optimizer_d.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}


class Pool:
    """The official pool of earlier translations."""

    def __init__(self, size: int, drawn: random.Random) -> None:
        self._size, self._random = size, drawn
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Return as many images as given, new ones or earlier ones."""
        answers = []
        for image in images:
            if len(self._images) < self._size:
                self._images.append(image.clone())
                answers.append(image)
            elif self._random.random() > 0.5:
                place = self._random.randrange(self._size)
                answers.append(self._images[place])
                self._images[place] = image.clone()
            else:
                answers.append(image)
        return torch.stack(answers)


def adversarial(scores: Tensor, target: float) -> Tensor:
    return functional.mse_loss(scores, torch.full_like(scores, target))


def has_amx() -> bool:
    return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")


def settled(device: torch.device) -> float:
    """Return the time once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(
    steps: int, trainings: Mapping[str, Callable[[float], Losses]], device: torch.device
) -> tuple[dict[str, list[Losses]], dict[str, list[float]]]:
    """Take every training's steps by turns, so that both see the same machine; returns losses and seconds of each."""
    losses: dict[str, list[Losses]] = {name: [] for name in trainings}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    for index in range(steps):
        for name, step in trainings.items():
            began = settled(device)
            found = step(index / steps)
            losses[name].append({key: float(value) for key, value in found.items()})
            seconds[name].append(settled(device) - began)
    return losses, seconds


def last_means(losses: list[Losses]) -> dict[str, float]:
    """Return the mean of each loss over the last tenth of the steps."""
    part = losses[-max(1, len(losses) // LAST) :]
    return {name: float(np.mean([item[name] for item in part])) for name in part[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    device = compute_device()
    plain_means: list[dict[str, float]] = []
    fast_means: list[dict[str, float]] = []
    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        images = Images(SmoothImages(given.size), given.size, folder=Path(folder))
        for seed in range(given.seeds):
            settings = CycleGanSettings(image_size=given.size, channels=given.channels, blocks=given.blocks, seed=seed)
            plain = Plain(settings, Batches(images, batch_size=1, seed=seed))
            began = time.perf_counter()
            accelerator = Accelerator.choose(device, None)
            data = Batches(images, batch_size=1, seed=seed, pinned=accelerator.pinned)
            ours = CycleGan(settings, data, accelerator)
            prepared = time.perf_counter() - began

            def fast(share_done: float, trainer: CycleGan = ours) -> Losses:
                found = trainer.step(share_done)
                return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))

            losses, seconds = in_turns(given.steps, {"plain": plain.step, "ours": fast}, device)
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
    wanted = WITH_AMX if has_amx() else WITHOUT
    print(f"{processor_name()}, {torch.get_num_threads()} threads, {device.type}: {record}")
    print(f"{given.size}², {given.channels} channels, {given.blocks} blocks: {ratio:.2f} × (claimed {wanted} ×)")
    print(f"losses, mean of the last {LAST}th of {given.steps} steps: plainly over seeds | ours over seeds")
    for name in plain_means[0]:
        ranges = [[means[name] for means in side] for side in (plain_means, fast_means)]
        shown = " | ".join(f"{min(r):.4f} … {max(r):.4f}" for r in ranges)
        apart = abs(float(np.mean(ranges[0]) - np.mean(ranges[1])))
        spread = max(max(r) - min(r) for r in ranges)
        print(
            f"  {name:11} {shown}   means {apart:.4f} apart, {'within' if apart <= spread else 'NOT within'} the spread"
        )


if __name__ == "__main__":
    main()
