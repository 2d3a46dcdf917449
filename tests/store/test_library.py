import io
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from redis import Redis

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.settings import Settings
from faceter.store.blob_references import queue_release
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library, files_of
from tests.app.evaluation_records import make_evaluation


def file(blob: StoredBlob) -> StoredFile:
    return StoredFile(sha256=blob.sha256, bytes=blob.bytes, media_type="image/png")


def model(blob: StoredBlob, id: str | None = None, /, **files: StoredBlob) -> Model:
    return Model(
        id=id or new_id("mdl"),
        name="resnet20",
        created_at=utc_now(),
        sha256=blob.sha256,
        bytes=blob.bytes,
        metadata=ModelMetadata(),
        inputs=[],
        outputs=[],
        opset=20,
        parameters=0,
        files={name: file(further) for name, further in files.items()},
    )


def dataset(blob: StoredBlob, **files: StoredBlob) -> Dataset:
    return Dataset(
        id=new_id("dts"),
        name="digits",
        kind=DatasetKind.IMAGES,
        created_at=utc_now(),
        sha256=blob.sha256,
        bytes=blob.bytes,
        samples=1,
        files={name: file(further) for name, further in files.items()},
    )


def evaluation(blob: StoredBlob, **files: StoredBlob) -> Evaluation:
    return make_evaluation(
        sha256=blob.sha256, bytes=blob.bytes, files={name: file(further) for name, further in files.items()}
    )


def files_in(settings: Settings) -> list[Path]:
    return [path for path in Path(settings.resolved_blob_url).rglob("*") if path.is_file()]


def test_equal_files_share_a_blob_that_is_deleted_with_its_last_record(library: Library) -> None:
    blob = library.store_blob(b"weights")
    first = library.add(model(blob))
    second = library.add(model(library.store_blob(io.BytesIO(b"weights"))))
    third = library.add(dataset(library.store_blob(b"weights")))
    assert library.references(blob.sha256) == {first.id, second.id, third.id}
    library.delete(library.models, first.id)
    library.delete(library.datasets, third.id)
    assert library.blobs.read(blob.sha256) == b"weights"
    library.delete(library.models, second.id)
    assert not library.blobs.exists(blob.sha256)
    assert library.references(blob.sha256) == set()


def test_nothing_of_a_deleted_record_is_left_in_the_store(library: Library, redis: Redis) -> None:
    record = library.add(model(library.store_blob(b"weights")))
    library.delete(library.models, record.id)
    assert redis.keys("*") == []


def test_a_discarded_file_is_deleted_unless_a_record_references_it(library: Library) -> None:
    blob = library.store_blob(b"weights")
    library.discard_blob(blob.sha256)
    assert not library.blobs.exists(blob.sha256)
    kept = library.add(model(library.store_blob(b"weights")))
    library.store_blob(b"weights")
    library.discard_blob(blob.sha256)
    assert library.blobs.exists(kept.sha256)


def test_a_held_file_survives_the_deletion_of_an_equal_one(library: Library) -> None:
    record = library.add(model(library.store_blob(b"weights")))
    on_its_way = library.store_blob(b"weights")
    library.delete(library.models, record.id)
    assert library.blobs.read(library.add(model(on_its_way)).sha256) == b"weights"


def test_a_record_added_again_by_its_id_is_the_first_one(library: Library, redis: Redis) -> None:
    first = library.add(model(library.store_blob(b"content"), "mdl_same"))
    again = model(library.store_blob(b"content"), "mdl_same")
    assert again != first
    assert library.add(again) == first
    assert not redis.exists(f"faceter:blob:{first.sha256}:holds")
    assert library.models.count() == 1
    library.delete(library.models, first.id)
    assert not library.blobs.exists(first.sha256)


def test_a_record_with_a_missing_file_is_refused(library: Library) -> None:
    with pytest.raises(FaceterError) as missing:
        library.add(model(StoredBlob("0" * 64, 1)))
    assert missing.value.kind is ProblemKind.BLOB_MISSING
    assert library.models.count() == 0


def test_further_files_are_stored_and_deleted_with_their_record(
    library: Library, redis: Redis, settings: Settings
) -> None:
    curves, sheet = library.store_blob(b"curves"), library.store_blob(b"sheet")
    plot = library.store_blob(b"plot")
    tuned = library.add(model(library.store_blob(b"weights"), curves=curves))
    inputs = library.add(dataset(library.store_blob(b"inputs"), sheet=sheet))
    grades = library.add(evaluation(library.store_blob(b"nearest"), plot=plot))
    assert library.evaluations.get(grades.id) == grades
    assert library.references(plot.sha256) == {grades.id}
    assert library.references(curves.sha256) == {tuned.id}
    assert library.references(sheet.sha256) == {inputs.id}
    assert library.models.get(tuned.id).files == tuned.files
    library.delete(library.models, tuned.id)
    assert [library.blobs.exists(blob.sha256) for blob in (curves, sheet)] == [False, True]
    library.delete(library.datasets, inputs.id)
    assert {path.name for path in files_in(settings)} == {grades.sha256, plot.sha256}
    library.delete(library.evaluations, grades.id)
    assert files_in(settings) == []
    assert redis.keys("*") == []


