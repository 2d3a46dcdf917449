"""Models that hurt whoever checks them: they hurt a process that is made for it, and get a reason."""

import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from app.services.models import check_process
from app.services.models.check_lanes import CheckLanes
from app.services.models.check_process import CheckEndedError, CheckLimits, checked
from app.services.models.checking import ModelUpload, described
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.contracts.settings import Settings
from tests.app.uploads import METADATA
from tests.engines import graphs

_MIB = 2**20
_LIMITS = CheckLimits(bytes=8 * 2**30, seconds=60.0)
_Shapes = dict[str, tuple[int, graphs.Shape]]
_X: _Shapes = {"x": (TensorProto.FLOAT, [1])}
_Y: Any = {"y": (TensorProto.FLOAT, None)}


@pytest.fixture
def narrow(settings: Settings) -> Settings:
    """Limits that are soon reached."""
    return settings.model_copy(update={"check_bytes": 1536 * _MIB, "check_seconds": 5.0})


def doubling() -> bytes:
    """Return a graph of a kilobyte whose values double 42 times."""
    nodes = [helper.make_node("Concat", [f"v{n}", f"v{n}"], [f"v{n + 1}"], axis=0) for n in range(42)]
    nodes = [helper.make_node("Identity", ["x"], ["v0"]), *nodes, helper.make_node("ReduceSum", ["v42"], ["y"])]
    return graphs.model(nodes, _X, _Y, {})


def computed_shape() -> bytes:
    """Return a graph that asks for 22 GB, behind a shape that is computed."""
    nodes = [
        helper.make_node("Mul", ["side", "side"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"]),
        helper.make_node("Add", ["sum", "x"], ["y"]),
    ]
    return graphs.model(nodes, _X, _Y, {"side": np.array([74_000], np.int64)})


def many_tensors() -> bytes:
    """Return a graph of twelve tensors of 1 GB, each below the limit of one."""
    nodes = [helper.make_node("Expand", ["x", "shape"], [f"t{n}"]) for n in range(12)]
    nodes.append(helper.make_node("Concat", [f"t{n}" for n in range(12)], ["all"], axis=0))
    nodes.append(helper.make_node("ReduceSum", ["all"], ["y"]))
    return graphs.model(nodes, _X, _Y, {"shape": np.array([250_000_000], np.int64)})


def long_loop() -> bytes:
    """Return a graph with a loop of 2^60 turns that keeps what each makes."""
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes"]),
            helper.make_node("Identity", ["state"], ["next"]),
            helper.make_node("Expand", ["state", "wide"], ["kept"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["turns", "yes", "x"], ["last", "scanned"], body=turn),
        helper.make_node("ReduceSum", ["scanned"], ["y"], keepdims=0),
    ]
    constants: dict[str, Any] = {
        "turns": np.array(2**60, np.int64),
        "yes": np.array(True),
        "wide": np.array([1_000_000], np.int64),
    }
    return graphs.model(nodes, _X, _Y, constants)


def long_folding() -> bytes:
    """Return a graph whose constants take minutes to fold."""
    nodes = [helper.make_node("Expand", ["one", "shape"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(12)]
    nodes += [helper.make_node("ReduceSum", ["m12"], ["sum"], keepdims=0), helper.make_node("Add", ["sum", "x"], ["y"])]
    constants: dict[str, Any] = {"one": np.array(1e-4, np.float32), "shape": np.array([8192, 8192], np.int64)}
    return graphs.model(nodes, _X, _Y, constants)


@pytest.mark.parametrize("graph", [doubling, computed_shape, many_tensors, long_loop, long_folding])
def test_a_hostile_model_is_refused_and_its_check_hurts_nobody(narrow: Settings, graph: Callable[[], bytes]) -> None:
    upload = ModelUpload(graph(), "hostile", ModelMetadata())
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(FaceterError) as caught:
        CheckLanes(narrow).checked(upload)
    assert caught.value.kind in (ProblemKind.MODEL_NOT_RUNNABLE, ProblemKind.INVALID_MODEL)
    assert [item.field for item in caught.value.errors] == ["file"]
    assert time.monotonic() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "kilobytes"


def test_an_honest_upload_does_not_wait_for_hostile_ones(narrow: Settings) -> None:
    honest = ModelUpload(graphs.classifier(), "tiny", ModelMetadata.model_validate(METADATA))
    lanes, expected = CheckLanes(narrow), described(honest, narrow)
    assert lanes.checked(honest) == expected
    ended: list[FaceterError] = []

    def hurt() -> None:
        with pytest.raises(FaceterError) as caught:
            lanes.checked(ModelUpload(long_folding(), "hostile", ModelMetadata()))
        ended.append(caught.value)

    threads = [threading.Thread(target=hurt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(1.0)
        assert lanes.checked(honest) == expected
    assert len(ended) < len(threads), "it was answered while others were checked"
    for thread in threads:
        thread.join()
    assert {error.kind for error in ended} == {ProblemKind.MODEL_NOT_RUNNABLE}


def test_what_exceeds_the_narrow_limits_is_checked_within_the_full_ones(settings: Settings) -> None:
    nodes = [
        *(helper.make_node("Expand", ["x", "shape"], [name]) for name in ("a", "b")),
        helper.make_node("Add", ["a", "b"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["y"], keepdims=0),
    ]
    large = graphs.model(nodes, _X, _Y, {"shape": np.array([1000, 300_000], np.int64)})
    upload = ModelUpload(large, "large", ModelMetadata())
    with pytest.raises((CheckEndedError, FaceterError)):
        checked(upload, settings, CheckLimits(bytes=2 * 2**30, seconds=20.0, cpu_seconds=4))
    assert CheckLanes(settings.model_copy(update={"check_bytes": 8 * 2**30})).checked(upload).outputs[0].name == "y"


def test_too_many_long_checks_are_refused(narrow: Settings) -> None:
    lanes = CheckLanes(narrow)
    for admitted in range(8):
        assert lanes._admitted.acquire(blocking=False), admitted
    with pytest.raises(FaceterError) as caught:
        lanes.checked(ModelUpload(long_folding(), "hostile", ModelMetadata()))
    assert caught.value.kind is ProblemKind.OVERLOADED
    assert caught.value.retry_after


def test_an_error_comes_back_whole(settings: Settings) -> None:
    wrong = ModelMetadata.model_validate({**METADATA, "labels": ["one"]})
    upload = ModelUpload(graphs.classifier(), "tiny", wrong)
    with pytest.raises(FaceterError) as here:
        described(upload, settings)
    with pytest.raises(FaceterError) as there:
        checked(upload, settings, _LIMITS)
    assert there.value.problem() == here.value.problem()


def test_a_fault_of_the_check_is_no_fault_of_the_model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"internal": "Traceback …\nKeyError: 'x'"}
    monkeypatch.setattr(check_process, "_answer", lambda *_: answer)
    with pytest.raises(RuntimeError, match="KeyError"):
        checked(ModelUpload(graphs.classifier(), "tiny", ModelMetadata()), settings, _LIMITS)
