"""What must be true afterwards: everything acknowledged is there, nothing is stuck, nothing is there twice."""

import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import httpx
from redis import Redis

from faceter import Client
from faceter.client.errors import FaceterApiError, NotFound
from faceter.contracts.base import StoredRecord
from faceter.contracts.jobs import Job, JobStatus
from faceter.contracts.references import ResourceName
from faceter.contracts.settings import Settings
from faceter.resources import RESOURCES, Resource
from faceter.store.blob_references import UNREFERENCED_KEY
from faceter.store.job_records import ACTIVE_KEY
from faceter.store.library import Library, files_of
from tests.chaos.ledger import Ledger
from tests.chaos.service import ATTEMPTS, AttackedService

_COUNT: Final = re.compile(r'faceter_job_duration_seconds_count\{kind="(\w+)",status="(\w+)"\} (\S+)')
_ENDED: Final = ("succeeded", "failed", "canceled")


def judge(service: AttackedService, ledger: Ledger, patience: float) -> Counter[str]:
    """Check the service after the attacks; faults go to the ledger.

    Args:
        service: Left alone since the last attack.
        ledger: What it acknowledged.
        patience: Seconds that all jobs together may take to end.

    Returns:
        How many of what were checked.
    """
    if not service.wait_until_ready(60):
        ledger.fault("the service is not ready a minute after the last attack")
        return Counter()
    counts: Counter[str] = Counter()
    with Client(service.url, timeout=60) as client:
        jobs = _ended_jobs(client, ledger, patience)
        counts["uploads byte-equal"] = _check_uploads(client, ledger)
        counts += _check_jobs(client, ledger, jobs)
        _check_counters(service.url, ledger, jobs)
        _check_names(client, ledger, jobs)
    settings = Settings(_env_file=None, data_dir=service.data_dir)
    with Library(settings) as library:
        _check_queue(library.redis, ledger)
        counts["files after the sweep"] = _check_files(library, settings, ledger)
    return counts


def _ended_jobs(client: Client, ledger: Ledger, patience: float) -> list[Job]:
    """Wait until every job has ended; return all of them."""
    end = time.monotonic() + patience
    while left := [job for job in client.jobs.list() if job.status not in _ENDED]:
        if time.monotonic() > end:
            for job in left:
                ledger.fault(f"{job.id} is {job.status} {patience:g} seconds after the last attack")
            break
        time.sleep(0.5)
    return [client.jobs.get(job.id).record for job in client.jobs.list()]


def _check_uploads(client: Client, ledger: Ledger) -> int:
    whole = 0
    for id, upload in ledger.uploads.items():
        try:
            path = f"/v1/{upload.collection}/{id}/content"
            content = client.receive(path, upload.name).content
        except NotFound:
            if id not in ledger.deleting:
                ledger.fault(f"the upload {id} is gone")
            continue
        except FaceterApiError as error:
            ledger.fault(f"the upload {id} cannot be read: {error}")
            continue
        if id in ledger.deleted:
            ledger.fault(f"{id} is there although its deletion was acknowledged")
        elif hashlib.sha256(content).hexdigest() != upload.sha256:
            ledger.fault(f"the upload {id} has changed")
        else:
            whole += 1
    return whole


def _check_jobs(client: Client, ledger: Ledger, jobs: list[Job]) -> Counter[str]:
    counts: Counter[str] = Counter()
    by_id = {job.id: job for job in jobs}
    for id in ledger.jobs:
        job = by_id.get(id)
        if job is None:
            ledger.fault(f"the job {id} is gone")
            continue
        counts[f"jobs {job.status}"] += 1
        counts["attempts of jobs"] += job.attempts
        if job.status is JobStatus.FAILED:
            ledger.fault(f"{id} failed after {job.attempts} of {ATTEMPTS} attempts: {job.error}")
        if id in ledger.canceled and job.status is not JobStatus.CANCELED:
            ledger.fault(f"{id} is {job.status} although its cancellation was acknowledged")
        if job.status is JobStatus.CANCELED and id not in ledger.canceling:
            ledger.fault(f"{id} is canceled, and nobody asked for it")
        for fault in _faults_of_result(client, job):
            ledger.fault(fault)
    return counts


