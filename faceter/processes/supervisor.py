"""What ``faceter up`` does: the embedded Valkey, workers and the API as child processes that live and die together."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from faceter.contracts.settings import Settings
from faceter.processes import tether
from faceter.processes.embedded_store import EmbeddedValkey

_TICK_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 30.0
_STABLE_SECONDS = 60.0
_FIRST_ATTEMPTS = 3
_GRACE_SECONDS = 15.0


class SupervisorError(RuntimeError):
    """The service cannot be started here; the message says why and what to do."""


@dataclass
class _Part:
    """A process that is started again when it ends, ever more slowly if it does so often."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0

    def start(self) -> None:
        self.process = subprocess.Popen(
            tether.command(self.arguments, signal.SIGKILL),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.started = time.monotonic()

    def ended(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def plan_restart(self) -> float:
        """Forget the process that ended and return the seconds until the next one."""
        assert self.process is not None
        _kill_session(self.process.pid)
        self.process = None
        self.failures = 1 if time.monotonic() - self.started > _STABLE_SECONDS else self.failures + 1
        delay = min(0.5 * 2.0 ** (self.failures - 1), _LONGEST_DELAY_SECONDS)
        self.due = time.monotonic() + delay
        return delay

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass
class Supervisor:
    """Runs the whole service on this machine until it is told to stop.

    Args:
        settings: The settings of every process; host, port and data directory are handed on as they are here.
        workers: Number of worker processes, each doing one job at a time.
    """

    settings: Settings
    workers: int = 1
    _stops: int = field(default=0, init=False)
    _parts: list[_Part] = field(default_factory=list, init=False)
    _valkey: EmbeddedValkey | None = field(default=None, init=False)

    def run(self) -> int:
        """Start everything, keep it running, and stop it all on SIGINT, SIGTERM or SIGHUP.

        Returns:
            0 after a stop that was asked for, 1 if the service could not be brought up.

        Raises:
            SupervisorError: If the data directory cannot be made, another ``faceter up`` has it, or the port is taken.
            EmbeddedValkeyError: If the embedded server does not start.
        """
        _make(self.settings.data_dir)
        with _lock(self.settings.data_dir) as claim, self._listening_for_signals():
            port = _free_port(self.settings.host, self.settings.port)
            url = local_url(self.settings.host, port)
            claim(url)
            try:
                return self._run(port, url)
            finally:
                self._stop()

    def _run(self, port: int, url: str) -> int:
        began = time.monotonic()
        self._start_store()
        self._start_parts(port, url)
        # Without workers the service is not ready, and is not meant to be.
        probe = f"{url}/readyz" if self.workers else f"{url}/healthz"
        ready = False
        while not self._stops:
            if not ready and answers(probe):
                ready = True
                _say(f"Ready after {time.monotonic() - began:.1f} s: {url}/docs   Ctrl-C stops everything.")
            for part in self._parts:
                if not self._look_after(part) and not ready:
                    _say(f"Giving up: the {part.name} ended {part.failures} times before the service was ready.")
                    return 1
            self._look_after_store()
            time.sleep(_TICK_SECONDS)
        return 0

    def _start_store(self) -> None:
        if self.settings.redis_url is not None:
            _say(f"  store    {masked(self.settings.redis_url)}   (from FACETER_REDIS_URL; no embedded server)")
            return
        self._valkey = EmbeddedValkey(self.settings.valkey_dir).start()
        _say(f"  store    embedded Valkey, process {self._valkey.pid}, data in {self.settings.valkey_dir}")

    def _start_parts(self, port: int, url: str) -> None:
        environment = os.environ | {
            "FACETER_DATA_DIR": str(self.settings.data_dir.absolute()),
            "FACETER_HOST": self.settings.host,
            "FACETER_PORT": str(port),
        }
        # -P: a folder named app in the current directory must not be taken for ours.
        python = [sys.executable, "-P", "-m", "faceter"]
        names = ["worker"] if self.workers == 1 else [f"worker {number}" for number in range(1, self.workers + 1)]
        self._parts = [_Part(name, [*python, "worker"], environment) for name in names]
        self._parts.append(_Part("API", [*python, "api"], environment))
        for part in self._parts:
            part.start()
            assert part.process is not None
            _say(f"  {part.name:<8} process {part.process.pid}" + (f", {url}" if part.name == "API" else ""))

    def _look_after(self, part: _Part) -> bool:
        """Start the part again if it has ended; False if it has done so too often to go on starting up."""
        status = part.ended()
        if status is not None:
            delay = part.plan_restart()
            _say(f"The {part.name} ended ({_words(status)}); starting it again in {delay:g} s.")
        elif part.process is None and time.monotonic() >= part.due:
            part.start()
        return part.failures < _FIRST_ATTEMPTS

    def _look_after_store(self) -> None:
        if self._valkey is None:
            return
        status = self._valkey.poll()
        if status is not None:
            _say(f"The embedded Valkey ended ({_words(status)}); starting it again from its append-only file.")
            self._valkey.stop()
            self._valkey.start()

    def _stop(self) -> None:
        if any(part.process for part in self._parts):
            _say("Stopping. A job in progress is taken up again at the next start.")
        for part in self._parts:
            part.signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._running() and time.monotonic() < deadline and self._stops < 2:
            time.sleep(_TICK_SECONDS / 2)
        for part in self._parts:
            if part.process is not None:
                part.signal(signal.SIGKILL)
                part.process.wait()
                _kill_session(part.process.pid)
        if self._valkey is not None:
            self._valkey.stop()
        if self._parts:
            _say("Stopped.")

    def _running(self) -> bool:
        return any(part.process is not None and part.process.poll() is None for part in self._parts)

    @contextlib.contextmanager
    def _listening_for_signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._stops += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [(number, signal.signal(number, note)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def masked(url: str) -> str:
    """Return ``url`` with its password, in front of the host or in the query, as three asterisks."""
    parts = urlsplit(url)
    netloc, query = parts.netloc, re.sub(r"(^|&)(password|secret|token|key)=[^&]*", r"\1\2=***", parts.query)
    if parts.password is not None:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    return (
        url if (netloc, query) == (parts.netloc, parts.query) else parts._replace(netloc=netloc, query=query).geturl()
    )


def _make(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SupervisorError(
            f"The data directory {data_dir.absolute()} cannot be made: {error.strerror}. "
            "Choose another with --data-dir or FACETER_DATA_DIR."
        ) from error


@contextlib.contextmanager
def _lock(data_dir: Path) -> Iterator["_Claim"]:
    """Hold the data directory, so that a second ``up`` there is told who has it.

    Raises:
        SupervisorError: If it is held already.
    """
    path = data_dir / "faceter.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SupervisorError(_already_up(data_dir, file.read())) from None
        claim = _Claim(path)
        claim("")
        yield claim


@dataclass(frozen=True)
class _Claim:
    path: Path

    def __call__(self, url: str) -> None:
        """Write down who we are, for whoever comes second."""
        self.path.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="utf-8")


def _already_up(data_dir: Path, claim: str) -> str:
    try:
        holder = json.loads(claim)
        who = f"process {holder['pid']}" + (f", at {holder['url']}" if holder["url"] else "")
    except (ValueError, KeyError, TypeError):
        who = "a process that has not yet said which"
    return (
        f"Faceter is already up on {data_dir.absolute()} ({who}). "
        "Use that one, stop it, or choose another folder with --data-dir or FACETER_DATA_DIR."
    )


def _free_port(host: str, port: int) -> int:
    """Return ``port``, or a free one if it is 0, having made sure that it can be listened on.

    Raises:
        SupervisorError: If it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise SupervisorError(
            f"The API cannot listen on port {port} of {host}: {error.strerror or error}. "
            "Choose another with --port or FACETER_PORT; --port 0 takes a free one."
        ) from error


def local_url(host: str, port: int) -> str:
    """Return the address at which this machine reaches an API that listens on ``host`` and ``port``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(url: str) -> bool:
    """Return whether ``url`` answers 200 within two seconds."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=2.0)
    try:
        connection.request("GET", place.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _kill_session(leader: int) -> None:
    """Kill whatever is left of the session that ``leader`` began, such as a worker's child."""
    for member in _session_members(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def _session_members(leader: int) -> list[int]:
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if os.getsid(int(entry.name)) == leader:
                members.append(int(entry.name))
    return members


def _words(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _say(line: str) -> None:
    # Nobody may be reading any more, and that is no reason to leave anything running.
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)
