"""Translators in training: state, samples and curves, and translation by the last checkpoint."""

from collections.abc import Callable

import httpx
import numpy as np
import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from app.services.translators.service import TranslatorService
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.translation_methods import Direction
from faceter.store import job_steps
from faceter.store.library import Library
from faceter.translation.archive import Archive
from tests.app.http.test_problems import problem
from tests.app.translator_fixtures import POINTS, TranslatorFixtures, pixels, points_until
from tests.app.uploads import image
from tests.store.jobs.worker_side import progress

SEEN = ("/samples", "/samples/latest/image", "/samples/2/image", "/curves", "/curves/image")
READY_ONLY = ("/content", "/files/samples.png")


@pytest.fixture
def translators(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> TranslatorFixtures:
    return TranslatorFixtures(api, library, redis, queue)


def translate(api: httpx.Client, here: str, query: str = "") -> httpx.Response:
    return api.post(f"{here}/translate{query}", files={"file": ("p.png", image())})


def test_a_translator_in_training_is_its_job(api: httpx.Client, translators: TranslatorFixtures) -> None:
    job = translators.train_cyclegan(name="dusk")
    here = job["links"]["translator"]
    found = api.get(here).json()
    assert found == {
        "id": here.rpartition("/")[2],
        "name": "dusk",
        "created_at": job["created_at"],
        "settings": job["specification"]["request"],
        "job_id": job["id"],
        "status": "queued",
        "progress": None,
        "checkpoint": False,
        "error": None,
        "links": {
            "self": here,
            "job": f"/v1/jobs/{job['id']}",
            "samples": f"{here}/samples",
            "curves": f"{here}/curves",
            "dataset": f"/v1/datasets/{translators.id('sets')}",
        },
        "actions": {"translate": f"{here}/translate"},
    }
    assert api.get("/v1/translators").json()["items"] == []


def test_no_samples_before_the_first_checkpoint(api: httpx.Client, translators: TranslatorFixtures) -> None:
    here = translators.train_cyclegan()["links"]["translator"]
    answers = [api.get(here + end) for end in SEEN + READY_ONLY]
    answers += [translate(api, here, query) for query in ("", "?checkpoint=latest", "?cycle=true")]
    for response in answers:
        document = problem(response, ProblemKind.NOT_READY)
        assert "is still in training: not started; there is no checkpoint yet" in document.detail
        assert response.json()["progress"] is None
        assert response.json()["checkpoint"] is False


def test_the_progress_is_reported(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, execution = translators.add_in_training((2,))
    job_steps.record_progress(translators.redis, execution, progress(0.25))
    here = f"/v1/translators/{id}"
    found = api.get(here).json()
    assert (found["status"], found["checkpoint"], found["progress"]["fraction"]) == ("running", True, 0.25)
    for response in (translate(api, here), *(api.get(here + end) for end in READY_ONLY)):
        document = problem(response, ProblemKind.NOT_READY)
        assert "25% done; `?checkpoint=latest` uses its last checkpoint" in document.detail
        assert f"Its job is {execution.job_id}" in document.detail
        assert response.json()["progress"]["fraction"] == 0.25
        assert response.json()["job_id"] == execution.job_id


def test_samples_and_curves_of_its_last_checkpoint(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, execution = translators.add_in_training((2,))
    here = f"/v1/translators/{id}"
    for steps in ((2,), (2, 4)):
        translators.add_checkpoint(execution, steps)
        items = api.get(f"{here}/samples").json()["items"]
        assert items == [{"step": step, "links": {"image": f"{here}/samples/{step}/image"}} for step in steps]
        for item in items:
            assert api.get(item["links"]["image"]).content == image(item["step"])
        assert api.get(f"{here}/samples/latest/image").content == image(steps[-1])
        points = [point.model_dump(mode="json") for point in points_until(steps[-1])]
        assert api.get(f"{here}/curves").json() == {"points": points}
        drawn = api.get(f"{here}/curves/image")
        assert (drawn.headers["content-type"], drawn.content) == ("image/png", image(99))


def test_translating_by_its_last_checkpoint(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, _ = translators.add_in_training((2,))
    here = f"/v1/translators/{id}"
    for direction in ("a2b", "b2a"):
        response = translate(api, here, f"?checkpoint=latest&direction={direction}")
        assert response.status_code == 200, response.text
        np.testing.assert_array_equal(pixels(response.content), 255 - pixels(image()))
        assert response.headers["faceter-model"] == f"{id} at its last checkpoint"
    assert translate(api, here, "?checkpoint=latest&cycle=true").status_code == 200


def test_a_translator_in_training_has_its_future_directions(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, _ = translators.add_in_training((2,), method="pix2pix", dataset_id="@pairs", direction="b2a")
    here = f"/v1/translators/{id}"
    assert translate(api, here, "?checkpoint=latest").headers["faceter-direction"] == "b2a"
    for query, field in (("direction=a2b", "direction"), ("cycle=true", "cycle")):
        document = problem(translate(api, here, f"?checkpoint=latest&{query}"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == [field]


def test_checkpoint_latest_of_a_ready_translator_uses_its_models(
    api: httpx.Client, translators: TranslatorFixtures
) -> None:
    record = translators.add_trained()
    here = f"/v1/translators/{record.id}"
    assert translate(api, here, "?checkpoint=latest").headers["faceter-model"] == record.model_ids[Direction.A2B]


def test_a_checkpoint_that_a_later_one_replaces_meanwhile(
    api: httpx.Client, translators: TranslatorFixtures, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, execution = translators.add_in_training((2,))
    here = f"/v1/translators/{id}"
    opening = TranslatorService.checkpoint_archive
    replaced: list[str] = []

    def late(service: TranslatorService, sha256: str) -> Archive:
        if not replaced:
            translators.add_checkpoint(execution, (2, 4))
            replaced.append(sha256)
        return opening(service, sha256)

    monkeypatch.setattr(TranslatorService, "checkpoint_archive", late)
    works: list[Callable[[], httpx.Response]] = [
        lambda: api.get(f"{here}/samples/latest/image"),
        lambda: translate(api, here, "?checkpoint=latest"),
    ]
    for work in works:
        translators.add_checkpoint(execution, (2,))
        replaced.clear()
        assert work().status_code == 200
        assert not translators.library.blobs.exists(replaced[0])


def test_a_checkpoint_that_is_lost(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, execution = translators.add_in_training()
    translators.library.blobs.delete(translators.add_checkpoint(execution, (2,)))
    here = f"/v1/translators/{id}"
    problem(api.get(f"{here}/samples"), ProblemKind.BLOB_MISSING)
    problem(translate(api, here, "?checkpoint=latest"), ProblemKind.BLOB_MISSING)


def test_a_translator_in_training_is_deleted_by_canceling_its_job(
    api: httpx.Client, translators: TranslatorFixtures
) -> None:
    id, execution = translators.add_in_training((2,))
    document = problem(api.delete(f"/v1/translators/{id}"), ProblemKind.RESOURCE_IN_USE)
    assert execution.job_id in document.detail
    api.post(f"/v1/jobs/{execution.job_id}/cancel")
    assert api.get(f"/v1/translators/{id}").json()["status"] == "canceled"
    document = problem(api.delete(f"/v1/translators/{id}"), ProblemKind.JOB_ENDED)
    assert "was canceled, and it produced no translator: there is nothing to delete" in document.detail


def test_a_failed_training_reports_its_error(api: httpx.Client, translators: TranslatorFixtures) -> None:
    id, execution = translators.add_in_training((2,))
    error = FaceterError(ProblemKind.TRAINING_DIVERGED, "Losses were not finite.")
    job_steps.fail(translators.redis, execution, error.problem())
    found = api.get(f"/v1/translators/{id}").json()
    assert (found["status"], found["checkpoint"]) == ("failed", False)
    assert found["error"]["detail"] == "Losses were not finite."
    assert found["error"]["instance"] == found["links"]["job"]
    for response in (
        translate(api, f"/v1/translators/{id}", "?checkpoint=latest"),
        api.get(f"/v1/translators/{id}/samples"),
        api.get(f"/v1/translators/{id}/content"),
    ):
        document = problem(response, ProblemKind.NOT_READY)
        assert "failed, and it produced no translator" in document.detail
        assert f"See its job {execution.job_id}, and rerun that" in document.detail


def test_the_id_of_another_kind_of_job_is_not_a_translator(api: httpx.Client, translators: TranslatorFixtures) -> None:
    payload = {"dataset_id": translators.id("streets"), "layer": "colors"}
    job = api.post(f"/v1/models/{translators.id('color net')}/explanations", json=payload).json()
    for id in ("trl_" + job["id"].removeprefix("job_"), job["id"]):
        problem(api.get(f"/v1/translators/{id}"), ProblemKind.NOT_FOUND)
        problem(api.delete(f"/v1/translators/{id}"), ProblemKind.NOT_FOUND)


def test_a_ready_translator(api: httpx.Client, translators: TranslatorFixtures) -> None:
    record = translators.add_trained(name="naïve")
    here = f"/v1/translators/{record.id}"
    found = api.get(here).json()
    links = found.pop("links")
    assert found.pop("actions") == {"translate": f"{here}/translate"}
    assert found == record.model_dump(mode="json", exclude={"links", "actions"})
    assert links["samples.png"] == f"{here}/files/samples.png"
    assert links["job"] == f"/v1/jobs/{record.job_id}"
    assert (links["a2b"], links["content"]) == (f"/v1/models/{record.model_ids[Direction.A2B]}", f"{here}/content")
    assert [item["step"] for item in api.get(f"{here}/samples").json()["items"]] == [2, 4]
    sheet = api.get(f"{here}/samples/2/image")
    assert (sheet.headers["content-type"], sheet.content) == ("image/png", image(2))
    assert api.get(f"{here}/samples/2/image", headers={"If-None-Match": sheet.headers["etag"]}).status_code == 304
    assert len(api.get(f"{here}/curves").json()["points"]) == len(POINTS)
    assert api.get(f"{here}/files/samples.png").content == image(4)
    content = api.get(f"{here}/content")
    assert (content.headers["content-type"], content.content) == (
        "application/zip",
        translators.library.blobs.read(record.sha256),
    )
    assert 'filename="na_ve.zip"' in content.headers["content-disposition"]
    document = problem(api.get(f"{here}/samples/3/image"), ProblemKind.NOT_FOUND)
    assert "no sample of step 3; the nearest is 2, the last 4" in document.detail
    for bad in ("-", "1.5", "last"):
        document = problem(api.get(f"{here}/samples/{bad}/image"), ProblemKind.INVALID_REQUEST)
        assert [error.field for error in document.errors] == ["step"]


def test_uploaded_generators_have_no_samples_or_curves(api: httpx.Client, translators: TranslatorFixtures) -> None:
    here = f"/v1/translators/{translators.add_uploaded()}"
    assert api.get(f"{here}/samples").json() == {"items": []}
    assert api.get(f"{here}/curves").json() == {"points": []}
    for response in (api.get(f"{here}/samples/latest/image"), api.get(f"{here}/curves/image")):
        assert "was not trained here" in problem(response, ProblemKind.NOT_FOUND).detail
    with Archive(translators.library.blobs.path(api.get(here).json()["sha256"])) as archive:
        assert archive.names == ["generators.json"]
