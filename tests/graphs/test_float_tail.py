import numpy as np
import onnx
import pytest

from faceter.graphs.canonical import canonicalize
from faceter.graphs.float_tail import split_tail, with_tail
from faceter.graphs.operators import unsupported
from tests.graphs import control_flow, scikit_models
from tests.graphs.builders import residual_net
from tests.graphs.scikit_models import samples
from tests.workers.onnxruntime_reference import onnxruntime_outputs


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("zipmap", [True, False])
def test_labels_and_maps_stay_behind_the_layers(text: bool, zipmap: bool) -> None:
    model = scikit_models.multilayer_perceptron(text=text, zipmap=zipmap)
    core, tail = split_tail(model)
    assert unsupported(core) == []
    assert (tail is None) == (not text and not zipmap)
    assert [node.op_type for node in canonicalize(core).graph.node].count("Gemm") == 2
    whole = with_tail(canonicalize(core), tail)
    onnx.checker.check_model(whole)
    given = {"X": samples()[0]}
    expected, actual = onnxruntime_outputs(model, given), onnxruntime_outputs(whole, given)
    assert list(actual) == list(expected)
    label, scores = expected
    np.testing.assert_array_equal(actual[label], expected[label])
    if zipmap:
        for one, other in zip(actual[scores], expected[scores], strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    if tail is not None:
        assert "stays as it is" in tail.warning


def test_a_model_that_jobs_can_run_has_no_tail() -> None:
    model = residual_net()
    core, tail = split_tail(model)
    assert core is model
    assert tail is None
    assert with_tail(model, tail) is model


def test_branches_with_layers_are_not_split_off() -> None:
    for model in (control_flow.by_data(), control_flow.by_sampling_rate()):
        assert split_tail(model) == (model, None)


def test_layers_behind_what_jobs_cannot_run_are_not_split_off() -> None:
    model = control_flow.by_data()
    later = onnx.helper.make_node("MatMul", ["y", "matrix"], ["z"])
    model.graph.node.append(later)
    model.graph.initializer.append(control_flow.tensor("matrix", np.eye(4, dtype=np.float32)))
    model.graph.output[0].name = "z"
    core, tail = split_tail(model)
    assert core is model
    assert tail is None
    assert unsupported(core) == [("If", "which")]
