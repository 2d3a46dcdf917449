"""Equal seeds give equal files: in one process and in others, on a host where another layout is fastest as well."""

import hashlib
import os
import subprocess
import sys

import pytest

from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationMethod
from faceter.contracts.settings import Settings
from faceter.graphs.layouts import PLAIN, layouts
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import residual_net
from tests.workers.quantization.networks import exact_layout, prepared_for, request_for
from workers.quantization.datasets import JobDatasets
from workers.quantization.methods import methods
from workers.quantization.pipeline import quantize


def digest(method: QuantizationMethod) -> str:
    """Return the SHA-256 of the file of a method whose weights have various bits."""
    request = request_for(method=method, weight_bits=5, activation_bits=6, seed=3)
    plan = methods[method](prepared_for(residual_net(2), seed=3), request).plan
    return hashlib.sha256(pack_weights(write_qdq(plan)).SerializeToString()).hexdigest()


def test_every_method_writes_an_equal_file_in_another_process() -> None:
    """The other hashes strings otherwise, and so goes through sets in another order."""
    code = f"from {__name__} import *; print(*(digest(method) for method in methods))"
    environment = os.environ | {"PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest(method) for method in methods]


@pytest.mark.parametrize("method", list(methods))
def test_the_file_does_not_depend_on_the_host_or_the_layout_served(
    method: QuantizationMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceter.engines.timing._MIN_RUNS", 3)
    monkeypatch.setattr("faceter.engines.timing._MAX_RUNS", 3)
    content = residual_net(2).SerializeToString()
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[16, 16]))
    made = []
    for saturates in (False, True):
        monkeypatch.setattr("workers.quantization.measure.sums_saturate", lambda engine, here=saturates: here)
        made.append(
            quantize(content, metadata, request_for(method=method, seed=3), JobDatasets(), Settings(_env_file=None))
        )
    first, second = made
    if exact_layout() == PLAIN:
        assert [choice.layout for choice in first.report.layouts] == list(layouts)
    assert [choice.layout for choice in second.report.layouts] == ["u8u8"]
    assert first.exported.content == second.exported.content
    assert first.report.tensors == second.report.tensors
