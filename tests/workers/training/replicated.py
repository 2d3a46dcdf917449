"""Trainings of real data in one process, or in replicas that share every batch.

Run as ``python -m tests.workers.training.replicated DATA FOLDER TRAINING REPLICAS``. It leaves in the folder what a
process alone and each replica learned, with losses, seconds and memory, as ``alone.pt`` and ``RANK.pt``.
"""

import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.contracts.settings import Settings
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.images import ImagesDataset
from tests.workers.quantization.networks import request_for
from workers.jobs.checkpoints import frozen
from workers.model_input import Batch
from workers.quantization.ft import FineTuning
from workers.quantization.prepare import prepare
from workers.quantization.statistics import StatisticsSource
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.distillation import DistillationSettings
from workers.training.replica_group import ReplicaGroup
from workers.training.replicas import ALONE, Replicas
from workers.training.trainer import Trainer
from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.cyclegan import CycleGan, CycleGanSettings
from workers.translation.images import ResizedImages
from workers.translation.pix2pix import Pix2Pix, Pix2PixSettings

CPU: Final = torch.device("cpu")
STEPS: Final = {"cyclegan": 6, "pix2pix": 6, "ft": 5}
"""Steps of each training. Batches have five images, so that two replicas have unequal shares."""

_BATCH = 5
_SIZE = 32
_IMAGENET = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


class Joined(ReplicaGroup):
    """Replicas that meet in a file."""

    def __init__(self, rank: int, folder: Path, count: int) -> None:
        super().__init__(rank)
        self._file = folder / "meet"
        self._planned = count

    def join(self, most: int) -> None:
        self.connect(self._file, self._planned, 60, loopback=True)


def loader(path: Path, folder: Path, replicas: Replicas, *, paired: bool) -> BatchLoader:
    with DomainsDataset.open(path, Settings(_env_file=None)) as data:
        images = ResizedImages(data, _SIZE, folder=folder)
    return BatchLoader(images, batch_size=_BATCH, seed=3, paired=paired, replicas=replicas)


def cyclegan(data: Path, folder: Path, replicas: Replicas) -> Trainer:
    """CycleGAN of photographs at dusk and by day, with image pools that are soon full."""
    replicas.join(_BATCH)
    settings = CycleGanSettings(image_size=_SIZE, channels=8, blocks=2, seed=3, pool=7)
    return CycleGan(settings, loader(data / "dusk2day/test.zip", folder, replicas, paired=False), Accelerator(CPU))


def pix2pix(data: Path, folder: Path, replicas: Replicas) -> Trainer:
    """pix2pix of label maps and photographs with a U-Net that is too shallow for dropout."""
    replicas.join(_BATCH)
    settings = Pix2PixSettings(image_size=_SIZE, channels=8, seed=3)
    return Pix2Pix(settings, loader(data / "labels2photo/test.zip", folder, replicas, paired=True), Accelerator(CPU))


def ft(data: Path, folder: Path, replicas: Replicas) -> Trainer:
    """FT of ResNet-20 on photographs of CIFAR-10."""
    with ImagesDataset.open(data / "cifar10/test.zip", Settings(_env_file=None)) as images:
        [batch] = images.batches(_IMAGENET, 48, indices=list(range(0, 480, 10)))
    inputs = np.asarray(batch.inputs, np.float32)
    metadata = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=_IMAGENET)
    network = prepare(onnx.load(data / "cifar10/resnet20.onnx"), metadata, seed=0)
    calibration: list[Batch] = [{"image": inputs}]
    network = replace(network, batches=calibration, source=StatisticsSource.CALIBRATION, tuning_inputs=lambda: inputs)
    request = request_for(method=QuantizationMethod.FT, weight_bits=4, activation_bits=4)
    settings = FineTuning(batch=13, distillation=DistillationSettings(batch=13))
    session = TuningSession(network, request, CPU)
    session.share(replicas, settings.batch)
    return settings.trainer(session, settings.start(network, request).plan)


TRAININGS: Final[dict[str, Callable[[Path, Path, Replicas], Trainer]]] = {
    "cyclegan": cyclegan,
    "pix2pix": pix2pix,
    "ft": ft,
}


def train(name: str, data: Path, folder: Path, replicas: Replicas) -> None:
    """Train, and write what there is to compare.

    Replicas begin each step with the state that one process alone, which ran before, began it with. Differences of
    rounding would otherwise grow: where a gradient is zero but for rounding, Adam's step is as large as elsewhere.
    """
    torch.set_num_threads(1)
    trainer = TRAININGS[name](data, folder, replicas)
    alone = None if replicas.count == 1 else torch.load(folder / "alone.pt", weights_only=True)
    before, after, losses, seconds = [], [], [], 0.0
    for step in range(STEPS[name]):
        fraction = step / STEPS[name]
        trainer.enter_phase(fraction)
        if alone is not None:
            trainer.restore(frozen(alone["before"][step]))
        before.append(frozen(trainer.state()))
        began = time.perf_counter()
        losses.append({key: float(value) for key, value in trainer.step(fraction).items()})
        seconds += time.perf_counter() - began
        after.append(frozen(trainer.state()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    made = {"before": before, "after": after, "losses": losses, "seconds": seconds, "bytes": memory}
    torch.save(made, folder / ("alone.pt" if replicas.count == 1 else f"{replicas.rank}.pt"))


def main(data: Path, folder: Path, name: str, count: int) -> int:
    """Train in one process, then in ``count`` replicas; all are forked before torch computes anything."""
    code = _wait([_fork(lambda: train(name, data, folder, ALONE))])
    return code or _wait([_fork(partial(train, name, data, folder, Joined(r, folder, count))) for r in range(count)])


def _fork(act: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def _wait(children: list[int]) -> int:
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) for child in children)


def left_by(folder: Path, who: str) -> dict[str, Any]:
    """Return what a replica, by its number, or the process ``alone`` left."""
    made: dict[str, Any] = torch.load(folder / f"{who}.pt", weights_only=True)
    return made


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
