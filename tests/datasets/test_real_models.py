"""The readers and decoders together with ONNX Runtime give the figures the models are known for."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from benchmarks.fastestdet import DECODING as FASTESTDET
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.mean_average_precision import mean_average_precision
from faceter.vision.boxes import Detections, agreement_f1
from faceter.vision.detection import decode_to_image_pixels, for_evaluation

SETTINGS = Settings(_env_file=None)


class Model:
    """A model of one input and one output in ONNX Runtime."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: NDArray[Any]) -> NDArray[Any]:
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: inputs})
        assert isinstance(output, np.ndarray)
        return output


def test_resnet20_on_cifar10(shared_data: Path) -> None:
    """About 88 %: the README gives 88.06 % on twice as many images, of which these are half."""
    resnet20 = Model(shared_data / "cifar10" / "resnet20.onnx")
    preprocessing = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    right = 0
    with ImagesDataset.open(shared_data / "cifar10" / "test.zip", SETTINGS) as dataset:
        for batch in dataset.batches(preprocessing, 250, model_labels=sorted(dataset.classes)):
            right += int((np.argmax(resnet20(batch.inputs), axis=1) == batch.labels).sum())
        assert right / len(dataset) == pytest.approx(0.880, abs=0.002)


def test_fastestdet_on_indoor(shared_data: Path) -> None:
    """About 0.268 @0.5 and 0.132 @[.5:.95], as the data's README says; boxes cut off at the edges score higher."""
    fastestdet = Model(shared_data / "detection" / "fastestdet.onnx")
    preprocessing = Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR)
    uncut: list[Detections] = []
    cut: list[Detections] = []
    with DetectionDataset.open(shared_data / "detection" / "indoor.zip", SETTINGS) as dataset:
        for batch in dataset.batches(preprocessing, 1):
            outputs = {"758": fastestdet(batch.inputs)}
            decoding = for_evaluation(FASTESTDET)
            uncut += decode_to_image_pixels(outputs, decoding, (352, 352), batch.placements, clip=False)
            cut += decode_to_image_pixels(outputs, decoding, (352, 352), batch.placements)
        figures, higher = mean_average_precision(uncut, dataset), mean_average_precision(cut, dataset)
    assert figures.at_50 == pytest.approx(0.268, abs=0.002)
    assert figures.at_50_to_95 == pytest.approx(0.132, abs=0.002)
    assert higher.at_50_to_95 > figures.at_50_to_95
    assert agreement_f1(uncut, uncut) == 1
    assert 0.9 < agreement_f1(uncut, cut) < 1
