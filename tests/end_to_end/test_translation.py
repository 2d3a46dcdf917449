"""A translator in training, with a real API and real workers, one of which is killed."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from app.main import create_app
from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from tests.app.conftest import serving
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset
from tests.workers.figures.images import opened
from tests.workers.processes import WorkerProcess, eventually
from tests.workers.translation.jobs import domains_zip, images_of

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        redis_url=redis_url,
        worker_lost_seconds=5,
        checkpoint_seconds=0.2,
    )


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    with serving(create_app(settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def translate(api: httpx.Client, here: str, query: str = "") -> httpx.Response:
    file = io.BytesIO()
    images_of(1, size=21)[0][0].save(file, "PNG")
    return api.post(f"{here}/translate{query}", files={"file": ("p.png", file.getvalue())})


def test_a_training_survives_its_worker_and_has_results_meanwhile(
    api: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    dataset = add_dataset(api, domains_zip(*images_of()), "domains", paired="true")
    payload = {
        "method": "pix2pix",
        "dataset_id": dataset["id"],
        "image_size": 16,
        "generator": "resnet",
        "residual_blocks": 1,
        "base_channels": 2,
        "epochs": 30,
    }
    created = api.post("/v1/translators", json=payload).json()
    here = created["links"]["self"]
    with WorkerProcess(settings, tmp_path / "first.log") as first:
        eventually(lambda: api.get(here).json()["checkpoint"], 60)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
    found = api.get(here).json()
    assert found["status"] == "running"
    problem(translate(api, here), ProblemKind.NOT_READY)
    made = translate(api, here, "?checkpoint=latest")
    assert made.status_code == 200, made.text
    with Image.open(io.BytesIO(made.content)) as image:
        assert image.size == (21, 21)
    seen = [item["step"] for item in api.get(f"{here}/samples").json()["items"]]
    assert 0 < seen[-1] < 180
    assert opened(api.get(f"{here}/samples/latest/image").content).std() > 5
    points = api.get(f"{here}/curves").json()["points"]
    assert [point["step"] for point in points] == list(range(1, seen[-1] + 1))
    with WorkerProcess(settings, tmp_path / "second.log"):
        ready = eventually(lambda: (now := api.get(here).json())["status"] == "ready" and now, 90)
    assert isinstance(ready, dict)
    assert (ready["training"]["resumed"], ready["training"]["steps"]) == (1, 180)
    assert ready["training"]["ended_by"] == "budget"
    done = api.get(created["links"]["job"]).json()
    assert (done["status"], done["attempts"]) == ("succeeded", 2)
    assert done["result"]["id"] == ready["id"]
    assert set(seen) <= {item["step"] for item in api.get(f"{here}/samples").json()["items"]}
    assert translate(api, here).headers["faceter-model"] == ready["model_ids"]["a2b"]
    assert api.get(f"/v1/models/{ready['model_ids']['a2b']}").json()["metadata"]["task"] == "image_translation"
