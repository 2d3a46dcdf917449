from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from rq.timeouts import JobTimeoutException

from app.services.jobs.queue import JobQueue
from faceter.contracts.analyses import AbstractionsRequest, AbstractionsResult, Analysis
from faceter.contracts.base import Provenance, StoredFile, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.explanations import Explanation
from faceter.contracts.jobs import Job, JobKind, JobResult, JobStatus, Progress, QuantizationJob, Training
from faceter.contracts.references import ResourceName
from faceter.contracts.settings import Settings
from faceter.store import job_records, job_steps
from faceter.store.blobs import StoredBlob
from faceter.store.job_events import stream_key
from faceter.store.library import Library
from tests.app.evaluation_records import make_evaluation
from tests.app.explanation_records import make_explanation
from tests.workers.long_tasks import do, job_spec, quantization
from workers import tasks
from workers.jobs import context as job_context
from workers.jobs import failures
from workers.jobs.context import JobContext, run_task


class Clock:
    """Seconds, as the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def context(redis: Redis, settings: Settings, library: Library, clock: Clock) -> JobContext:
    job = JobQueue(redis, settings).enqueue(job_spec("succeeds"))
    execution = job_steps.claim(redis, job_records.fetch(redis, job.id), "worker", 60)
    assert execution is not None
    return JobContext(settings, library, redis, execution, clock)


@pytest.fixture
def entered(context: JobContext) -> Iterator[JobContext]:
    token = job_context._current.set(context)
    yield context
    job_context._current.reset(token)


def files(library: Library) -> list[Path]:
    return [path for path in library.blobs._staging.parent.rglob("*") if path.is_file()]


def reports(redis: Redis, context: JobContext) -> list[Progress]:
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], redis.xrange(stream_key(context.job_id)))
    return [Progress.model_validate_json(fields[b"data"]) for _, fields in entries if fields[b"event"] == b"progress"]


def test_progress_is_in_the_job_and_in_its_events(redis: Redis, settings: Settings, context: JobContext) -> None:
    context.progress("evaluating", 0.25)
    seen = JobQueue(redis, settings).get(context.job_id).progress
    assert seen is not None
    assert (seen.step, seen.fraction) == ("evaluating", 0.25)
    assert reports(redis, context) == [seen]


def test_an_inner_loop_writes_twice_a_second_at_most(redis: Redis, context: JobContext, clock: Clock) -> None:
    for n in range(1000):
        clock.now = 100 + n * 0.01
        context.progress("evaluating", n / 1000)
    assert len(reports(redis, context)) == 20


def test_a_new_step_is_reported_at_once(redis: Redis, context: JobContext) -> None:
    for step in ("folding", "calibrating", "evaluating"):
        context.progress(step, 0.1)
    assert [progress.step for progress in reports(redis, context)] == ["folding", "calibrating", "evaluating"]


def test_the_time_left_follows_from_the_time_taken(redis: Redis, context: JobContext, clock: Clock) -> None:
    context.progress("starting", 0.0)
    clock.now += 10
    context.progress("a quarter", 0.25)
    clock.now += 30
    context.progress("all", 1.0)
    assert [progress.eta_seconds for progress in reports(redis, context)] == [None, 30.0, 0.0]


def test_the_time_left_of_a_job_that_goes_on_counts_from_its_checkpoint(
    redis: Redis, context: JobContext, clock: Clock
) -> None:
    context.save_checkpoint(b"1")
    clock.now += 100
    assert context.load_checkpoint() == b"1"
    for step, seconds, fraction in (("going on", 5, 0.5), ("a quarter more", 10, 0.75), ("all", 10, 1.0)):
        clock.now += seconds
        context.progress(step, fraction)
    assert [progress.eta_seconds for progress in reports(redis, context)] == [None, 10.0, 0.0]


@pytest.mark.parametrize(("fractions", "expected"), [((0.5, 0.2), 0.5), ((1.7,), 1.0), ((-3.0,), 0.0)])
def test_progress_never_falls_nor_leaves_its_range(
    redis: Redis, context: JobContext, fractions: tuple[float, ...], expected: float
) -> None:
    for n, fraction in enumerate(fractions):
        context.progress(f"step {n}", fraction)
    assert reports(redis, context)[-1].fraction == expected


def test_fractions_are_short_numbers(redis: Redis, context: JobContext) -> None:
    context.progress("counting", 0.1 + 0.2)
    assert reports(redis, context)[-1].fraction == 0.3


def test_the_progress_of_a_canceled_job_stops_it(redis: Redis, settings: Settings, context: JobContext) -> None:
    JobQueue(redis, settings).cancel(context.job_id)
    with pytest.raises(job_steps.LeaseLostError):
        context.progress("evaluating", 0.5)


def test_losses_and_agreement_are_part_of_progress(redis: Redis, settings: Settings, context: JobContext) -> None:
    training = Training(phase="tuning", step=40, losses={"kl": 0.5}, agreement=0.9)
    context.progress("tuning", 0.25, training)
    context.progress("evaluating", 0.5)
    assert [progress.training for progress in reports(redis, context)] == [training, None]
    context.progress("tuning on", 0.6, training=training)
    seen = JobQueue(redis, settings).get(context.job_id).progress
    assert seen is not None
    assert seen.training == training


def test_losses_that_are_not_finite_are_left_out(redis: Redis, settings: Settings, context: JobContext) -> None:
    losses = {"kl": float("nan"), "features": float("inf"), "bias": 0.5}
    context.progress("tuning", 0.25, Training(phase="tuning", step=40, losses=losses))
    seen = JobQueue(redis, settings).get(context.job_id)
    assert seen.progress is not None
    assert seen.progress.training is not None
    assert seen.progress.training.losses == {"bias": 0.5}
    assert Job.model_validate_json(seen.model_dump_json()) == seen


def test_the_store_is_read_once_a_second_for_a_request_to_finish(
    redis: Redis, settings: Settings, context: JobContext, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []

    def is_ending(redis: Redis, job_id: str) -> bool:
        checks.append(clock.now)
        return job_records.is_ending(redis, job_id)

    monkeypatch.setattr(job_context, "job_records", SimpleNamespace(is_ending=is_ending))
    for n in range(30):
        clock.now = 100 + n * 0.1
        assert not context.stop_requested()
    assert len(checks) == 3
    JobQueue(redis, settings).request_end(context.job_id)
    assert not context.stop_requested()
    clock.now += 1
    assert [context.stop_requested() for _ in range(3)] == [True] * 3
    clock.now += 60
    assert context.stop_requested()
    assert len(checks) == 4


def test_a_checkpoint_is_there_for_the_next_attempt_and_goes_with_the_job(
    redis: Redis, settings: Settings, library: Library, context: JobContext, clock: Clock
) -> None:
    assert context.load_checkpoint() is None
    for step in (b"1", b"2", b"2", b"3"):
        context.save_checkpoint(step)
        assert context.load_checkpoint() == step
    assert len(files(library)) == 1
    job_steps.requeue_or_fail(redis, settings, context._execution, FaceterError(ProblemKind.WORKER_LOST, "gone"))
    again = job_steps.claim(redis, job_records.fetch(redis, context.job_id), "another", 60)
    assert again is not None
    following = JobContext(settings, library, redis, again, clock)
    assert following.load_checkpoint() == b"3"
    with pytest.raises(job_steps.LeaseLostError):
        context.save_checkpoint(b"4")
    assert following.load_checkpoint() == b"3"
    following.succeed(JobResult(resource=ResourceName.MODELS, id="mdl_none"))
    following.discard()
    assert files(library) == []
    assert following.load_checkpoint() is None


def test_a_checkpoint_of_a_canceled_job_is_refused(
    redis: Redis, settings: Settings, library: Library, context: JobContext
) -> None:
    context.save_checkpoint(b"1")
    JobQueue(redis, settings).cancel(context.job_id)
    with pytest.raises(job_steps.LeaseLostError):
        context.save_checkpoint(b"2")
    context.discard()
    assert files(library) == []


@pytest.mark.parametrize("kind", [ProblemKind.STORAGE_FULL, ProblemKind.STORE_UNAVAILABLE])
def test_a_job_goes_on_if_its_checkpoint_cannot_be_stored(
    library: Library,
    context: JobContext,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: ProblemKind,
) -> None:
    def refuse(staged: object) -> StoredBlob:
        raise FaceterError(kind, "no room")

    context.save_checkpoint(b"1")
    with monkeypatch.context() as patch:
        patch.setattr(library.blobs, "commit", refuse)
        context.save_checkpoint(b"2")
    assert "goes on without a new checkpoint: no room" in caplog.text
    assert context.load_checkpoint() == b"1"
    context.save_checkpoint(b"3")
    assert context.load_checkpoint() == b"3"
    assert len(files(library)) == 1


def test_a_checkpoint_whose_file_is_lost_is_none(
    library: Library, context: JobContext, caplog: pytest.LogCaptureFixture
) -> None:
    context.save_checkpoint(b"1")
    for file in files(library):
        file.unlink()
    assert context.load_checkpoint() is None
    assert "starts from the beginning" in caplog.text


def test_result_and_by_products_appear_together_and_unused_files_go(
    library: Library, entered: JobContext, tmp_path: Path
) -> None:
    unused = entered.store_blob(b"an unused image")
    result = JobResult.model_validate(quantization(job_spec("tunes", tmp_path / "begun", 3).model_dump(mode="json")))
    assert (library.models.count(), library.datasets.count()) == (0, 0)
    entered.succeed(result)
    entered.discard()
    model, inputs = library.models.get(result.id), library.datasets.get(result.by_products[0].id)
    sheet = inputs.files["contact-sheet.png"].sha256
    assert {path.name for path in files(library)} == {model.sha256, inputs.sha256, sheet}
    assert not library.blobs.exists(unused.sha256)
    library.delete(library.models, model.id)
    library.delete(library.datasets, inputs.id)
    assert files(library) == []


def test_the_result_appears_when_the_job_succeeds(
    redis: Redis, settings: Settings, library: Library, entered: JobContext
) -> None:
    result = quantization(job_spec("succeeds").model_dump(mode="json"))
    assert library.models.count() == 0
    entered.succeed(JobResult.model_validate(result))
    made = library.models.get(result["id"])
    assert library.references(made.sha256) == {made.id}
    job = JobQueue(redis, settings).get(entered.job_id)
    assert (job.status, job.provenance) == (JobStatus.SUCCEEDED, made.provenance)
    library.delete(library.models, made.id)
    assert not library.blobs.exists(made.sha256)


def analysed(**changes: Any) -> Analysis:
    made: dict[str, Any] = {
        "explanation_id": "exp_1",
        "created_at": utc_now(),
        "bytes": 7,
        "settings": AbstractionsRequest(),
        "result": AbstractionsResult(by="cooccurrence", shares={}, units=[]),
        "seconds": 1.5,
    }
    return Analysis(**{**made, **changes})


@pytest.mark.parametrize(
    ("collection", "make"),
    [
        ("evaluations", make_evaluation),
        ("explanations", make_explanation),
        ("analyses", analysed),
    ],
)
def test_records_of_every_resource_appear_when_the_job_succeeds(
    redis: Redis,
    settings: Settings,
    library: Library,
    context: JobContext,
    collection: str,
    make: Callable[..., Evaluation | Explanation | Analysis],
) -> None:
    records = getattr(library, collection)
    content, plot = context.store_blob(b"content"), context.store_blob(b"plot")
    unused = context.store_blob(b"an unused plot")
    made = make(
        id=context.new_id("abc"),
        sha256=content.sha256,
        files={"map.png": StoredFile(sha256=plot.sha256, bytes=plot.bytes, media_type="image/png")},
        provenance=Provenance(seed=3),
    )
    result = context.result(made)
    assert result.model_dump() == {"resource": collection, "id": made.id, "by_products": []}
    assert records.count() == 0
    context.succeed(result)
    context.discard()
    assert records.get(made.id) == made
    assert {path.name for path in files(library)} == {content.sha256, plot.sha256}
    assert not library.blobs.exists(unused.sha256)
    job = JobQueue(redis, settings).get(context.job_id)
    assert (job.result, job.provenance) == (result, made.provenance)
    library.delete(records, made.id)
    assert files(library) == []


def test_records_of_a_canceled_job_never_appear_and_its_files_go(
    redis: Redis, settings: Settings, library: Library, entered: JobContext
) -> None:
    result = JobResult.model_validate(quantization(job_spec("succeeds").model_dump(mode="json")))
    JobQueue(redis, settings).cancel(entered.job_id)
    with pytest.raises(job_steps.LeaseLostError):
        entered.succeed(result)
    entered.discard()
    assert library.models.count() == 0
    assert files(library) == []


def test_every_attempt_makes_the_same_id(context: JobContext) -> None:
    assert context.new_id("mdl") == "mdl_" + context.job_id.removeprefix("job_")


def test_a_task_outside_of_a_job_has_no_context() -> None:
    with pytest.raises(LookupError):
        run_task(QuantizationJob, do, job_spec("succeeds").model_dump(mode="json"))


def test_a_specification_that_is_none_is_refused(entered: JobContext) -> None:
    with pytest.raises(ValueError, match="model_id"):
        quantization({"kind": "quantization"})


@pytest.mark.parametrize("kind", JobKind)
def test_every_kind_of_job_has_its_task(kind: JobKind) -> None:
    assert callable(getattr(tasks, kind))


SETTINGS = Settings(_env_file=None)


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        (FaceterError(ProblemKind.DATASET_MISMATCH, "no"), ProblemKind.DATASET_MISMATCH),
        (MemoryError(), ProblemKind.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ProblemKind.OUT_OF_MEMORY),
        (JobTimeoutException("slow"), ProblemKind.JOB_TIMEOUT),
        (KeyError("secret"), ProblemKind.INTERNAL_ERROR),
    ],
)
def test_every_exception_becomes_a_problem(exception: Exception, kind: ProblemKind) -> None:
    error = failures.error_of(exception, SETTINGS)
    assert error.kind is kind
    assert "secret" not in error.detail


@pytest.mark.parametrize(
    ("status", "memory", "kind"),
    [(9, False, "WORKER_LOST"), (9, True, "OUT_OF_MEMORY"), (11, True, "WORKER_LOST"), (256, False, "WORKER_LOST")],
)
def test_a_death_becomes_a_problem(status: int, memory: bool, kind: str) -> None:
    assert failures.error_of_death(status, memory).kind.name == kind


@given(st.text())
def test_an_internal_error_says_only_its_name(text: str) -> None:
    error = failures.error_of(ValueError(text), SETTINGS)
    assert error.detail == failures.error_of(ValueError("other"), SETTINGS).detail


def test_memory_kills_are_those_of_the_container_or_else_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, machine = tmp_path / "memory.events", tmp_path / "vmstat"
    monkeypatch.setattr(failures, "_CGROUP_EVENTS", container)
    monkeypatch.setattr(failures, "_VMSTAT", machine)
    assert failures.memory_kills() == 0
    machine.write_text("nr_free_pages 9\noom_kill 7\n")
    assert failures.memory_kills() == 7
    container.write_text("max 5\noom 4\noom_kill 3\noom_group_kill 0\n")
    assert failures.memory_kills() == 3
