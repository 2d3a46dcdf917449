"""The client: wrk, with a script that sends one body again and again."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.serving_peers.cases import HttpRequest

_PATIENCE: Final = 120
_SCRIPT: Final = """
local file = assert(io.open(%(body)s, "rb"))
wrk.method = "POST"
wrk.body = file:read("*all")
file:close()
wrk.headers["Content-Type"] = %(media_type)s
local statuses, threads = {}, {}
function setup(thread) table.insert(threads, thread) end
%(counting)s
function done(summary, latency, requests)
  for _, thread in ipairs(threads) do
    for pair in string.gmatch(thread:get("counts") or "", "%%d+=%%d+") do table.insert(statuses, pair) end
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %%d, "seconds": %%f, "socket": %%d, "status": %%d, ' ..
    '"p50": %%f, "p99": %%f, "counts": "%%s"}\\n',
    summary.requests, summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.timeout,
    errors.status, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, table.concat(statuses, " ")))
end
"""
_COUNTING: Final = """
counts = ""
local by_status = {}
function response(status)
  by_status[status] = (by_status[status] or 0) + 1
  local parts = {}
  for status, count in pairs(by_status) do table.insert(parts, status .. "=" .. count) end
  counts = table.concat(parts, " ")
end
"""


@dataclass(frozen=True)
class ClientResult:
    """What wrk measured."""

    requests: int
    """Answered requests, those with an error status included."""
    seconds: float
    """Duration."""
    errors: int
    """Answers with an error status, and socket errors."""
    p50_ms: float
    """Median latency, milliseconds."""
    p99_ms: float
    """99th percentile of the latency, milliseconds."""
    statuses: dict[str, int]
    """Answers by status, if counted."""


def wrk() -> str:
    """Return the path of wrk.

    Raises:
        SystemExit: If it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit(
            "The client `wrk` is not installed. Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk."
        )
    return found


def requested(
    url: str,
    request: HttpRequest,
    folder: Path,
    *,
    clients: int,
    seconds: float,
    count: bool = False,
    pause_ms: float = 0,
) -> ClientResult:
    """Send a request from a number of clients at the same time, each again as soon as it has its answer.

    Args:
        url: Address of the server, without a path.
        request: The request.
        folder: Folder for the body and the script.
        clients: Number of connections.
        seconds: Duration.
        count: Whether to count answers by status, which takes time of the client.
        pause_ms: Pause of a connection between an answer and its next request.
    """
    body, script = folder / "body", folder / "script.lua"
    body.write_bytes(request.body)
    fields = {"body": json.dumps(str(body)), "media_type": json.dumps(request.media_type)}
    pause = f"function delay() return {pause_ms:.0f} end\n" if pause_ms else ""
    script.write_text(_SCRIPT % {**fields, "counting": (_COUNTING if count else "") + pause})
    command = [wrk(), "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", f"{_PATIENCE}s"]
    done = subprocess.run(
        [*command, "-s", str(script), url + request.path], capture_output=True, text=True, check=True, timeout=600
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return ClientResult(
        requests=found["requests"],
        seconds=found["seconds"],
        errors=found["socket"] + found["status"],
        p50_ms=found["p50"],
        p99_ms=found["p99"],
        statuses={key: int(value) for key, _, value in (pair.partition("=") for pair in found["counts"].split())},
    )