def test_records_that_share_a_further_file_share_a_blob(library: Library) -> None:
    shared = library.store_blob(b"shared")
    first = library.add(model(library.store_blob(b"one"), image=shared))
    second = library.add(dataset(library.store_blob(b"two"), sheet=library.store_blob(b"shared")))
    third = library.add(model(library.store_blob(b"shared")))
    for id in (first.id, third.id):
        library.delete(library.models, id)
        assert library.blobs.read(shared.sha256) == b"shared"
    library.delete(library.datasets, second.id)
    assert not library.blobs.exists(shared.sha256)


def test_a_record_may_have_one_content_several_times(library: Library, redis: Redis) -> None:
    blobs = [library.store_blob(b"same") for _ in range(3)]
    record = library.add(model(blobs[0], a=blobs[1], b=blobs[2]))
    library.delete(library.models, record.id)
    assert not library.blobs.exists(blobs[0].sha256)
    assert redis.keys("*") == []


def test_a_record_with_a_missing_further_file_is_refused(library: Library) -> None:
    weights, curves = library.store_blob(b"weights"), library.store_blob(b"curves")
    with pytest.raises(FaceterError) as missing:
        library.add(model(weights, curves=curves, lost=StoredBlob("0" * 64, 1)))
    assert missing.value.kind is ProblemKind.BLOB_MISSING
    assert "0" * 64 in missing.value.detail
    assert library.models.count() == 0
    assert library.references(weights.sha256) == set()
    assert library.add(model(weights, curves=curves)).files


def test_a_job_publishes_models_and_datasets_in_one_transaction(library: Library) -> None:
    weights, curves = library.store_blob(b"weights"), library.store_blob(b"curves")
    inputs, sheet = library.store_blob(b"inputs"), library.store_blob(b"sheet")
    nearest = library.store_blob(b"nearest")
    tuned_model, tuned_on, grades = model(weights, curves=curves), dataset(inputs, sheet=sheet), evaluation(nearest)
    with library.redis.pipeline() as pipeline:
        library.queue_add(pipeline, tuned_model)
        library.queue_add(pipeline, tuned_on)
        library.queue_add(pipeline, grades)
        assert (library.models.count(), library.datasets.count(), library.evaluations.count()) == (0, 0, 0)
        pipeline.execute()
    assert library.models.get(tuned_model.id) == tuned_model
    assert library.datasets.get(tuned_on.id) == tuned_on
    assert library.evaluations.get(grades.id) == grades
    for blob in (weights, curves, inputs, sheet, nearest):
        library.store_blob(library.blobs.read(blob.sha256))
        library.discard_blob(blob.sha256)
        assert library.blobs.exists(blob.sha256)


@pytest.mark.parametrize(
    ("collection", "noun"),
    [
        ("models", "model"),
        ("datasets", "dataset"),
        ("evaluations", "evaluation"),
        ("explanations", "explanation"),
        ("analyses", "analysis"),
    ],
)
def test_a_missing_record_cannot_be_deleted(library: Library, collection: str, noun: str) -> None:
    with pytest.raises(FaceterError, match=f"There is no {noun} 'abc_none'") as missing:
        library.delete(getattr(library, collection), "abc_none")
    assert missing.value.kind is ProblemKind.NOT_FOUND


