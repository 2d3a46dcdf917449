"""Weights of large models exist once for all processes of a host, and go with the last that uses them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.shared_weights import SHARED_FROM, SharedWeights
from tests.engines.graphs import model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SIZE = 2304
INPUT = np.random.default_rng(1).integers(0, SIZE, (2, SIZE))
HOLDER = """
import sys
from pathlib import Path
import numpy as np
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.shared_weights import SharedWeights

loaded = OnnxRuntimeEngine(SharedWeights(Path(sys.argv[2]))).load(Path(sys.argv[1]).read_bytes(), threads=1)
loaded.run({"x": np.arange(int(sys.argv[3]))[None]})
print("loaded", flush=True)
sys.stdin.readline()
loaded.close()
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    """An embedding table, whose rows are read as they lie in the file, and a vector."""
    table = np.random.default_rng(0).normal(size=(SIZE, SIZE)).astype(np.float32)
    vector = np.arange(SIZE, dtype=np.float32)
    nodes = [helper.make_node("Gather", ["t", "x"], ["h"]), helper.make_node("Add", ["h", "v"], ["y"])]
    made = model(
        nodes,
        {"x": (TensorProto.INT64, ["batch", "length"])},
        {"y": (TensorProto.FLOAT, ["batch", "length", SIZE])},
        {"t": table, "v": vector},
    )
    assert len(made) > SHARED_FROM
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "weights"


Holders = list["subprocess.Popen[str]"]


@pytest.fixture
def holders(tmp_path: Path, folder: Path, content: bytes) -> Iterator[Holders]:
    """Two processes that have loaded the model."""
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    command = [sys.executable, "-c", HOLDER, str(file), str(folder), str(SIZE)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "loaded\n"
    yield started
    for process in started:
        process.kill()
        process.communicate()


def answer(engine: OnnxRuntimeEngine, content: bytes) -> np.ndarray[Any, Any]:
    loaded = engine.load(content, threads=1)
    try:
        return loaded.run({"x": INPUT})["y"]
    finally:
        loaded.close()


def mapped(pid: int, name: str) -> tuple[int, int]:
    """Return the resident size of a mapped file in a process, and its part of it, bytes."""
    sizes = {"Rss": 0, "Pss": 0}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = line.endswith(f"/{name}")
        elif inside and line.split(":")[0] in sizes:
            sizes[line.split(":")[0]] += 1024 * int(line.split()[1])
    return sizes["Rss"], sizes["Pss"]


def end(process: "subprocess.Popen[str]") -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_answers_are_the_same_with_shared_weights(folder: Path, content: bytes) -> None:
    np.testing.assert_array_equal(
        answer(OnnxRuntimeEngine(SharedWeights(folder)), content), answer(OnnxRuntimeEngine(), content)
    )
    assert OnnxRuntimeEngine(SharedWeights(folder)) == OnnxRuntimeEngine()


def test_two_processes_have_the_weights_in_memory_once(holders: Holders) -> None:
    for process in holders:
        resident, part = mapped(process.pid, "weights")
        assert resident > 0.9 * 4 * SIZE**2
        assert part < 0.6 * resident


def test_the_files_go_with_the_last_process(folder: Path, content: bytes, holders: Holders) -> None:
    assert len(list(folder.glob("*/weights"))) == 1
    end(holders[0])
    assert len(list(folder.glob("*/weights"))) == 1
    np.testing.assert_array_equal(
        answer(OnnxRuntimeEngine(SharedWeights(folder)), content), answer(OnnxRuntimeEngine(), content)
    )
    assert len(list(folder.glob("*/weights"))) == 1, "the other process has it still"
    end(holders[1])
    assert list(folder.glob("*/weights")) == []


def test_what_killed_processes_left_is_deleted_by_the_next(folder: Path, content: bytes, holders: Holders) -> None:
    for process in holders:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert len(list(folder.glob("*/weights"))) == 1
    opened = SharedWeights(folder).open("other", helper.make_model(helper.make_graph([], "empty", [], [])))
    assert opened is not None
    assert list(folder.glob("*/weights")) == [folder / "other" / "weights"]
    opened.close()
    assert list(folder.glob("*/weights")) == []


def test_a_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_text("")
    engine = OnnxRuntimeEngine(SharedWeights(tmp_path / "file" / "weights"))
    np.testing.assert_array_equal(answer(engine, content), answer(OnnxRuntimeEngine(), content))


def test_small_models_are_not_written(folder: Path) -> None:
    tiny = model(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.INT64, ["batch", SIZE])},
        {"y": (TensorProto.INT64, ["batch", SIZE])},
    )
    np.testing.assert_array_equal(answer(OnnxRuntimeEngine(SharedWeights(folder)), tiny), INPUT)
    assert not folder.exists()
