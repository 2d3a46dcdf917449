import numpy as np
import onnx
import pytest

from faceter.contracts.errors import FaceterError
from faceter.contracts.models import ModelMetadata
from faceter.graphs.working import load_working_graph, working_graph
from tests.graphs import control_flow
from tests.graphs.builders import residual_net, run


def test_a_plain_model_is_worked_on_as_it_is() -> None:
    model = residual_net()
    working = load_working_graph(model.SerializeToString(), ModelMetadata())
    assert working.model == model
    assert working.warnings == ()


def test_constant_inputs_decide_a_branch() -> None:
    working = working_graph(control_flow.by_sampling_rate(), ModelMetadata(constant_inputs={"sr": 16000}))
    assert [node.op_type for node in working.model.graph.node if node.op_type != "Identity"] == [
        "Equal",
        "MatMul",
        "Add",
    ]
    assert working.warnings == ("The graph holds for sr = 16000 alone; this is no input of it any more.",)
    given = np.ones((2, 4), np.float32)
    expected = run(control_flow.by_sampling_rate(), x=given, sr=np.array(16000, np.int64))[0]
    np.testing.assert_array_equal(run(working.model, x=given)[0], expected)


def test_said_shapes_decide_a_branch_and_are_fixed() -> None:
    working = working_graph(control_flow.by_size(), ModelMetadata(input_shapes={"x": [1, 4]}))
    assert "If" not in {node.op_type for node in working.model.graph.node}
    (warning,) = working.warnings
    assert "x [any, 4] alone" in warning
    sizes = working.model.graph.input[0].type.tensor_type.shape.dim
    assert (sizes[0].dim_param, sizes[1].dim_value) == ("n", 4)
    onnx.checker.check_model(working.model, full_check=True)
    given = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(run(working.model, x=given)[0], run(control_flow.by_size(), x=given)[0])


def test_shapes_change_nothing_where_nothing_depends_on_them() -> None:
    for model in (control_flow.by_data(), residual_net()):
        name = model.graph.input[0].name
        working = working_graph(model, ModelMetadata(input_shapes={name: [1, 4]}))
        assert working.model is model
        assert working.warnings == ()


def test_unknown_constant_inputs_are_refused() -> None:
    with pytest.raises(FaceterError, match="no input 'sr'"):
        working_graph(residual_net(), ModelMetadata(constant_inputs={"sr": 16000}))
