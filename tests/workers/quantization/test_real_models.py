"""The methods on ResNet-20: accuracy by ONNX Runtime on the served graph, and the simulated network beside it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ModelMetadata, Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_dataset
from faceter.datasets.pictures import Batch, spread
from faceter.graphs.qdq import write_qdq
from tests.workers.quantization.networks import outputs_of, request_for
from workers.quantization.methods import methods
from workers.quantization.pipeline import prepare
from workers.quantization.prepared import Prepared
from workers.quantization.simulate import SimulatedNetwork

IMAGENET = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
PICTURES = 1000


@pytest.fixture(scope="module")
def cifar10(shared_data: Path) -> Batch:
    settings = Settings(_env_file=None)
    with open_dataset(shared_data / "cifar10" / "test.zip", DatasetKind.IMAGES, settings) as data:
        (batch,) = data.batches(IMAGENET, PICTURES, indices=spread(len(data), PICTURES))
    return batch


@pytest.fixture(scope="module")
def resnet20(shared_data: Path) -> Prepared:
    model = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    return prepare(model, ModelMetadata(preprocessing=IMAGENET), seed=0)


@pytest.mark.parametrize("method", QuantizationMethod)
def test_resnet20_at_8_bits_loses_less_than_a_point_and_is_served_as_simulated(
    method: QuantizationMethod, resnet20: Prepared, cifar10: Batch
) -> None:
    plan = methods[method](resnet20, request_for(weight_granularity="tensor")).plan
    whole = outputs_of(resnet20.model, cifar10.inputs)
    answers = outputs_of(write_qdq(plan), cifar10.inputs)
    before, after = ((logits.argmax(1) == cifar10.labels).mean() for logits in (whole, answers))
    assert after > before - 0.01
    threads = torch.get_num_threads()
    simulated = SimulatedNetwork(plan)
    rows = [simulated.run({"image": part})["logits"] for part in np.array_split(cifar10.inputs, 4)]
    assert torch.get_num_threads() == threads
    assert (np.concatenate(rows).argmax(1) == answers.argmax(1)).mean() >= 0.999


def test_resnet20_at_4_bits_without_data_keeps_what_the_documentation_says(resnet20: Prepared, cifar10: Batch) -> None:
    request = request_for(weight_bits=4, activation_bits=4)
    scores = {
        method: float(
            (
                outputs_of(write_qdq(methods[method](resnet20, request).plan), cifar10.inputs).argmax(1)
                == cifar10.labels
            ).mean()
        )
        for method in QuantizationMethod
    }
    assert scores[QuantizationMethod.ACIQ] > 0.83
    assert scores[QuantizationMethod.DFQ] > scores[QuantizationMethod.RQ]
