"""The contenders of the serving benchmark: each serves one case at a time."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.serving_peers.cases import Array, HttpRequest, ServingCase, comparable, document, form
from benchmarks.serving_peers.client import requested
from benchmarks.serving_peers.processes import ProcessUse, end, settle

_START_SECONDS: Final = 60.0
_HTTP: Final = httpx.Client(timeout=120, trust_env=False)
_ROOT: Final = Path(__file__).resolve().parents[2]


class ContenderError(Exception):
    """A contender did not start, or did not serve the case."""


@dataclass(frozen=True)
class Measurement:
    """A contender under a number of clients."""

    requests: int
    """Answers."""
    seconds: float
    """Duration."""
    errors: int
    """Answers with an error status, and socket errors."""
    p50_ms: float
    """Median latency."""
    p99_ms: float
    """99th percentile of the latency."""
    cpu_ms: float
    """CPU time of the server's processes per answer."""
    peak_mib: float
    """Peak memory of the server's processes, shared pages counted once."""
    others: float
    """Cores that other programs used meanwhile."""

    def record(self) -> dict[str, Any]:
        """Return its values by name."""
        return asdict(self)


class Contender:
    """Something that serves a case.

    Args:
        name: Its name in the table.
        folder: Folder for its files.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.process: subprocess.Popen[Any] | None = None

    def start(self, case: ServingCase, model: Path) -> None:
        """Start it and wait until it serves the case.

        Raises:
            ContenderError: If it does not.
        """
        raise NotImplementedError

    def answer(self, case: ServingCase) -> Array:
        """Return its answer, to be compared."""
        raise NotImplementedError

    def measure(self, clients: int, seconds: float) -> Measurement:
        """Serve a number of clients for some seconds."""
        raise NotImplementedError

    def told(self) -> str:
        """Return what is to be noted about it: its version, or the engine that serves."""
        return ""

    def stop(self) -> None:
        """End its processes."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def launch(self, command: list[str], environment: Mapping[str, str] | None = None, **options: Any) -> None:
        """Start its process; output goes to the file `log`."""
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=options.pop("stdout", log),
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                **options,
            )

    def log(self) -> str:
        """Return the end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-1500:]


class BareContender(Contender):
    """The loop without a server; one thread for one client, else two."""

    def start(self, case: ServingCase, model: Path) -> None:
        """Start the loop."""
        content = self.folder / "content"
        content.write_bytes(case.values().tobytes() if case.tensor else case.source())
        form = "tensor" if case.tensor else "image"
        module = "benchmarks.serving_peers.bare_loop"
        self.launch(
            [sys.executable, "-m", module, str(model), case.settings(), str(content), form],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self._loop = (model, case.settings(), content.read_bytes(), case.tensor)

    def answer(self, case: ServingCase) -> Array:
        """Return its answer."""
        from benchmarks.serving_peers.bare_loop import BareLoop

        model, settings, content, tensor = self._loop
        return comparable(case, BareLoop(model, settings, content, tensor=tensor).answer())

    def measure(self, clients: int, seconds: float) -> Measurement:
        """Run the loop."""
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with ProcessUse(process.pid) as use:
            process.stdin.write(f"{min(clients, 2)} {seconds}\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
        cpu = found.pop("cpu")
        each = 1e3 * cpu / found["requests"]
        return Measurement(**found, errors=0, cpu_ms=each, peak_mib=use.peak_mib, others=use.others)


class Served(Contender):
    """A contender behind HTTP."""

    url = ""
    request: HttpRequest

    def answer(self, case: ServingCase) -> Array:
        """Return its answer to the request."""
        content = self._post(self.request)
        return comparable(case, self.unwrapped(case, content))

    def unwrapped(self, case: ServingCase, content: bytes) -> bytes:
        """Return the answer within what its protocol adds."""
        return content

    def measure(self, clients: int, seconds: float) -> Measurement:
        """Let the client send requests."""
        assert self.process is not None
        with ProcessUse(self.process.pid) as use:
            found = requested(self.url, self.request, self.folder, clients=clients, seconds=seconds)
        settle(self.process.pid)
        return Measurement(
            requests=found.requests,
            seconds=found.seconds,
            errors=found.errors,
            p50_ms=found.p50_ms,
            p99_ms=found.p99_ms,
            cpu_ms=1e3 * use.cpu / max(1, found.requests),
            peak_mib=use.peak_mib,
            others=use.others,
        )

    def wait(self, ready: HttpRequest | str) -> None:
        """Wait until a request, or a path, is answered."""
        assert self.process is not None
        last, deadline = "no answer", time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ContenderError(f"{self.name} ended at the start: {self.log()}")
            try:
                if isinstance(ready, str):
                    _HTTP.get(self.url + ready).raise_for_status()
                else:
                    self._post(ready)
            except httpx.HTTPStatusError as error:
                last = f"{error.response.status_code} {error.response.text[:500]}"
            except httpx.HTTPError as error:
                last = repr(error)
            else:
                return
            time.sleep(0.3)
        raise ContenderError(f"{self.name} does not serve: {last}\n{self.log()}")

    def _post(self, request: HttpRequest) -> bytes:
        headers = {"Content-Type": request.media_type}
        answer = _HTTP.post(self.url + request.path, content=request.body, headers=headers)
        return answer.raise_for_status().content


class FaceterContender(Served):
    """Faceter without workers.

    Args:
        name: Its name.
        folder: Folder for its data.
        processes: API processes.
        settings: Further settings, as environment variables.
    """

    def __init__(self, name: str, folder: Path, processes: int, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(name, folder)
        self._processes = processes
        self._settings = settings or {}
        self.model_id = ""

    def start(self, case: ServingCase, model: Path) -> None:
        """Start the service, upload the model and load it."""
        self.start_service()
        self.request = self.uploaded(case, model)
        self.wait(self.request)

    def told(self) -> str:
        """Return the engine that serves the model."""
        path = self.folder / "serving.json"
        report = json.loads(path.read_text()) if path.exists() else None
        if not report:
            return f"{self.name}: ONNX Runtime; the engines were not measured."
        return f"{self.name}: {report['engine']}, batches of up to {report['max_batch_size']}. {report['reason']}"

    def start_service(self, workers: int = 0) -> None:
        """Start the service."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "faceter", "up", "--workers", str(workers), "--port", str(port)]
        options = ["--api-workers", str(self._processes), "--data-dir", str(self.folder / "data")]
        self.launch([*command, *options], self._settings, cwd=_ROOT)
        self.wait("/readyz" if workers else "/healthz")

    def uploaded(self, case: ServingCase, model: Path) -> HttpRequest:
        """Upload the model, and return the request of the case."""
        (self.folder / "serving.json").unlink(missing_ok=True)
        with httpx.Client(base_url=self.url, timeout=300) as client:
            self.model_id = upload(client, model, case.metadata)
            loaded = client.post(f"/v1/models/{self.model_id}/load").raise_for_status().json()
            (self.folder / "serving.json").write_text(json.dumps(loaded.get("serving")))
            if case.kind == "image":
                made = client.post("/v1/translators", json={"a2b_id": self.model_id}).raise_for_status().json()
                return form(f"/v1/translators/{made['id']}/translate", case.source())
            name = client.get(f"/v1/models/{self.model_id}").json()["inputs"][0]["name"]
        path = f"/v1/models/{self.model_id}/predict"
        if case.tensor:
            return document(path, {"inputs": {name: case.values().tolist()}})
        return form(path, case.source())


def upload(client: httpx.Client, model: Path, metadata: dict[str, Any]) -> str:
    """Upload a model to Faceter, and return its id."""
    data = {"name": model.stem, **({"metadata": json.dumps(metadata)} if metadata else {})}
    answer = client.post("/v1/models", files={"file": (model.name, model.read_bytes())}, data=data)
    if answer.is_error:
        raise ContenderError(f"Faceter refused {model.name}: {answer.text}")
    return str(answer.json()["id"])


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
