"""The service under test: a real API process, a real Valkey server, and a worker if one is wanted."""

import random
import resource
from pathlib import Path
from typing import Final, Self

import httpx

from app.services.jobs.queue import JobQueue
from faceter.contracts.settings import Settings
from faceter.contracts.translation_methods import Direction
from faceter.store.connection import connect
from faceter.store.library import Library
from tests.app.analysis_records import add_analysis
from tests.app.evaluation_records import add_evaluation, arrays_file, sample_arrays
from tests.app.explanation_records import add_explanation
from tests.app.translator_fixtures import TranslatorFixtures
from tests.app.uploads import LABELS, add_dataset, add_model, image, images
from tests.conftest import start_valkey
from tests.end_to_end.test_api_process import ApiProcess
from tests.workers.processes import WorkerProcess

MIB: Final = 2**20

REQUEST_SECONDS: Final = 30.0
"""How long a response may take; more is a hang."""

_MOST_SHOWN: Final = 4000


class FuzzedService:
    """A service of its own during a ``with`` block.

    Args:
        folder: For its data and logs; its path must be short.
        worker: Whether a worker does the jobs that requests create.
    """

    def __init__(self, folder: Path, *, worker: bool) -> None:
        self._valkey = start_valkey(folder)
        self.settings = Settings(
            _env_file=None,
            data_dir=folder / "data",
            redis_url=f"unix://{self._valkey.unix_socket_path}",
            measure_serving=False,
            prediction_bytes=512 * MIB,
            session_cache_bytes=64 * MIB,
        )
        self.process = ApiProcess(self.settings, folder / "api.log")
        self.client = self.process.client
        self.client.timeout = REQUEST_SECONDS
        self.url = str(self.client.base_url).rstrip("/")
        self.worker = WorkerProcess(self.settings, folder / "worker.log", whole=True) if worker else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.worker is not None:
            self.worker.kill()
        self.process.close()
        self._valkey.stop()

    def rss(self) -> int:
        """Return the memory of the API process, bytes."""
        pages = Path(f"/proc/{self.process.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()

    def works(self) -> bool:
        """Return whether the API process lives and answers an honest request."""
        if self.process.process.poll() is not None:
            return False
        headers = {"Content-Type": "image/png"}
        model = add_model(self.client)
        response = self.client.post(f"/v1/models/{model['id']}/predict", content=image(), headers=headers)
        return response.status_code == httpx.codes.OK

    def failures(self) -> str:
        """Return what the API process has logged of exceptions that nothing handled."""
        lines = [line for line in self._log_lines() if "Traceback (most recent call last)" in line]
        return "\n".join(lines)[:_MOST_SHOWN]

    def log_tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log_lines()[-20:])

    def _log_lines(self) -> list[str]:
        return self.process.log.read_text(errors="replace").splitlines()


class RealIds:
    """Ids of resources that exist, by the name of the field or parameter that holds them.

    Args:
        service: Where the resources are made.
    """

    def __init__(self, service: FuzzedService) -> None:
        client, settings = service.client, service.settings
        model = add_model(client)["id"]
        dataset = add_dataset(client, images(LABELS, each=3))["id"]
        other = add_dataset(client, images(each=8))["id"]
        quantization = client.post(f"/v1/models/{model}/quantizations", json={"method": "rq", "weight_bits": 8})
        job = quantization.json()["id"]
        client.post(f"/v1/jobs/{job}/cancel")
        with Library(settings) as library, connect(settings) as redis:
            evaluations = [add_evaluation(library, content=arrays_file(sample_arrays())).id for _ in range(2)]
            explanation = add_explanation(library, model_id=model, files={"units.png": image()}).id
            analysis = add_analysis(library, explanation=explanation).id
            fixtures = TranslatorFixtures(client, library, redis, JobQueue(redis, settings))
            trained = fixtures.add_trained()
            uploaded = fixtures.add_uploaded()
            generator = trained.model_ids[Direction.A2B]
            domains = fixtures.id("sets")
        self._ids = {
            "model_id": [model, generator],
            "dataset_id": [dataset, other, domains],
            "evaluation_id": evaluations,
            "explanation_id": [explanation],
            "analysis_id": [analysis],
            "translator_id": [trained.id, uploaded],
            "job_id": [job],
            "other_id": evaluations,
            "reference_id": [dataset],
            "generated_id": [other],
            "classifier_id": [model],
            "a2b_id": [generator],
            "b2a_id": [generator],
            "name": ["samples.png", "units.png"],
            "layer": ["relu"],
            "slug": ["not-found"],
        }

    def get(self, name: str, chooser: random.Random) -> str | None:
        """Return one for a field or parameter; None if there are none for it."""
        name = name.removesuffix("s") if name.endswith("_ids") else name
        known = self._ids.get(name) or self._ids.get("_".join(name.split("_")[-2:]))
        return chooser.choice(known) if known else None
