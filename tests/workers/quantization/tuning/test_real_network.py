"""Every tuned method beats rounding alone on a real network, in few steps.

The network is ResNet-20 at W4A4 with one scale per weight tensor, where rounding loses a quarter of the answers: a few
seconds of tuning are then told from chance on 256 images. What they reach in minutes is for benchmarks to say.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.workers.quantization.networks import Floats, outputs_of, request_for, served
from workers.model_input import Batch
from workers.quantization.methods import methods, tuned_methods
from workers.quantization.prepare import PreparedNetwork, prepare
from workers.quantization.statistics import StatisticsSource
from workers.quantization.tune import tune
from workers.quantization.tuning.inputs.synthesis import SynthesisSettings
from workers.quantization.tuning.student.distillation import DistillationSettings
from workers.training import loop
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks

IMAGENET = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
BITS = {"weight_bits": 4, "activation_bits": 4, "weight_granularity": "tensor"}

BRIEF: dict[QuantizationMethod, tuple[int, dict[str, Any]]] = {
    QuantizationMethod.ZEROQ: (30, {"batch": 32, "iterations": 15}),
    QuantizationMethod.GDFQ: (36, {"batch": 32, "warm_up": 0.1}),
    QuantizationMethod.ZAQ: (24, {"batch": 32}),
    QuantizationMethod.FT: (12, {"batch": 24, "distillation": DistillationSettings(batch=24)}),
    QuantizationMethod.AUTO: (
        30,
        {
            "batch": 24,
            "synthesis": SynthesisSettings(batch=64, iterations=10),
            "distillation": DistillationSettings(batch=24),
        },
    ),
}
"""Number of steps, and settings for such a short run."""


@pytest.fixture(scope="module")
def images(shared_data: Path) -> Floats:
    """512 images, of all classes."""
    path = shared_data / "cifar10" / "train.zip"
    with ImagesDataset.open(path, Settings(_env_file=None)) as data:
        chosen = np.linspace(0, len(data) - 1, 512).astype(int)
        [batch] = data.batches(IMAGENET, 512, indices=chosen.tolist())
    return np.asarray(batch.inputs, np.float32)


@pytest.fixture(scope="module")
def resnet20(shared_data: Path) -> PreparedNetwork:
    metadata = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=IMAGENET)
    return prepare(onnx.load(shared_data / "cifar10" / "resnet20.onnx"), metadata, seed=0)


def agreement(plan: QuantizationPlan, network: PreparedNetwork, images: Floats) -> float:
    """Return the share of 256 images that what is served in ONNX Runtime classifies as the float network does."""
    expected = outputs_of(network.model, images[::2]).argmax(axis=1)
    return float((served(plan, images[::2]).argmax(axis=1) == expected).mean())


@pytest.mark.parametrize("method", BRIEF)
def test_tuning_beats_rounding_alone(
    method: QuantizationMethod, resnet20: PreparedNetwork, images: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_MEASUREMENTS", 2)  # on up to 512 inputs each, which takes longer than so few steps
    network = resnet20
    if method is QuantizationMethod.FT:
        own = images[1::2]
        batches: list[Batch] = [{"image": own}]
        network = replace(network, batches=batches, source=StatisticsSource.CALIBRATION, tuning_inputs=lambda: own)
    rounded = methods[QuantizationMethod.RQ](resnet20, request_for(method="rq", **BITS)).plan
    steps, settings = BRIEF[method]
    brief: Any = replace(tuned_methods[method], **settings)  # type: ignore[type-var]
    request = request_for(method=method, **BITS)
    made = tune(brief, network, request, Callbacks(), lambda session: lambda _: None, Budget(steps=steps))
    before, after = (agreement(plan, resnet20, images) for plan in (rounded, made.plan))
    assert after > before + 0.04, (before, after)
