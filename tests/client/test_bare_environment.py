"""The client in an environment of its own, with httpx and pydantic alone, against a real service."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.uploads import METADATA, image
from tests.engines import graphs

_ROOT = Path(__file__).resolve().parents[2]
_BARE = """
import asyncio, importlib, json, pkgutil, sys
from pathlib import Path
import faceter
assert not {"httpx", "pydantic"} & set(sys.modules), "importing faceter costs"
from faceter.client.errors import InvalidRequest, NotFound

folder, metadata = Path(sys.argv[1]), json.loads(sys.argv[2])
client = faceter.Client()
model = client.models.upload(folder / "tiny.onnx", metadata=metadata)
prediction = model.predict(folder / "i.png", raw=True)
dataset = client.datasets.upload(folder / "pets", kind="images")
job = model.quantize(method="rq", evaluation_dataset_id=dataset)
job.cancel()
try:
    client.models.get("x")
except NotFound as error:
    missing = error.problem.title
try:
    client.models.upload_torch(object(), [])
except ImportError as error:
    torch = str(error)

async def twin():
    async with faceter.AsyncClient() as client:
        return [item.id async for item in client.models.list()]

import faceter.contracts
for module in pkgutil.iter_modules(faceter.contracts.__path__):
    if module.name not in ("settings", "json_text"):
        importlib.import_module(f"faceter.contracts.{module.name}")
print(json.dumps({
    "label": prediction.predictions[0].label,
    "logits": prediction.outputs["logits"],
    "samples": dataset.samples,
    "status": job.status,
    "missing": missing,
    "torch": torch,
    "same": asyncio.run(twin()) == [item.id for item in client.models.list()],
    "html": model._repr_html_()[:5],
    "loaded": sorted(name for name in ("numpy", "PIL", "torch", "onnx", "msgspec", "tqdm") if name in sys.modules),
}))
"""


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with nothing but httpx and pydantic."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = ["-m", "pip", "install", "-q", "--no-input", "-c", "constraints.txt", "httpx", "pydantic"]
    done = subprocess.run([python, *command], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


def test_httpx_and_pydantic_are_all_that_the_client_needs(bare_python: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(graphs.classifier())
    (tmp_path / "i.png").write_bytes(image())
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        (tmp_path / "pets" / label / "a.png").write_bytes(image())
    done = subprocess.run(
        [bare_python, "-W", "error", "-c", _BARE, tmp_path, json.dumps(METADATA)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), "FACETER_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("label") in METADATA["labels"]
    assert [len(row) for row in found.pop("logits")] == [3]
    assert "faceter[export]" in found.pop("torch")
    assert found == {
        "samples": 2,
        "status": "canceled",
        "missing": "There is no such resource",
        "same": True,
        "html": "<b>Mo",
        "loaded": [],
    }


@pytest.mark.parametrize("arguments", [["up"], ["--help"]])
def test_the_command_says_what_it_needs(bare_python: Path, tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [bare_python, "-m", "faceter", *arguments],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'faceter[server,worker]'" in done.stderr
    assert "Traceback" not in done.stderr
