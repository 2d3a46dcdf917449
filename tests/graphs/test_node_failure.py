import onnx
import pytest

from faceter.graphs import canonical
from faceter.graphs.node_failure import NodeFailure, failure_of, note_failure
from tests.graphs.builders import residual_net

FAILURE = NodeFailure("conv", "Conv", ("float32 [1, 3]",))


def test_a_failure_is_found_through_its_consequences() -> None:
    cause = ValueError("inside")
    note_failure(cause, FAILURE)
    note_failure(cause, NodeFailure("outer", "If", ()))
    consequence = RuntimeError("outside")
    consequence.__cause__ = cause
    assert failure_of(consequence) == FAILURE
    assert failure_of(KeyError("x")) is None
    assert failure_of(None) is None
    assert cause.__notes__ == ["in the Conv node 'conv' (float32 [1, 3])"]


def test_a_rewrite_that_fails_names_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(view: object, shapes: object, node: onnx.NodeProto) -> None:
        if node.op_type == "Gemm":
            raise IndexError("list index out of range")

    monkeypatch.setattr(canonical, "rewrites", (faulty,))
    with pytest.raises(IndexError) as caught:
        canonical.canonicalize(residual_net())
    failure = failure_of(caught.value)
    assert failure is not None
    assert (failure.name, failure.operator) == ("n15", "Gemm")
    assert failure.inputs[1] == "float32 [5, 12]"
