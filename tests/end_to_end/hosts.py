"""Several hosts on this machine: network namespaces with an address each, on one bridge, whose links can be cut."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest

from tests.workers.processes import ROOT


class Host:
    """A network namespace with one address, reachable from this machine and from all other hosts.

    Args:
        tag: Tells the hosts of this run from those of others.
        number: Last number of its address.
        network: First three numbers of its address.
    """

    def __init__(self, tag: str, number: int, network: str) -> None:
        self.namespace = f"fct-{tag}-{number}"
        self.address = f"{network}.{number}"
        self.link = f"fct{tag}{number}"

    @property
    def enter(self) -> str:
        """Python code by which a process enters it."""
        file = f"/run/netns/{self.namespace}"
        return f"import ctypes, os; assert ctypes.CDLL(None).setns(os.open({file!r}, os.O_RDONLY), 0) == 0"

    def start(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process there."""
        with log.open("ab") as file:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *map(str, command)],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            )

    def cut(self) -> None:
        """Let nothing in or out; no connection is closed."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Undo :meth:`cut`."""
        _ip("link", "set", self.link, "up")

    def cut_from(self, other: "Host") -> None:
        """Let nothing through to another host."""
        _ip("-n", self.namespace, "route", "add", "blackhole", other.address)

    def mend_to(self, other: "Host") -> None:
        """Undo :meth:`cut_from`."""
        _ip("-n", self.namespace, "route", "del", "blackhole", other.address)


class Hosts:
    """A bridge and hosts on it during a ``with`` block; the test is skipped where this machine does not let one.

    Args:
        count: Number of hosts.
    """

    def __init__(self, count: int) -> None:
        tag = secrets.token_hex(2)
        network = f"198.18.{secrets.randbelow(256)}"  # 198.18.0.0/15 is for tests (RFC 2544)
        self._bridge = f"fct{tag}"
        self._address = f"{network}.254/24"
        self.all = [Host(tag, number, network) for number in range(1, count + 1)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if shutil.which("ip") is None:
            pytest.skip("there is no command ip here (package iproute2)")
        made = subprocess.run(["ip", "link", "add", self._bridge, "type", "bridge"], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"no bridge can be made here (it takes root): {made.stderr.decode().strip()}")
        with ExitStack() as stack:
            stack.callback(_ip, "link", "del", self._bridge)
            _ip("addr", "add", self._address, "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for host in self.all:
                self._add(host, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _add(self, host: Host, stack: ExitStack) -> None:
        made = subprocess.run(["ip", "netns", "add", host.namespace], capture_output=True, check=False)
        if made.returncode:
            pytest.skip(f"no network namespace can be made here: {made.stderr.decode().strip()}")
        stack.callback(_ip, "netns", "del", host.namespace)
        _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        _ip("link", "set", host.link, "master", self._bridge, "up")
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", host.namespace, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