def test_a_file_that_cannot_be_stored_is_not_held(
    library: Library, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(staged: object) -> StoredBlob:
        raise FaceterError(ProblemKind.STORAGE_FULL, "no room")

    monkeypatch.setattr(library.blobs, "commit", no_room)
    with pytest.raises(FaceterError):
        library.store_blob(b"weights")
    assert redis.keys("*") == []


def test_unreferenced_files_are_swept_after_a_day(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = library.add(model(library.store_blob(b"kept")))
    forgotten = library.store_blob(b"forgotten")
    assert library.sweep() == 0
    later = time.time() + timedelta(days=2).total_seconds()
    monkeypatch.setattr(time, "time", lambda: later)
    library.redis.delete(f"faceter:blob:{forgotten.sha256}:holds")
    assert library.sweep() == 1
    assert not library.blobs.exists(forgotten.sha256)
    assert library.blobs.exists(kept.sha256)
    assert library.sweep() == 0


def test_a_lock_of_a_dead_process_does_not_block_the_sweep(library: Library, redis: Redis) -> None:
    stuck, other = library.store_blob(b"stuck"), library.store_blob(b"other")
    for blob in (stuck, other):
        redis.delete(f"faceter:blob:{blob.sha256}:holds")
        with redis.pipeline() as pipeline:
            queue_release(pipeline, blob.sha256, "job_of_old")
            pipeline.execute()
    lock = library._lock(stuck.sha256)
    assert lock.acquire()
    assert (library.delete_released(), library.sweep()) == (1, 0)
    assert library.blobs.exists(stuck.sha256)
    lock.release()
    assert library.delete_released() == 1
    assert not library.blobs.exists(stuck.sha256)


def test_threads_that_add_and_delete_one_content_never_lose_a_file_in_use(settings: Settings) -> None:
    failures: list[Exception] = []

    def come_and_go() -> None:
        with Library(settings) as library:
            for n in range(12):
                try:
                    blob = library.store_blob(b"shared weights")
                    record = library.add(model(blob))
                    assert library.blobs.read(record.sha256) == b"shared weights"
                    if n % 3:
                        library.delete(library.models, record.id)
                    else:
                        library.store_blob(b"shared weights")
                        library.discard_blob(blob.sha256)
                        library.delete(library.models, record.id)
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert files_in(settings) == []


def test_threads_that_share_files_neither_lose_one_nor_deadlock(settings: Settings) -> None:
    failures: list[Exception] = []

    def come_and_go(contents: list[bytes]) -> None:
        with Library(settings) as library:
            for _ in range(10):
                try:
                    first, *rest = [library.store_blob(content) for content in contents]
                    record = library.add(model(first, None, **{f"file-{n}": blob for n, blob in enumerate(rest)}))
                    for blob, content in zip([first, *rest], contents, strict=True):
                        assert library.blobs.read(blob.sha256) == content
                    library.delete(library.models, record.id)
                except Exception as error:
                    failures.append(error)

    orders = [[b"a", b"b", b"c"], [b"c", b"b", b"a"], [b"b", b"a"], [b"c", b"a", b"a"]]
    threads = [threading.Thread(target=come_and_go, args=(contents,)) for contents in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert files_in(settings) == []


def test_one_record_deleted_by_many_is_deleted_once(library: Library, settings: Settings) -> None:
    record = library.add(model(library.store_blob(b"weights")))
    outcomes: list[str] = []

    def delete() -> None:
        with Library(settings) as mine:
            try:
                mine.delete(mine.models, record.id)
            except FaceterError as error:
                outcomes.append(error.kind.name)
            else:
                outcomes.append("deleted")

    threads = [threading.Thread(target=delete) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["NOT_FOUND"] * 5 + ["deleted"]


def test_any_sequence_of_operations_keeps_exactly_the_referenced_files(library: Library, redis: Redis) -> None:
    class History(RuleBasedStateMachine):
        held: Bundle[StoredBlob] = Bundle("held")
        models: Bundle[Model] = Bundle("models")

        def __init__(self) -> None:
            super().__init__()
            redis.flushdb()
            self.needed: dict[str, int] = {}
            for path in Path(library.blobs._root).rglob("*"):
                if path.is_file():
                    path.unlink()

        @rule(target=held, content=st.sampled_from([b"a", b"b", b"c"]))
        def store(self, content: bytes) -> StoredBlob:
            blob = library.store_blob(content)
            self.needed[blob.sha256] = self.needed.get(blob.sha256, 0) + 1
            return blob

        @rule(blob=consumes(held))
        def discard(self, blob: StoredBlob) -> None:
            library.discard_blob(blob.sha256)
            self.needed[blob.sha256] -= 1

        @rule(target=models, blob=consumes(held))
        def add(self, blob: StoredBlob) -> Model:
            return library.add(model(blob))

        @rule(target=models, blob=consumes(held), further=consumes(held))
        def add_with_a_file(self, blob: StoredBlob, further: StoredBlob) -> Model:
            return library.add(model(blob, further=further))

        @rule(record=consumes(models))
        def delete(self, record: Model) -> None:
            library.delete(library.models, record.id)
            for sha256 in files_of(record):
                self.needed[sha256] -= 1

        @invariant()
        def files_are_those_needed(self) -> None:
            for sha256, count in self.needed.items():
                assert library.blobs.exists(sha256) == (count > 0)

    run_state_machine_as_test(
        History, settings=hypothesis_settings(max_examples=15, stateful_step_count=15, deadline=None)
    )
