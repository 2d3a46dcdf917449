from pathlib import Path

import onnx
import pytest

from app.services.sample_tensors import SampleTensors
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, ModelMetadata
from faceter.graphs.describe import input_specs, output_specs
from tests import foreign_models
from tests.graphs import control_flow


def tensors_of(graph: onnx.ModelProto) -> SampleTensors:
    model = Model(
        id="mdl_1",
        name="branches",
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=1,
        metadata=ModelMetadata(),
        inputs=input_specs(graph),
        outputs=output_specs(graph),
        opset=17,
        parameters=0,
    )
    return SampleTensors(model, graph)


def test_a_tensor_of_a_branch_is_refused_with_the_remedy() -> None:
    with pytest.raises(FaceterError, match="inside the If node 'which'") as caught:
        tensors_of(control_flow.by_sampling_rate()).find("h", "layer", "activations", inputs=False)
    assert caught.value.kind is ProblemKind.INVALID_REQUEST
    assert caught.value.errors[0].field == "layer"
    assert '{"constant_inputs": {"sr": 16000}}' in caught.value.detail


def test_the_result_of_a_branch_is_a_tensor() -> None:
    info = tensors_of(control_flow.by_sampling_rate()).find("y", "layer", "activations", inputs=False)
    assert info is not None
    assert info.dtype == "float32"


def test_codes_of_a_network_in_operator_form_are_activations(tmp_path: Path) -> None:
    tensors = tensors_of(foreign_models.made("operators", tmp_path))
    info = tensors.find("c1_quantized", "layer", "activations", inputs=False)
    assert info is not None
    assert info.dtype in ("int8", "uint8")
    assert info.shape == (tensors.samples, 8, 16, 16)
    assert tensors.find("a_quantized", "layer", "activations", inputs=False) is None
