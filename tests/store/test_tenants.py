"""Tenants: what belongs to one is not found by another."""

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.library import Library
from faceter.store.tenants import acting_for, all_tenants
from tests.store.test_library import model
from tests.workers.long_tasks import job_spec


def test_records_of_a_tenant_are_not_found_by_another(library: Library) -> None:
    with acting_for("acme"):
        added = library.add(model(library.store_blob(b"a model")))
        assert library.models.get(added.id) == added
        assert [found.id for found in library.models.page(10).items] == [added.id]
    assert library.models.find(added.id) is None
    assert library.models.count() == 0
    with pytest.raises(FaceterError) as caught:
        library.delete(library.models, added.id)
    assert caught.value.kind is ProblemKind.NOT_FOUND
    with acting_for("acme"):
        assert library.models.get(added.id) == added
    assert all_tenants(library.redis) == ["default", "acme"]


def test_tenants_share_files_and_delete_only_their_own_reference(library: Library) -> None:
    own = library.add(model(library.store_blob(b"a model")))
    with acting_for("acme"):
        other = library.add(model(library.store_blob(b"a model")))
        assert other.sha256 == own.sha256
        library.delete(library.models, other.id)
    assert library.blobs.exists(own.sha256)
    library.delete(library.models, own.id)
    assert not library.blobs.exists(own.sha256)


def test_jobs_of_a_tenant_are_not_found_by_another(queue: JobQueue, redis: Redis) -> None:
    with acting_for("acme"):
        job = queue.enqueue(job_spec("succeeds"))
        assert [found.id for found in queue.page(10, None, lambda _: True).items] == [job.id]
    assert queue.page(10, None, lambda _: True).items == []
    for read in (queue.get, queue.cancel, queue.request_end, lambda id: queue.log(id, 10), queue.error_report):
        with pytest.raises(FaceterError) as caught:
            read(job.id)
        assert caught.value.kind is ProblemKind.NOT_FOUND
    with acting_for("acme"):
        assert queue.get(job.id) == job
    assert queue.statistics().queued == 1
