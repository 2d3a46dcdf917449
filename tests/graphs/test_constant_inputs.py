import numpy as np
import onnx
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.constant_inputs import control_flow_remedy, with_constant_inputs
from tests.graphs import control_flow
from tests.graphs.builders import run


def test_a_constant_input_is_no_input_any_more() -> None:
    model = control_flow.by_sampling_rate()
    given = np.ones((2, 4), np.float32)
    for rate in (16000, 8000):
        changed = with_constant_inputs(model, {"sr": rate})
        onnx.checker.check_model(changed)
        assert [value.name for value in changed.graph.input] == ["x"]
        expected = run(model, x=given, sr=np.array(rate, np.int64))[0]
        np.testing.assert_array_equal(run(changed, x=given)[0], expected)
    assert len(model.graph.input) == 2


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"rate": 1}, "metadata.constant_inputs.rate", "no input 'rate'; it takes x, sr"),
        ({"sr": 0.5}, "metadata.constant_inputs.sr", "takes int64, not 0.5"),
        ({"x": 1.0}, "metadata.constant_inputs.x", "only single numbers"),
    ],
)
def test_what_cannot_be_constant_is_refused(values: dict[str, float], field: str, said: str) -> None:
    with pytest.raises(FaceterError, match=said) as caught:
        with_constant_inputs(control_flow.by_sampling_rate(), values)
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert caught.value.errors[0].field == field


def test_a_model_needs_an_input() -> None:
    model = control_flow.by_sampling_rate()
    size = model.graph.input[0].type.tensor_type.shape.dim[1]
    size.dim_value = 1
    with pytest.raises(FaceterError, match="nothing to predict from"):
        with_constant_inputs(model, {"sr": 1, "x": 1})


def test_the_remedy_names_the_input_and_a_value_that_the_graph_knows() -> None:
    assert '{"constant_inputs": {"sr": 16000}}' in str(control_flow_remedy(control_flow.by_sampling_rate()))
    assert "`input_shapes`" in str(control_flow_remedy(control_flow.by_size()))
    assert "depends on the data (on x)" in str(control_flow_remedy(control_flow.by_data()))
    assert '{"constant_inputs": {"count": 1}}' in str(
        control_flow_remedy(control_flow.loop(count=1, count_as_input=True))
    )
    assert control_flow_remedy(control_flow.loop(count=2)) is not None
