"""The supervisor of ``faceter up``: runs the embedded Valkey, the workers and the API as child processes."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

from faceter.contracts.settings import Settings
from faceter.processes.addresses import free_port, local_url, mask_password, responds
from faceter.processes.data_dir_lock import locked_data_dir, make_data_dir
from faceter.processes.service_process import ServiceProcess, exit_reason, kill_session
from faceter.processes.supervised_store import SupervisedStore

_POLL_SECONDS = 0.1
_MAX_STARTUP_FAILURES = 3
_GRACE_SECONDS = 15.0


@dataclass
class Supervisor:
    """Runs the whole service on this machine until a stop signal.

    Args:
        settings: For every process; host, ports and data directory are passed on by environment variables.
        workers: Number of worker processes, each running one job at a time.
    """

    settings: Settings
    workers: int = 1
    _stop_signals: int = field(default=0, init=False)
    _processes: list[ServiceProcess] = field(default_factory=list, init=False)
    _store: SupervisedStore | None = field(default=None, init=False)

    def run(self) -> int:
        """Start all processes, keep them running, and stop them on SIGINT, SIGTERM or SIGHUP.

        Returns:
            0 after a stop signal, 1 if the service could not be started.

        Raises:
            SupervisorError: If the data directory cannot be created or is locked, or the port is in use.
            EmbeddedValkeyError: If the embedded server does not start.
        """
        make_data_dir(self.settings.data_dir)
        with locked_data_dir(self.settings.data_dir) as record_url, self._counting_stop_signals():
            port = free_port(self.settings.host, self.settings.port)
            url = local_url(self.settings.host, port)
            record_url(url)
            try:
                return self._run(port, url)
            finally:
                self._stop()

    def _run(self, port: int, url: str) -> int:
        started = time.monotonic()
        self._start_store()
        self._start_processes(port, url)
        # Without workers /readyz never succeeds.
        probe = f"{url}/readyz" if self.workers else f"{url}/healthz"
        ready = False
        while not self._stop_signals:
            if not ready and responds(probe):
                ready = True
                _print(f"Ready after {time.monotonic() - started:.1f} s.")
                _print(f"Console {url}   API {url}/docs   Ctrl-C stops everything.")
                if self.settings.keys_required:
                    _print("Requests need an API key. Create one with: faceter keys create NAME")
            for process in self._processes:
                self._restart_if_ended(process)
                if not ready and process.failures >= _MAX_STARTUP_FAILURES:
                    _print(
                        f"Giving up: the {process.name} ended {process.failures} times before the service was ready."
                    )
                    return 1
            if self._store is not None and (line := self._store.restart_if_ended()) is not None:
                _print(line)
            time.sleep(_POLL_SECONDS)
        return 0

    def _start_store(self) -> None:
        if self.settings.redis_url is not None:
            _print(
                f"  store    {mask_password(self.settings.redis_url)}   (from FACETER_REDIS_URL; no embedded server)"
            )
            return
        self._store = SupervisedStore(self.settings.valkey_dir)
        self._store.start()
        _print(f"  store    embedded Valkey, process {self._store.valkey.pid}, data in {self.settings.valkey_dir}")

    def _start_processes(self, port: int, url: str) -> None:
        environment = os.environ | {
            "FACETER_DATA_DIR": str(self.settings.data_dir.absolute()),
            "FACETER_HOST": self.settings.host,
            "FACETER_PORT": str(port),
            "FACETER_API_PROCESSES": str(self.settings.api_processes),
        }
        if self.settings.grpc_port is not None:
            environment["FACETER_GRPC_PORT"] = str(self.settings.grpc_port)
        # -P: a folder named app in the current directory must not shadow the package.
        python = [sys.executable, "-P", "-m", "faceter"]
        names = ["worker"] if self.workers == 1 else [f"worker {number}" for number in range(1, self.workers + 1)]
        self._processes = [ServiceProcess(name, [*python, "worker"], environment) for name in names]
        self._processes.append(ServiceProcess("API", [*python, "api"], environment))
        for item in self._processes:
            item.start()
            assert item.process is not None
            _print(f"  {item.name:<8} process {item.process.pid}" + (f", {url}" if item.name == "API" else ""))

    def _restart_if_ended(self, process: ServiceProcess) -> None:
        status = process.poll()
        if status is not None:
            delay = process.schedule_restart()
            _print(f"The {process.name} ended ({exit_reason(status)}); starting it again in {delay:g} s.")
        elif process.process is None and time.monotonic() >= process.restart_at:
            process.start()

    def _stop(self) -> None:
        if any(item.process for item in self._processes):
            _print("Stopping. A running job continues from its checkpoint at the next start.")
        for item in self._processes:
            item.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._any_running() and time.monotonic() < deadline and self._stop_signals < 2:
            time.sleep(_POLL_SECONDS / 2)
        for item in self._processes:
            if item.process is not None:
                item.send_signal(signal.SIGKILL)
                item.process.wait()
                kill_session(item.process.pid)
        if self._store is not None:
            self._store.stop()
        if self._processes:
            _print("Stopped.")

    def _any_running(self) -> bool:
        return any(item.running for item in self._processes)

    @contextlib.contextmanager
    def _counting_stop_signals(self) -> Iterator[None]:
        def count(number: int, frame: FrameType | None) -> None:
            self._stop_signals += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = [(number, signal.signal(number, count)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in previous:
                signal.signal(number, handler)


def _print(line: str) -> None:
    # A closed standard output must not keep the supervisor from stopping its children.
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)
