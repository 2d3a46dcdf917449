"""Commands that do work by a service: a running one, or one of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import pytest

from faceter import Client
from tests.app.dataset_archives import concepts
from tests.app.translator_fixtures import halver, pixels
from tests.app.uploads import METADATA, image, images
from tests.engines import graphs
from tests.workers.processes import WorkerProcess

pytestmark = pytest.mark.end_to_end

REPOSITORY: Final = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a classifier, its metadata, images and datasets."""
    (tmp_path / "model.onnx").write_bytes(graphs.classifier())
    (tmp_path / "metadata.json").write_text(json.dumps(METADATA))
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(image(number, (8, 8)))
    (tmp_path / "images.zip").write_bytes(images(["cat", "dog"], each=9))
    (tmp_path / "concepts.zip").write_bytes(concepts())
    (tmp_path / "halver.onnx").write_bytes(halver())
    return tmp_path


Run = Callable[..., "subprocess.CompletedProcess[str]"]
Ran = subprocess.CompletedProcess[str]


def ran(folder: Path, *arguments: str) -> Ran:
    """Run a command in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACETER_")}
    return subprocess.run(
        [sys.executable, "-m", "faceter", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def run(url: str, files: Path) -> Callable[..., Ran]:
    """Run a command against the running service, in the folder of the files."""
    return lambda *arguments: ran(files, *arguments, "--url", url)


def printed(result: Ran) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_model_is_quantized_without_a_running_service(files: Path) -> None:
    ended = ran(files, "quantize", "model.onnx", "--bits", "4", "--method", "rq")
    assert ended.returncode == 0, ended.stderr
    assert "quantized" in ended.stdout
    assert "Written to model-w4a8.onnx" in ended.stdout
    session = onnxruntime.InferenceSession(str(files / "model-w4a8.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": np.zeros((1, 3, 8, 8), np.float32)})
    assert np.asarray(logits).shape == (1, 3)
    assert str(files) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    listed = printed(ran(files, "jobs", "--json"))
    assert [job["status"] for job in listed] == ["succeeded"], "the data of the service stay"


def test_a_model_is_quantized_and_its_accuracy_measured(run: Run, worker: WorkerProcess, files: Path) -> None:
    options = ["--method", "rq", "--metadata", "metadata.json", "--evaluate", "images.zip", "-o", "small.onnx"]
    answer = printed(run("quantize", "model.onnx", *options, "--json"))
    assert answer["file"] == "small.onnx"
    assert answer["report"]["quality"][0]["metric"] == "top1"
    assert (files / "small.onnx").stat().st_size == answer["report"]["size"]["packed"]
    shown = run("quantize", "model.onnx", *options)
    assert "top1" in shown.stdout


def test_a_model_predicts(run: Run, url: str) -> None:
    answer = printed(run("predict", "model.onnx", "0.png", "1.png", "--metadata", "metadata.json", "--json"))
    assert len(answer["predictions"]) == 2
    with Client(url) as client:
        id = next(client.models.list()).id
    shown = run("predict", id, "0.png", "1.png")
    assert shown.returncode == 0, shown.stderr
    assert answer["predictions"][0]["label"] in shown.stdout


def test_units_are_explained_and_images_graded(run: Run, worker: WorkerProcess) -> None:
    options = ["--layer", "r", "--quantile", "0.2", "--max-length", "2", "--metadata", "metadata.json"]
    units = printed(run("explain", "model.onnx", "concepts.zip", *options, "--json"))["units"]
    assert units == sorted(units, key=lambda unit: -unit["score"])
    assert any(unit.get("formula") for unit in units)
    assert "formula" in run("explain", "model.onnx", "concepts.zip", *options).stdout
    options = ["--model", "model.onnx", "--tensor", "f", "--metadata", "metadata.json"]
    metrics = printed(run("grade", "images.zip", "images.zip", *options, "--json"))["metrics"]
    assert metrics["coverage"]["value"] == 1
    options.remove("--tensor")
    options.remove("f")
    answer = printed(run("grade", "images.zip", "images.zip", *options, "--json"))
    assert answer["tensor"] == "f", "the features are found in the graph"
    assert {name: value["value"] for name, value in answer["metrics"].items()} == {
        name: value["value"] for name, value in metrics.items()
    }
    assert "coverage" in run("grade", "images.zip", "images.zip", *options).stdout
    refused = run("grade", "images.zip", "images.zip", "--model", "halver.onnx")
    assert (refused.returncode, "--tensor NAME" in refused.stderr) == (2, True)


def test_an_image_is_translated(run: Run, files: Path) -> None:
    result = run("translate", "0.png", "--translator", "halver.onnx", "-o", "out.png")
    assert result.returncode == 0, result.stderr
    found, source = pixels((files / "out.png").read_bytes()), pixels((files / "0.png").read_bytes())
    assert np.abs(found - np.rint(63.75 + source / 2.0)).max() <= 1
    assert run("translate", "0.png", "--translator", "halver.onnx", "-o", "out.bmp").returncode == 2


def test_jobs_are_listed(run: Run, worker: WorkerProcess) -> None:
    assert run("quantize", "model.onnx", "--method", "rq").returncode == 0
    listed = printed(run("jobs", "--limit", "1", "--json"))
    assert [job["status"] for job in listed] == ["succeeded"]
    assert listed[0]["id"] in run("jobs").stdout


def test_what_cannot_be_used_is_told_with_an_exit_status(run: Run, files: Path) -> None:
    (files / "bad.onnx").write_text("no model")
    (files / "bad.json").write_text("{")
    for arguments, status, told in (
        (["quantize", "missing.onnx"], 2, "does not exist"),
        (["quantize", "bad.onnx", "--method", "rq"], 1, "cannot be read as ONNX"),
        (["quantize", "model.onnx", "--metadata", "bad.json"], 2, "bad.json is no JSON"),
        (["quantize", "model.onnx", "--bits", "1"], 2, "--bits"),
        (["predict", "mdl_4x8k2m9q0v7r3t6w1y5z", "0.png"], 1, "mdl_4x8k2m9q0v7r3t6w1y5z"),
        (["predict", "model.onnx", "0.png"], 1, "preprocessing"),
    ):
        result = run(*arguments)
        assert result.returncode == status, result.stderr
        assert told in result.stderr, result.stderr
    assert not list(files.glob("*w8a8*")), "nothing is half written"


def test_a_service_that_is_not_there(files: Path) -> None:
    for command in ("jobs", "open"):
        result = ran(files, command, "--url", "http://127.0.0.1:1")
        assert result.returncode == 1
        assert "127.0.0.1:1" in result.stderr
