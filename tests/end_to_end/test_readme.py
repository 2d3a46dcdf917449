"""The README, run: its commands and its curl tour, word for word, against a real service."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.test_up import Up

pytestmark = pytest.mark.end_to_end

_ROOT = Path(__file__).resolve().parents[2]
_BLOCKS = re.findall(r"```bash\n(.*?)```", (_ROOT / "README.md").read_text(), re.DOTALL)
_URL = "http://127.0.0.1:8000"


def _block(words: str) -> str:
    """Return the one bash block of the README that has ``words`` in it."""
    (block,) = [block for block in _BLOCKS if words in block]
    return str(block)


def _bash(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # The README speaks of .venv; the environment these tests run in may be another one.
    text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=_ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of what the README's ``faceter up`` brings up, on a free port."""
    assert _block("faceter up").strip() == ".venv/bin/faceter up"
    up = Up(tmp_path_factory.mktemp("readme") / "data", ["--port", "0"])
    up.hears("Ready after")
    yield up.url
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()


def test_it_has_no_block_that_is_not_run_here() -> None:
    run = ["scripts/quickstart", "scripts/test", "faceter up", "export-torch", "URL=", "grade=", "explain=", "learn="]
    assert sorted(map(_block, run)) == sorted(_BLOCKS)


def test_the_curl_tour_goes_as_told(url: str) -> None:
    digits = _ROOT / "faceter-data" / "digits"
    made = _bash(_block("export-torch"))
    assert made.returncode == 0, made.stderr
    assert "BatchNormalization" in made.stdout

    tour = _block("URL=")
    assert _URL in tour
    assert len(tour.splitlines()) <= 10
    grading = _block("grade=")
    assert len(grading.splitlines()) <= 10
    explaining = _block("explain=")
    assert len(explaining.splitlines()) <= 10
    learning = _block("learn=")
    assert len(learning.splitlines()) <= 10
    done = _bash(tour.replace(_URL, url) + "echo then\n" + grading + explaining + learning)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "event: progress" in done.stdout
    assert "event: end" in done.stdout
    assert "'metric': 'top1'" in done.stdout
    first, then, graded, explained, back = done.stdout.splitlines()[-5:]
    assert (first, then) == ("two", "then")
    assert "'expected': " in graded
    assert "'interval': [" in graded
    assert " AND " in explained or " OR " in explained
    assert float(back) < 0.1
    assert (digits / "both-ways.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(digits / "chalk.png") as chalk, Image.open(digits / "ink.png") as ink:
        assert chalk.size == ink.size
        slate, paper = (np.asarray(image.convert("L"))[:3, :3].mean() for image in (chalk, ink))
        assert slate < 70
        assert paper > 150
    assert (digits / "unit.png").read_bytes().startswith(b"\x89PNG")
    assert (digits / "map.png").read_bytes().startswith(b"\x89PNG")
    assert (digits / "small.onnx").stat().st_size < (digits / "model.onnx").stat().st_size


def test_quickstart_goes_from_nothing_to_a_table(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = f"{_block('scripts/quickstart').strip()} --port {port}"
    done = _bash(command, FACETER_DATA_DIR=str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr + done.stdout
    rows = re.findall(r"^(rq|auto) +(W\dA\d) +([\d.]+)% +([\d,]+) B +([\d.]+) ms", done.stdout, re.MULTILINE)
    assert [row[:2] for row in rows] == [("rq", "W8A8"), ("rq", "W4A4"), ("rq", "W2A2"), ("auto", "W2A2")]
    (before,) = re.findall(r"^float +32 +([\d.]+)%", done.stdout, re.MULTILINE)
    rounded_to_8, _, rounded_to_2, tuned = (float(row[2]) for row in rows)
    assert rounded_to_8 > float(before) - 1, done.stdout
    assert tuned > rounded_to_2, done.stdout
    assert (tmp_path / "data" / "quickstart" / "synthetic-digits.png").read_bytes().startswith(b"\x89PNG")
    assert f"http://127.0.0.1:{port}/docs" in done.stdout
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_the_test_script_is_the_one_that_ci_runs() -> None:
    assert _block("scripts/test").strip() in (_ROOT / ".ci" / "run").read_text()
