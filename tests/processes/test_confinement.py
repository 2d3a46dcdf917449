"""Confinement: no network and no changed file is left to a process, and it works on."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceter.processes.confinement import confine


def confined(tried: Callable[[], str]) -> tuple[list[str], str]:
    """Call a function in a confined process; return what is confined and its result, or the name of its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            done = ",".join(confine())
            try:
                text = tried()
            except OSError as error:
                text = type(error).__name__
            os.write(writer, f"{done}|{text}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        done, _, text = answer.read().partition("|")
    os.waitpid(child, 0)
    return [part for part in done.split(",") if part], text


def test_it_reaches_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def connect() -> str:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return "connected"

        assert connect() == "connected"
        done, text = confined(connect)
    if "network" not in done:
        pytest.skip("the kernel allows no network namespace here")
    assert text == "OSError"


def test_it_changes_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    for change in (
        lambda: str(kept.write_text("changed")),
        lambda: str(kept.unlink()),  # type: ignore[func-returns-value]
        lambda: str((tmp_path / "new").mkdir()),  # type: ignore[func-returns-value]
        lambda: str((tmp_path / "link").symlink_to(kept)),  # type: ignore[func-returns-value]
    ):
        done, text = confined(change)
        if "files" not in done:
            pytest.skip("the kernel has no Landlock")
        assert text == "PermissionError"
    assert kept.read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_it_starts_programs_whose_output_is_not_wanted() -> None:
    def start() -> str:
        command = [sys.executable, "-c", "print(1)"]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()

    assert confined(start)[1] == "1\n"


def test_it_reads_and_is_the_same_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("readable")
    assert confined((tmp_path / "file").read_text)[1] == "readable"
    assert confined(lambda: str(os.getuid()))[1] == str(os.getuid())
