"""Evaluation data are looked at and change nothing: the file is the same with them and without."""

from pathlib import Path

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.quantizations import QuantizationMethod
from faceter.datasets.kinds import open_dataset
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.test_pipeline import SETTINGS, classifier, digits_zip, record
from tests.workers.quantization.tuning.methods_at_work import Recording, every_method, light
from workers.quantization.data import Data
from workers.quantization.methods import tuned_methods
from workers.quantization.pipeline import Quantized, quantize


@pytest.mark.parametrize("method", every_method)
def test_evaluation_data_never_change_the_result(
    method: QuantizationMethod, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.quantization.timing._FEWEST_RUNS", 3)
    monkeypatch.setattr("workers.quantization.timing._MOST_RUNS", 3)
    monkeypatch.setitem(tuned_methods, method, light(method))
    calibrated = method is QuantizationMethod.FT
    request = request_for(method=method, weight_bits=4, activation_bits=4, max_steps=10, seed=2)
    with open_dataset(digits_zip(tmp_path, digits), DatasetKind.IMAGES, SETTINGS) as images:
        records = {name: record() for name in ("calibration_dataset", "evaluation_dataset")}
        hooks: list[Recording] = []
        made: list[Quantized] = []
        for evaluation in (None, images):
            data = Data(calibration=images if calibrated else None, evaluation=evaluation, records=records)
            hooks.append(Recording())
            made.append(
                quantize(digits.model.SerializeToString(), classifier(), request, data, SETTINGS, hooks=hooks[-1])
            )
    without, with_data = made
    assert with_data.content == without.content
    assert with_data.report.quality
    assert not without.report.quality
    shown = [training.accuracy for _, training in hooks[1].told]
    assert any(accuracy is not None for accuracy in shown), "though accuracy is shown"
    assert all(training.accuracy is None for _, training in hooks[0].told)
    source = "calibration" if calibrated else "synthetic"
    assert (without.report.agreement.source, with_data.report.agreement.source) == (source, "evaluation")
    assert with_data.report.tuning is not None
    assert without.report.tuning is not None
    assert with_data.report.tuning.agreement == without.report.tuning.agreement
