"""Serving the API over HTTP, in one process or several behind one port."""

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.connections import Connection, ConnectionLimits
from app.services.monitoring.prometheus import SHARED_FOLDER
from faceter.contracts.settings import Settings
from faceter.processes.parent_death import die_with_parent
from faceter.processes.readiness import announce_ready

_SHUTDOWN_SECONDS: Final = 10
_BACKLOG: Final = 2048
_START_SECONDS: Final = 60

_log = structlog.get_logger("app.server")


class _Process(Process):
    """A process whose health is asked for without waiting for the answer.

    Waiting for one process would hide the death of another, and delay signals.
    """

    _asked_at: float | None = None
    serves = False
    """Whether it has answered that its server has started."""

    def is_alive(self, timeout: float = _START_SECONDS) -> bool:
        """Return False if the process has ended, or has left a question unanswered for longer than ``timeout``."""
        if not self.process.is_alive():
            return False
        try:
            while self.parent_conn.poll():
                self.serves = self.parent_conn.recv() or self.serves
                self._asked_at = None
            if self._asked_at is None:
                self.parent_conn.send(b"ping")
                self._asked_at = time.monotonic()
        except (OSError, EOFError, pickle.UnpicklingError):
            return False
        return time.monotonic() - self._asked_at < timeout


class _Processes(Multiprocess):
    """Processes with a listening socket each, among which the kernel spreads the connections.

    A socket that several processes listen on gives most connections to one of them. This process keeps the sockets
    open, so that connections wait in them while a process is replaced.
    """

    def __init__(self, config: uvicorn.Config, listeners: Sequence[socket.socket]) -> None:
        super().__init__(config, [])
        self._listeners = listeners

    def init_processes(self) -> None:
        """Start a process for each socket."""
        self.processes += [self._started(index) for index in range(len(self._listeners))]

    def restart_all(self) -> None:
        """Replace each process by one that is ready to serve, before it is told to stop."""
        for index, old in enumerate(self.processes):
            new = self._started(index)
            if not self._becomes_ready(new):
                new.kill()
                new.join()
                if not self._told_to_stop():
                    _log.error("a new process did not start; the others go on as they are", pid=new.pid)
                return
            self.processes[index] = new
            old.terminate()
            old.join()

    def keep_subprocess_alive(self) -> None:
        """Start processes again that have ended, or that no longer respond."""
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.is_alive(_START_SECONDS):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                _log.error("a process could not start; stopping", pid=process.pid)
                self.should_exit.set()
                return
            _log.warning("a process ended; starting another", pid=process.pid)
            self.processes[index] = self._started(index)
        if all(isinstance(process, _Process) and process.serves for process in self.processes):
            announce_ready()

    def handle_ttin(self) -> None:
        """Ignore the signal: the number of processes is that of the settings."""

    def handle_ttou(self) -> None:
        """Ignore the signal: the number of processes is that of the settings."""

    def _becomes_ready(self, process: _Process) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and not self._told_to_stop():
            if process.wait_until_ready(1.0):
                return True
            if not process.process.is_alive():
                return False
        return False

    def _told_to_stop(self) -> bool:
        return self.should_exit.is_set() or not {signal.SIGINT, signal.SIGTERM}.isdisjoint(self.signal_queue)

    def _started(self, index: int) -> _Process:
        process = _Process(self.config, [self._listeners[index]])
        process.start()
        return process


class _Server(uvicorn.Server):
    """A server that reports when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            announce_ready()


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve an application in this process until SIGINT or SIGTERM."""
    config = uvicorn.Config(app, host=settings.host, port=settings.port, **_options(settings))
    server = _Server(config)
    with suppress(KeyboardInterrupt):  # SIGINT, once the server has stopped
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def serve_in_processes(factory: str, settings: Settings) -> None:
    """Serve an application in several processes behind one port until SIGINT or SIGTERM.

    A process that ends is started again. SIGHUP replaces them one after the other, without a request that fails.

    Args:
        factory: Import string of the function that returns the application, which reads its settings from the
            environment.
        settings: Address and number of processes.
    """
    with tempfile.TemporaryDirectory(prefix="faceter-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        config = uvicorn.Config(
            factory,
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.api_processes,
            **_options(settings),
        )
        with ExitStack() as stack:
            try:
                listeners = _listeners(settings, stack)
            except OSError as error:
                _log.error("cannot listen", host=settings.host, port=settings.port, reason=error.strerror)
                sys.exit(1)
            _log.info("serving", host=settings.host, port=listeners[0].getsockname()[1], processes=len(listeners))
            _Processes(config, listeners).run()


def _listeners(settings: Settings, stack: ExitStack) -> list[socket.socket]:
    """Return a listening socket for each process, all on the settings' address.

    Raises:
        OSError: If another program listens there, also if it would share the address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.create_server((settings.host, settings.port), family=family) as alone:
        port = alone.getsockname()[1]
    return [stack.enter_context(listening_socket(family, settings.host, port)) for _ in range(settings.api_processes)]


def listening_socket(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    """Return a socket that listens beside others on an address.

    Its protocol is named: the event loop sends answers without delay (TCP_NODELAY) only on sockets that say TCP.
    """
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def end_with_parent() -> None:
    """End this process when the one that started it ends, if it is one of several."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(signal.SIGTERM, parent.pid)


def _options(settings: Settings) -> dict[str, Any]:
    limits = ConnectionLimits(settings.header_seconds, settings.max_header_bytes, settings.body_idle_seconds)
    return {
        "loop": "uvloop",
        "http": partial(Connection, limits=limits),
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "backlog": _BACKLOG,
        "limit_concurrency": settings.max_connections,
        "timeout_graceful_shutdown": _SHUTDOWN_SECONDS,
    }
