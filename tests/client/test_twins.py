"""The two clients are one: generated, with equal signatures, and equal results."""

import asyncio
import importlib
import inspect
import pkgutil
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceter import AsyncClient, Client
from faceter.client import asynchronous, synchronous
from faceter.client.errors import ConnectionFailed, JobNotEnded, NotFound
from tests.app.uploads import METADATA, image, images
from tests.client.flaky_proxy import FlakyProxy
from tests.engines import graphs
from tests.workers.processes import WorkerProcess

_ROOT = Path(__file__).resolve().parents[2]
_NAMES = sorted(module.name for module in pkgutil.iter_modules(asynchronous.__path__))


def test_the_client_without_asyncio_is_as_it_would_be_generated() -> None:
    done = subprocess.run(
        ["bash", "scripts/generate-client", "--check"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _classes(module: ModuleType) -> dict[str, type]:
    return {
        name.removeprefix("Async"): item
        for name, item in vars(module).items()
        if inspect.isclass(item) and item.__module__ == module.__name__
    }


def _signature(function: Any) -> str:
    text = str(inspect.signature(function, eval_str=False))
    text = re.sub(r"\bGenerator\[(\w+), None\]", r"Generator[\1, None, None]", re.sub(r"\bAsync(?=[A-Z])", "", text))
    return text.replace(".asynchronous.", ".synchronous.").replace(".Async", ".")


@pytest.mark.parametrize("name", _NAMES)
def test_both_have_the_same_classes_methods_and_signatures(name: str) -> None:
    modules = [importlib.import_module(f"{room.__name__}.{name}") for room in (asynchronous, synchronous)]
    first, second = map(_classes, modules)
    assert set(first) == set(second)
    for class_name, theirs in first.items():
        ours = second[class_name]
        members = [
            {member: item for member, item in vars(class_).items() if not member.startswith("_")}
            for class_ in (theirs, ours)
        ]
        assert set(members[0]) == set(members[1])
        for member, item in members[0].items():
            if inspect.isfunction(item):
                assert _signature(item) == _signature(members[1][member]), f"{class_name}.{member}"
                assert inspect.getdoc(item)
                assert not inspect.iscoroutinefunction(members[1][member])


def test_a_resource_of_one_has_the_type_of_the_other_name() -> None:
    assert sorted(vars(Client("http://x.test"))) == sorted(vars(AsyncClient("http://x.test")))


def test_from_an_upload_to_a_prediction_with_asyncio(url: str, worker: WorkerProcess, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(url) as client:
            model, dataset = await asyncio.gather(
                client.models.upload(graphs.classifier(), metadata=METADATA, name="async"),
                client.datasets.upload(images(["cat", "dog"]), kind="images"),
            )
            job = await model.quantize(method="rq", evaluation_dataset_id=dataset)
            with pytest.raises(JobNotEnded):
                await job.wait(0)
            small = await job.result(120)
            assert small.quantization is not None
            assert {quality.metric for quality in small.quantization.quality} == {"top1"}
            assert [item.id async for item in model.quantizations(page_size=1)] == [small.id]
            listed = [item.id async for item in client.models.list(name="async", page_size=1)]
            assert listed == [small.id, model.id]
            answers = await asyncio.gather(*(small.predict(image(seed), raw=True) for seed in range(4)))
            with Client(url) as other:
                expected = other.models.get(small.id).predict([image(seed) for seed in range(4)], raw=True)
            assert expected.outputs is not None
            for answer, row in zip(answers, expected.outputs["logits"], strict=True):
                assert answer.outputs is not None
                np.testing.assert_allclose(answer.outputs["logits"][0], row, rtol=1e-4, atol=1e-5)
            path = await small.download(tmp_path / "small.onnx")
            assert path.stat().st_size == small.bytes
            assert [event.name async for event in job.events()][-1] == "end"
            assert (await client.jobs.get(job.id)).status == job.status
            with pytest.raises(NotFound):
                await client.models.get("mdl_00000000000000000000")
            with pytest.raises(FileNotFoundError):
                await small.predict(tmp_path / "absent.png")

    asyncio.run(work())


def test_retries_with_asyncio(proxy: FlakyProxy, client: Client) -> None:
    async def work() -> str:
        async with AsyncClient(proxy.url) as flaky:
            proxy.fail("lose-answer", "busy")
            made = await flaky.models.upload(graphs.classifier(), name="async once")
            proxy.fail("lose-answer")
            with pytest.raises(ConnectionFailed):
                await made.delete()
            return made.id

    id = asyncio.run(work())
    with pytest.raises(NotFound):
        client.models.get(id)
    assert list(client.models.list(name="async once")) == []


def test_the_loop_is_not_blocked_by_a_folder(url: str, tmp_path: Path) -> None:
    for number in range(40):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.bmp")

    async def work() -> int:
        async with AsyncClient(url) as client:
            uploading = asyncio.create_task(client.datasets.upload(tmp_path, kind="images"))
            turns = 0
            while not uploading.done():
                await asyncio.sleep(0)
                turns += 1
            assert (await uploading).samples == 40
            return turns

    assert asyncio.run(work()) > 10
