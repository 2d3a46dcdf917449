"""A small real model, a service that starts empty, and a browser."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console.browser import started_browser
from tests.end_to_end.up_process import Up

_ROOT = Path(__file__).resolve().parents[2]


# Of the module, not the session: the browser's event loop must not be running in tests elsewhere.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def digits(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `model.onnx`, a classifier of handwritten digits, and `digit.png`, a two."""
    folder = tmp_path_factory.mktemp("digits")
    export = ["faceter", "export-torch", "examples.digits:trained", "--input-shape", "1,1,8,8", "--output"]
    for command in (["examples.digits", str(folder)], [*export, str(folder / "model.onnx")]):
        subprocess.run([sys.executable, "-m", *command], cwd=_ROOT, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a new service with one worker."""
    up = Up(tmp_path_factory.mktemp("console") / "data", ["--port", "0"])
    up.hears("Ready after")
    yield up.url
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()
