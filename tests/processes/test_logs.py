"""Log lines, as a process of its own writes them."""

import json
import subprocess
import sys

import pytest

_CODE = """
import logging, structlog
from faceter.contracts.settings import Settings
from faceter.processes.logs import set_up_logs
set_up_logs(Settings())
set_up_logs(Settings())
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger("ours").info("stored", bytes=3)
logging.getLogger("theirs").warning("took %d s", 2, extra={"job": "j1"})
logging.getLogger("theirs").debug("too quiet")
try:
    uploaded = "private"
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("ours").exception("failed")
"""


def _lines(monkeypatch: pytest.MonkeyPatch, log_format: str, level: str = "info") -> list[str]:
    monkeypatch.setenv("FACETER_LOG_FORMAT", log_format)
    monkeypatch.setenv("FACETER_LOG_LEVEL", level)
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_structlog_and_standard_library_lines_have_the_same_json_format(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, failure = (json.loads(line) for line in _lines(monkeypatch, "json"))
    assert {name: ours[name] for name in ("event", "level", "logger", "bytes", "request_id")} == {
        "event": "stored",
        "level": "info",
        "logger": "ours",
        "bytes": 3,
        "request_id": "r1",
    }
    assert {name: theirs[name] for name in ("event", "level", "logger", "job", "request_id")} == {
        "event": "took 2 s",
        "level": "warning",
        "logger": "theirs",
        "job": "j1",
        "request_id": "r1",
    }
    assert ours["timestamp"].endswith("Z")
    assert failure["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "private" not in json.dumps(failure)


def test_console_lines_have_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _lines(monkeypatch, "console")
    assert "stored" in lines[0]
    assert "bytes=3" in lines[0]
    assert "took 2 s" in lines[1]
    assert "ZeroDivisionError" in "\n".join(lines[2:])
    assert not any("\x1b" in line or "'private'" in line for line in lines)


def test_the_level_applies_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [json.loads(line)["event"] for line in _lines(monkeypatch, "json", "warning")] == ["took 2 s", "failed"]
    assert "too quiet" in [json.loads(line)["event"] for line in _lines(monkeypatch, "json", "debug")]