def _faults_of_result(client: Client, job: Job) -> Iterator[str]:
    """Yield what is wrong with what a job made: its result, read as a whole, and nothing if it did not succeed."""
    if job.result is None or job.result.id is None:
        if job.status is JobStatus.SUCCEEDED:
            yield f"{job.id} succeeded without a result"
        for prefix, collection in (("mdl", "models"), ("exp", "explanations"), ("evl", "evaluations")):
            path = f"/v1/{collection}/{prefix}_{job.id.removeprefix('job_')}"
            if httpx.get(f"{client.url}{path}", timeout=60).status_code != httpx.codes.NOT_FOUND:
                yield f"{job.id} is {job.status}, and there is a result of it at {path}"
        return
    path = f"/v1/{job.result.resource}/{job.result.id}"
    try:
        client.receive(f"{path}/content" if job.result.resource is ResourceName.MODELS else path, "result")
    except NotFound:
        yield f"the result of {job.id} is gone: {path}"
    except FaceterApiError as error:
        yield f"the result of {job.id} cannot be read: {error}"


def _check_names(client: Client, ledger: Ledger, jobs: list[Job]) -> None:
    """Check that nothing was made twice: every name was sent once."""
    made = Counter(_name(job) for job in jobs)
    made += Counter(model.name for model in client.models.list() if model.derived_from_id is None)
    made += Counter(dataset.name for dataset in client.datasets.list() if dataset.derived_from_id is None)
    for name, count in made.items():
        if name in ledger.sent and count > 1:
            ledger.fault(f"{name!r} was sent once, and is there {count} times")


def _name(job: Job) -> str:
    return str(getattr(getattr(job.specification, "request", None), "name", None))


def _check_counters(url: str, ledger: Ledger, jobs: list[Job]) -> None:
    text = httpx.get(f"{url}/metrics", timeout=60).text
    counted = {(kind, status): int(float(count)) for kind, status, count in _COUNT.findall(text)}
    listed = Counter((job.kind.value, job.status.value) for job in jobs if job.status.ended)
    if counted != dict(listed):
        ledger.fault(f"/metrics counts {counted}, and the list of jobs has {dict(listed)}")
    for number in re.findall(r"^(?:faceter_jobs_running|faceter_queue_depth\S*) (\S+)$", text, re.MULTILINE):
        if float(number):
            ledger.fault("/metrics counts waiting or running jobs, and there are none")


def _check_queue(redis: Redis, ledger: Ledger) -> None:
    sizes = {
        "active jobs": redis.scard(ACTIVE_KEY),
        "jobs between the queue and a worker": redis.llen("rq:queue:faceter:intermediate"),
        "leases": redis.zcard("rq:wip:faceter"),
        "postponed jobs": redis.hlen("faceter:jobs:postponed"),
    }
    for name, size in sizes.items():
        if size:
            ledger.fault(f"there are still {size} {name}")


def _check_files(library: Library, settings: Settings, ledger: Ledger) -> int:
    """Check that after a day, when the holds of dead processes have expired, all files left have a record."""
    library.delete_released()
    for key in library.redis.scan_iter("faceter:blob:*:holds"):
        library.redis.delete(key)
    for blob in cast(list[bytes], library.redis.zrange(UNREFERENCED_KEY, 0, -1)):
        library.redis.zadd(UNREFERENCED_KEY, {blob: 1.0})
    blobs = Path(settings.resolved_blob_url)
    for path in blobs.glob("incoming/*"):
        os.utime(path, (0, 0))
    library.sweep()
    needed = {sha256 for resource in RESOURCES for item in _records(library, resource) for sha256 in files_of(item)}
    found = {path.name for pattern in ("??/*", "incoming/*") for path in blobs.glob(pattern)}
    if missing := needed - found:
        ledger.fault(f"{len(missing)} files of records are gone: {sorted(missing)[:3]}")
    if left := found - needed:
        ledger.fault(f"{len(left)} files are left that no record has: {sorted(left)[:3]}")
    return len(found)


def _records(library: Library, resource: Resource[Any]) -> Iterator[StoredRecord]:
    cursor = None
    while True:
        page = library[resource].page(100, cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return
