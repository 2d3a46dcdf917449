"""Evaluation data do not change the result: the file is the same with and without them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faceter.contracts.quantizations import QuantizationMethod
from faceter.datasets.images import ImagesDataset
from tests.workers.quantization.evaluation_data import SETTINGS, classifier, digits_zip, record
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import (
    every_method,
    light,
)
from tests.workers.training.fakes import RecordingCallbacks
from workers.jobs.stages import Stage
from workers.quantization.datasets import JobDatasets
from workers.quantization.methods import tuned_methods
from workers.quantization.pipeline import QuantizedModel, quantize
from workers.training.callbacks import Callbacks


def always(callbacks: Callbacks) -> Callable[[Stage], Callbacks]:
    return lambda stage: callbacks


@pytest.mark.parametrize("method", every_method)
def test_evaluation_data_never_change_the_result(
    method: QuantizationMethod, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceter.engines.timing._MIN_RUNS", 3)
    monkeypatch.setattr("faceter.engines.timing._MAX_RUNS", 3)
    monkeypatch.setitem(tuned_methods, method, light(method))
    calibrated = method is QuantizationMethod.FT
    request = request_for(method=method, weight_bits=4, activation_bits=4, max_steps=10, seed=2)
    with ImagesDataset.open(digits_zip(tmp_path, digits), SETTINGS) as images:
        records = {name: record() for name in ("calibration_dataset", "evaluation_dataset")}
        callbacks: list[RecordingCallbacks] = []
        made: list[QuantizedModel] = []
        for evaluation in (None, images):
            data = JobDatasets(calibration=images if calibrated else None, evaluation=evaluation, records=records)
            recording = RecordingCallbacks()
            callbacks.append(recording)
            content = digits.model.SerializeToString()
            made.append(quantize(content, classifier(), request, data, SETTINGS, callbacks=always(recording)))
    without, with_data = made
    assert with_data.exported.content == without.exported.content
    assert with_data.report.quality
    assert not without.report.quality
    shown = [training.accuracy for _, training in callbacks[1].reports]
    assert any(accuracy is not None for accuracy in shown), "though accuracy is shown"
    assert all(training.accuracy is None for _, training in callbacks[0].reports)
    source = "calibration" if calibrated else "synthetic"
    assert (without.report.agreement.source, with_data.report.agreement.source) == (source, "evaluation")
    assert with_data.report.tuning is not None
    assert without.report.tuning is not None
    assert with_data.report.tuning.agreement == without.report.tuning.agreement
