"""The commands of the README, the tutorial and the guides, run verbatim against a real service."""

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

from tests.end_to_end.up_process import Up

pytestmark = pytest.mark.end_to_end

_ROOT = Path(__file__).resolve().parents[2]
_URL = "http://127.0.0.1:8000"
_GUIDES = ("grade-generated-images", "explain-units", "translate-images")
_RUN_ELSEWHERE = ("scripts/quickstart", "scripts/test", "faceter up")


def _blocks(page: str) -> list[str]:
    """Return the bash blocks of a page; blocks of other languages are outputs and variants."""
    return re.findall(r"```bash\n(.*?)```", (_ROOT / page).read_text(), re.DOTALL)


def _block(words: str) -> str:
    """Return the one bash block of the README that has ``words`` in it."""
    (block,) = [block for block in _blocks("README.md") if words in block]
    return str(block)


def _tour(page: str) -> str:
    """Return the commands of a page that use a running service."""
    return "".join(block for block in _blocks(page) if not any(words in block for words in _RUN_ELSEWHERE))


def _python(page: str) -> str:
    """Return the Python blocks of a page as one program."""
    return "".join(re.findall(r"```python\n(.*?)```", (_ROOT / page).read_text(), re.DOTALL))


def _bash(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # The README speaks of .venv; the environment these tests run in may be another one.
    text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=_ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the service of the README's ``faceter up``, on a free port."""
    assert _block("faceter up").strip() == ".venv/bin/faceter up"
    up = Up(tmp_path_factory.mktemp("readme") / "data", ["--port", "0"])
    up.hears("Ready after")
    yield up.url
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()


def test_the_five_calls_of_the_readme(url: str) -> None:
    tour = _tour("README.md")
    assert _URL in tour
    done = _bash(tour.replace(_URL, url))
    assert done.returncode == 0, done.stderr + done.stdout
    exported, model, job, end, last, size, label = list(filter(None, done.stdout.splitlines()))[-7:]
    assert "BatchNormalization" in done.stdout, exported
    assert re.fullmatch(r"mdl_[0-9a-z]{20}", model)
    assert re.fullmatch(r"job_[0-9a-z]{20}", job)
    assert end == "event: end"
    assert last.startswith(f'data: {{"id":"{job}","kind":"quantization","status":"succeeded"')
    assert "'packed': " in size
    assert label == "two"


def test_the_tutorial_and_the_guides(url: str) -> None:
    digits = _ROOT / "faceter-data" / "digits"
    pages = ["docs/get-started.md", *(f"docs/guides/{name}.md" for name in _GUIDES)]
    done = _bash("echo page\n".join(_tour(page) for page in pages).replace(_URL, url))
    assert done.returncode == 0, done.stderr + done.stdout
    started, graded, explained, translated = done.stdout.split("page\n")
    assert "event: progress" in started
    assert "event: end" in started
    assert "'metric': 'top1'" in started
    assert "'expected': " in graded
    assert "'interval': [" in graded
    assert " AND " in explained or " OR " in explained
    assert float(translated) < 0.1
    for name in ("unit", "map", "both-ways", "curves"):
        assert (digits / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(digits / "chalk.png") as chalk, Image.open(digits / "ink.png") as ink:
        assert chalk.size == ink.size
        slate, paper = (np.asarray(image.convert("L"))[:3, :3].mean() for image in (chalk, ink))
        assert slate < 70
        assert paper > 150
    assert (digits / "small.onnx").stat().st_size < (digits / "model.onnx").stat().st_size


def test_the_python_of_the_readme_and_of_the_guide(url: str) -> None:
    guide = "docs/guides/python-client.md"
    made = _bash(_tour(guide))
    assert made.returncode == 0, made.stderr
    outputs = []
    for page in ("README.md", guide):
        command = [sys.executable, "-W", "error", "-c", _python(page)]
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=os.environ | {"FACETER_URL": url, "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        outputs.append(done.stdout.splitlines())
    three, lines = outputs
    assert "packed=" in three[-1]
    assert lines[0] == f"Client('{url}')"
    for said in ("two", "['one', 'two']", "(2, 10) float32", "{'one': 1, 'two': 1}", "(32, 32)", "DigitNetwork 4"):
        assert said in lines
        assert said in (_ROOT / guide).read_text()
    assert lines[-1] == "['two', 'two', 'two']"


def test_the_command_of_the_readme(tmp_path: Path) -> None:
    (command,) = re.findall(r"^\$ (.*faceter quantize .*)$", (_ROOT / "README.md").read_text(), re.MULTILINE)
    made = _bash(_tour("docs/guides/python-client.md"))
    assert made.returncode == 0, made.stderr
    small = tmp_path / "small.onnx"
    options = f"--minutes 0.1 --data-dir {tmp_path / 'data'}"
    done = _bash(f"{command.replace('small.onnx', str(small))} {options}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"relative error on \d+ synthetic inputs", done.stdout)
    assert small.stat().st_size < (_ROOT / "faceter-data" / "digits" / "model.onnx").stat().st_size / 4


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
