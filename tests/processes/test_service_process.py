"""Child processes: restart with backoff, and the end of their sessions."""

import os
import sys
import threading
from pathlib import Path

from faceter.processes.service_process import ServiceProcess


def _run_to_exit(process: ServiceProcess) -> None:
    process.start()
    assert process.process is not None
    process.process.wait()


def test_a_process_that_never_becomes_ready_is_restarted_with_backoff_up_to_a_few_seconds() -> None:
    process = ServiceProcess("worker", [sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"], dict(os.environ))
    delays = []
    for _ in range(8):
        _run_to_exit(process)
        assert process.poll() == 3
        delays.append(process.schedule_restart())
        assert process.poll() is None
    assert delays == [0.25, 0.5, 1, 2, 4, 4, 4, 4]


def test_a_process_that_was_ready_is_restarted_at_once_however_often() -> None:
    code = "from faceter.processes.readiness import announce_ready; announce_ready(); raise SystemExit(3)"
    process = ServiceProcess("worker", [sys.executable, "-c", code], dict(os.environ), failures=5)
    for _ in range(3):
        _run_to_exit(process)
        assert process.schedule_restart() == 0.1
        assert process.failures == 0


def test_orphans_of_a_process_are_killed_with_it() -> None:
    code = "import os, time; os.fork() or time.sleep(60)"
    process = ServiceProcess("worker", [sys.executable, "-I", "-S", "-c", code], dict(os.environ))
    _run_to_exit(process)
    assert process.process is not None
    session = process.process.pid
    assert _session(session)
    process.schedule_restart()
    deadline = threading.Event()
    for _ in range(200):
        if not _session(session):
            break
        deadline.wait(0.02)
    assert not _session(session)


def _session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    living = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader and "Z" not in (entry / "stat").read_text().rpartition(")")[2]:
                living.append(int(entry.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return living
