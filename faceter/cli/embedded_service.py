"""A client of a running service or, where none is named, of one that runs for the length of a command."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceter.client.configuration import URL_VARIABLE
from faceter.client.synchronous.client import Client
from faceter.processes.parent_death import wrapped_command

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_READY = re.compile(r"Console (http://\S+)")


class EmbeddedServiceError(RuntimeError):
    """The service for the length of the command did not start."""


@contextmanager
def client_for(url: str | None, key: str | None, data_dir: Path) -> Iterator[Client]:
    """Yield a client of the service at ``url`` or ``FACETER_URL``, else of a service of its own.

    Args:
        url: Address of a running service.
        key: Its API key.
        data_dir: Data of the service of its own; they stay, for `faceter up`.

    Raises:
        EmbeddedServiceError: If it does not start.
    """
    if url or os.environ.get(URL_VARIABLE):
        with Client(url, key) as client:
            yield client
        return
    with _service(data_dir) as own, Client(own, key) as client:
        yield client


@contextmanager
def _service(data_dir: Path) -> Iterator[str]:
    command = [sys.executable, "-P", "-m", "faceter", "up", "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        wrapped_command(command, signal.SIGTERM),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "FACETER_HOST": "127.0.0.1", "FACETER_AUTHENTICATION": "off"},
        # Ctrl-C is for the command, which then stops the service.
        start_new_session=True,
    )
    output: list[str] = []
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(process, output, ready), daemon=True)
    reader.start()
    try:
        ready.wait(_START_SECONDS)
        found = _READY.search("".join(output))
        if found is None:
            raise EmbeddedServiceError(_reason("".join(output), data_dir))
        yield found[1]
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(_STOP_SECONDS)


def _read(process: "subprocess.Popen[str]", output: list[str], ready: threading.Event) -> None:
    """Collect the output until the service is ready or has ended, and pass over what comes later."""
    assert process.stdout is not None
    for line in process.stdout:
        if not ready.is_set():
            output.append(line)
            if _READY.search(line):
                ready.set()
    ready.set()


def _reason(output: str, data_dir: Path) -> str:
    told = [line.removeprefix("faceter: ") for line in output.splitlines() if line.startswith("faceter: ")]
    last = told[-1] if told else "\n".join(output.splitlines()[-5:]) or "It printed nothing."
    return (
        f"The service for this command did not start with its data in {data_dir.absolute()}. {last}\n"
        "If a service is running, name it: --url http://127.0.0.1:8000"
    )
