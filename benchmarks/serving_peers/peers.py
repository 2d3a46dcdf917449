"""The peers: LitServe, MLServer and BentoML, each in an environment of its own."""

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.serving_peers.cases import HttpRequest, ServingCase, document, form
from benchmarks.serving_peers.contenders import ContenderError, Served, free_port

_HERE: Final = Path(__file__).parent
_COMMON: Final = ("onnxruntime", "numpy", "pillow")
"""Packages that every environment has in the versions of this one."""
_BESIDE: Final = {"litserve": ("python-multipart",), "mlserver": ("uvloop<0.22",)}
"""What a peer needs for these requests and does not bring. MLServer 1.7 does not start with newer versions."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with one peer.

    Args:
        folder: Where it is, or will be made.
        package: The peer's package.
    """

    folder: Path
    package: str

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.folder / "bin" / name)

    def prepare(self) -> None:
        """Make it, unless it is there.

        Raises:
            ContenderError: If the package cannot be installed.
        """
        ready = self.folder / "ready"
        if ready.exists():
            return
        subprocess.run([sys.executable, "-m", "venv", str(self.folder)], check=True)
        common = [f"{name}=={version(name)}" for name in _COMMON]
        command = [
            self.program("python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            self.package,
            *_BESIDE.get(self.package, ()),
            *common,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ContenderError(f"{self.package} cannot be installed: {done.stderr[-1500:]}")
        ready.touch()

    def version(self) -> str:
        """Return the peer's version."""
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return subprocess.run(
            [self.program("python"), "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


class Peer(Served):
    """A peer with its server program.

    Args:
        name: Its name.
        folder: Folder for its files.
        environment: Its environment.
    """

    def __init__(self, name: str, folder: Path, environment: Environment) -> None:
        super().__init__(name, folder)
        self.environment = environment

    def start(self, case: ServingCase, model: Path) -> None:
        """Start the server."""
        self.environment.prepare()
        shutil.copy(_HERE / "answers.py", self.folder / "answers.py")
        shutil.copy(_HERE / f"{self.environment.package}_server.txt", self.folder / "server.py")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.request = self.request_of(case)
        programs = self.environment.folder / "bin"
        variables = {
            "MODEL": str(model),
            "CASE": case.settings(),
            "PORT": str(port),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            **self.variables(),
        }
        self.launch(self.command(port), variables, cwd=self.folder)
        self.wait(self.request)

    def told(self) -> str:
        """Return its version."""
        return f"{self.name} {self.environment.version()}"

    def command(self, port: int) -> list[str]:
        """Return the command that serves at a port."""
        raise NotImplementedError

    def request_of(self, case: ServingCase) -> HttpRequest:
        """Return the request of a case."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """Return environment variables."""
        return {}


class LitServePeer(Peer):
    """LitServe."""

    def command(self, port: int) -> list[str]:
        """Return the command; the port is in its environment."""
        return [self.environment.program("python"), "server.py"]

    def request_of(self, case: ServingCase) -> HttpRequest:
        """Return a form with the image, or JSON with the tensor."""
        return (
            document("/predict", {"inputs": case.values().tolist()}) if case.tensor else form("/predict", case.source())
        )


class MLServerPeer(Peer):
    """MLServer."""

    def command(self, port: int) -> list[str]:
        """Return the command, after writing the settings."""
        settings: dict[str, Any] = {"host": "127.0.0.1", "http_port": port, "parallel_workers": 2, "debug": False}
        settings |= {"grpc_port": free_port(), "metrics_port": free_port()}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        model = {"name": "model", "implementation": "server.Runtime"}
        (self.folder / "model-settings.json").write_text(json.dumps(model))
        return [self.environment.program("mlserver"), "start", "."]

    def request_of(self, case: ServingCase) -> HttpRequest:
        """Return a request of the inference protocol: the image in base64, or the tensor as numbers."""
        given: dict[str, Any] = {"name": "input"}
        if case.tensor:
            values = case.values()
            given |= {"datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
        else:
            text = base64.b64encode(case.source()).decode()
            given |= {"datatype": "BYTES", "shape": [1, 1], "data": [text], "parameters": {"content_type": "base64"}}
        return document("/v2/models/model/infer", {"inputs": [given]})

    def unwrapped(self, case: ServingCase, content: bytes) -> bytes:
        """Return the text of the output, or the bytes that it encodes."""
        text = json.loads(content)["outputs"][0]["data"][0]
        return base64.b64decode(text) if case.kind == "image" else text.encode()


class BentoMLPeer(Peer):
    """BentoML."""

    def command(self, port: int) -> list[str]:
        """Return the command."""
        return [
            self.environment.program("bentoml"),
            "serve",
            "server:Service",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]

    def request_of(self, case: ServingCase) -> HttpRequest:
        """Return a form with the image, or JSON with the tensor."""
        if case.tensor:
            return document("/tensor", {"inputs": case.values().tolist()})
        return form("/translate" if case.kind == "image" else "/predict", case.source())

    def variables(self) -> dict[str, str]:
        """Keep its files together, and send no statistics."""
        return {"BENTOML_HOME": str(self.folder / "home"), "BENTOML_DO_NOT_TRACK": "true"}
