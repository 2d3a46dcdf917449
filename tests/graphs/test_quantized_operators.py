from pathlib import Path

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.check import load_model
from faceter.graphs.describe import describe, parameter_count
from faceter.graphs.quantized_operators import check_not_quantized, is_quantized
from tests import foreign_models
from tests.graphs.builders import residual_net


@pytest.mark.parametrize("name", foreign_models.QUANTIZED)
def test_models_of_other_tools_are_described_and_not_quantized_again(name: str, tmp_path: Path) -> None:
    model = load_model(foreign_models.made(name, tmp_path).SerializeToString(), max_bytes=1 << 24)
    assert is_quantized(model)
    dense = "x" in model.graph.input[0].name and len(model.graph.input[0].type.tensor_type.shape.dim) == 2
    original = foreign_models.dense() if dense else foreign_models.convolutional()
    assert parameter_count(model) == parameter_count(original)
    assert describe(model).unsupported_operators == []
    with pytest.raises(FaceterError) as caught:
        check_not_quantized(model, "mdl_1", "mdl_0")
    assert caught.value.kind is ProblemKind.ALREADY_QUANTIZED
    assert "mdl_1 is already quantized: it has " in caught.value.detail
    assert "Quantize mdl_0" in caught.value.detail


def test_a_float_model_passes() -> None:
    check_not_quantized(residual_net())
    assert not is_quantized(residual_net())
