"""Who may load what: the front end starts without torch, and neither side knows the other."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import app
import faceter
import workers

_ROOT = Path(__file__).resolve().parents[1]
_CODE = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _modules(package: str, paths: list[str]) -> list[str]:
    return [package, *(module.name for module in pkgutil.walk_packages(paths, f"{package}."))]


def _loaded(names: list[str]) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _CODE, *names], capture_output=True, text=True, cwd=_ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_every_module_of_the_front_end_loads_without_torch_and_without_workers() -> None:
    loaded = _loaded(_modules("app", list(app.__path__)))
    assert {"fastapi", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "workers", "onnxscript", "matplotlib"}


def test_every_shared_module_loads_without_torch_and_without_either_side() -> None:
    names = [name for name in _modules("faceter", list(faceter.__path__)) if name != "faceter.__main__"]
    loaded = _loaded(names)
    assert {"faceter", "onnx"} <= loaded
    assert not loaded & {"torch", "workers", "app", "fastapi", "onnxscript", "matplotlib"}


def test_every_module_of_the_workers_loads_without_the_front_end() -> None:
    loaded = _loaded(_modules("workers", list(workers.__path__)))
    assert "torch" in loaded
    assert not loaded & {"app", "fastapi", "starlette", "uvicorn"}


@pytest.mark.parametrize("arguments", [["settings"], ["--help"], ["up", "--help"], ["worker", "--help"]])
def test_the_command_line_does_not_load_what_it_does_not_need(arguments: list[str]) -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"sys.argv[1:] = {arguments!r}; from faceter.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert not set(done.stderr.split()) & {"torch", "onnx", "onnxruntime", "app", "workers", "rq"}
