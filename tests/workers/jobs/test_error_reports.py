import json

import onnx
import pytest
import torch
from onnx import helper
from pydantic import BaseModel, ValidationError
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobKind
from faceter.contracts.settings import Settings
from faceter.store import job_steps
from tests.store.jobs.worker_side import claimed
from tests.workers.long_tasks import job_spec
from workers.jobs import failures
from workers.jobs.error_reports import error_report
from workers.onnx_module import OnnxModule

SPECIFICATION = {"kind": "quantization", "model_id": "mdl_1", "request": {"method": "rq"}}


def failing_network() -> OnnxModule:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "y"], ["sum"], "the_sum")],
        "g",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in ("x", "y")],
        [helper.make_tensor_value_info("sum", onnx.TensorProto.FLOAT, ["n"])],
    )
    return OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def report_of_node() -> tuple[ErrorReport, Exception]:
    with pytest.raises(RuntimeError) as caught:
        failing_network()({"x": torch.full((3,), 0.123456), "y": torch.ones(4)})
    return error_report(caught.value, "job_1", SPECIFICATION, "measuring"), caught.value


def test_a_failing_node_is_reported_with_shapes_and_without_values() -> None:
    report, _ = report_of_node()
    assert report.node is not None
    assert (report.node.name, report.node.operator) == ("the_sum", "Add")
    assert report.node.inputs == ["float32 [3]", "float32 [4]"]
    assert report.step == "measuring"
    assert report.kind is JobKind.QUANTIZATION
    assert report.request == SPECIFICATION
    assert report.error.startswith("RuntimeError: ")
    assert any(frame.startswith("workers.operators.arithmetic:") for frame in report.frames)
    assert {"faceter", "torch", "onnx", "onnxruntime", "python"} <= set(report.versions)
    text = report.model_dump_json()
    assert "0.123456" not in text
    assert ".py" not in text
    assert "/" not in json.dumps(report.frames)


def test_causes_come_first() -> None:
    try:
        try:
            [][0]
        except IndexError as error:
            raise ValueError("second") from error
    except ValueError as error:
        report = error_report(error, "job_1", SPECIFICATION, "")
    assert report.error == "ValueError: second"
    assert report.frames[1] == "IndexError led to ValueError"
    assert report.node is None


def test_validation_errors_are_told_without_their_values() -> None:
    class Contract(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Contract.model_validate({"number": "secret"})
    assert "secret" not in error_report(caught.value, "job_1", SPECIFICATION, "").error


@pytest.mark.parametrize("kind", JobKind)
def test_the_user_is_told_the_node_and_what_still_works(kind: JobKind) -> None:
    _, exception = report_of_node()
    detail = failures.error_of(exception, Settings(_env_file=None), kind).detail
    assert "(RuntimeError at the node 'the_sum' (Add))" in detail
    assert "error report" in detail
    assert len(detail) > len(failures.error_of(exception, Settings(_env_file=None)).detail)


def test_a_report_is_kept_with_its_job(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings)
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    problem = FaceterError(ProblemKind.INTERNAL_ERROR, "no").problem()
    report, _ = report_of_node()
    job_steps.fail(redis, execution, problem, "trace", report)
    assert queue.error_report(execution.job_id) == report
    assert queue.get(execution.job_id).error == problem


def test_other_jobs_have_no_report(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings)
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    for id in (execution.job_id, "job_unknown"):
        with pytest.raises(FaceterError) as caught:
            queue.error_report(id)
        assert caught.value.kind is ProblemKind.NOT_FOUND
