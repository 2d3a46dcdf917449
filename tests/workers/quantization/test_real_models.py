"""The methods on ResNet-20: accuracy by ONNX Runtime on the served graph, and the simulated network beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.qdq import write_qdq
from tests.workers.quantization.networks import Floats, accuracy, exact_layout, one_thread, request_for
from workers.quantization.methods import methods
from workers.quantization.prepare import PreparedNetwork, prepare
from workers.quantization.simulate import SimulatedNetwork

IMAGENET = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
IMAGES = 5000


@dataclass(frozen=True)
class Images:
    """Images ready for the network, and their classes."""

    inputs: Floats
    labels: NDArray[np.int64]


@pytest.fixture(scope="module")
def cifar10(shared_data: Path) -> Images:
    """All images, decoded once."""
    settings = Settings(_env_file=None)
    with ImagesDataset.open(shared_data / "cifar10" / "test.zip", settings) as data:
        assert len(data) == IMAGES
        (batch,) = data.batches(IMAGENET, IMAGES)
    assert batch.labels is not None
    return Images(batch.inputs, batch.labels.astype(np.int64))


@pytest.fixture(scope="module")
def float_accuracy(resnet20: PreparedNetwork, cifar10: Images) -> float:
    return accuracy(logits_of(resnet20.model, cifar10.inputs), cifar10.labels)


def logits_of(model: onnx.ModelProto, inputs: Floats) -> Floats:
    """Return what ONNX Runtime answers on all cores there are, 250 images at a time."""
    loaded = OnnxRuntimeEngine().load(model.SerializeToString(), threads=2, layout=exact_layout())
    parts = [loaded.run({"image": part})["logits"] for part in np.array_split(inputs, len(inputs) // 250)]
    loaded.close()
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def resnet20(shared_data: Path) -> PreparedNetwork:
    model = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    return prepare(model, ModelMetadata(preprocessing=IMAGENET), seed=0)


@pytest.mark.parametrize("method", list(methods))
@pytest.mark.parametrize("granularity", Granularity)
def test_resnet20_at_8_bits_is_within_half_a_point_of_float(
    method: QuantizationMethod,
    granularity: Granularity,
    resnet20: PreparedNetwork,
    cifar10: Images,
    float_accuracy: float,
) -> None:
    plan = methods[method](resnet20, request_for(weight_granularity=granularity.value)).plan
    answers = logits_of(write_qdq(plan), cifar10.inputs)
    assert abs(accuracy(answers, cifar10.labels) - float_accuracy) <= 0.005


@pytest.mark.parametrize("method", list(methods))
def test_resnet20_at_8_bits_is_served_as_simulated(
    method: QuantizationMethod, resnet20: PreparedNetwork, cifar10: Images
) -> None:
    plan = methods[method](resnet20, request_for(weight_granularity="tensor")).plan
    inputs = cifar10.inputs[::5]
    answers = logits_of(write_qdq(plan), inputs)
    simulated = SimulatedNetwork(plan)
    with one_thread():
        rows = [simulated.run({"image": part})["logits"] for part in np.array_split(inputs, 4)]
    assert (np.concatenate(rows).argmax(1) == answers.argmax(1)).mean() >= 0.999


def test_resnet20_at_4_bits_without_data_keeps_what_the_documentation_says(
    resnet20: PreparedNetwork, cifar10: Images
) -> None:
    request = request_for(weight_bits=4, activation_bits=4)
    scores = {
        method: accuracy(logits_of(write_qdq(methods[method](resnet20, request).plan), cifar10.inputs), cifar10.labels)
        for method in methods
    }
    assert scores[QuantizationMethod.ACIQ] > 0.83
    assert scores[QuantizationMethod.DFQ] > scores[QuantizationMethod.RQ]
