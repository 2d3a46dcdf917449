"""Analysis requests: submitted jobs and validation errors."""

from collections.abc import Callable
from typing import Any, Final

import httpx
import onnx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import AnalysisJob, Job
from faceter.contracts.models import Task
from faceter.store.library import Library
from tests.app.analysis_fixtures import DETECTS, AnalysisFixtures, with_codes, with_layer
from tests.app.http.routes.test_quantizations import Watch
from tests.app.http.test_problems import problem
from tests.workers.explanation import scenes


@pytest.fixture
def fixtures(api: httpx.Client, library: Library) -> AnalysisFixtures:
    return AnalysisFixtures(api, library)


def test_a_request_submits_a_job(api: httpx.Client, fixtures: AnalysisFixtures) -> None:
    explanation = fixtures.add_explanation("text")
    response = fixtures.post(explanation, "copy_paste", {"label": "contradiction", "tries": 50})
    assert response.status_code == 202, response.text
    job = Job.model_validate_json(response.text)
    assert isinstance(job.specification, AnalysisJob)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status) == ("analysis", "queued")
    assert job.specification.uses == [
        explanation,
        fixtures.resources.id("word net"),
        fixtures.resources.id("sentences"),
    ]
    stored = job.specification.request.model_dump(mode="json")
    assert stored == {"kind": "copy_paste", "label": "contradiction", "units": 10, "tries": 50, "seed": 0}
    assert api.get(response.headers["location"]).json() == response.json()
    assert {name: api.get(job.links[name]).json()["id"] for name in ("explanation", "model", "dataset")} == {
        "explanation": explanation,
        "model": fixtures.resources.id("word net"),
        "dataset": fixtures.resources.id("sentences"),
    }


@pytest.mark.parametrize(
    ("setup", "kind", "payload"),
    [
        ({}, "abstractions", {}),
        ({}, "abstractions", {"taxonomy": {"things": ["car", "tree"], "none": []}, "related_from": -1}),
        ({"about": "text"}, "abstractions", {"embedding": {"a": [0.5, 1], "b": [2, 0]}}),
        ({"about": "signals"}, "abstractions", {}),
        ({"about": "text"}, "interpretability", {"min_samples": 2}),
        ({"about": "signals", "labelled": True}, "interpretability", {}),
        ({}, "interpretability", {"dataset_id": "@colored images"}),
        ({"metadata": DETECTS}, "interpretability", {"dataset_id": "@colored boxes"}),
        ({}, "copy_paste", {"label": "sky"}),
        ({"weights": False}, "copy_paste", {"label": "sky"}),
        ({"metadata": DETECTS}, "copy_paste", {"label": "sky"}),
        ({"about": "text"}, "copy_paste", {"label": "neutral"}),
        ({}, "drift", {"model_ids": ["@color net"]}),
        ({"about": "text"}, "drift", {"model_ids": ["@word net"]}),
        ({"about": "signals", "formulas": False}, "drift", {"model_ids": ["@peak net"]}),
        ({"about": "text", "dataset": "long sentences", "cut": True}, "drift", {"model_ids": ["@word net"]}),
    ],
)
def test_valid_requests(fixtures: AnalysisFixtures, setup: dict[str, Any], kind: str, payload: dict[str, Any]) -> None:
    response = fixtures.post(fixtures.add_explanation(**setup), kind, payload)
    assert response.status_code == 202, response.text


INVALID, KIND, MISMATCH, METHOD = (
    ProblemKind.INVALID_REQUEST,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.DATASET_MISMATCH,
    ProblemKind.METHOD_NOT_APPLICABLE,
)
OTHER: Final = {"task": Task.OTHER}
TEXT: Final = {"about": "text"}
SIGNALS: Final = {"about": "signals"}
COLORED: Final = {"dataset_id": "@colored images"}

BAD: list[tuple[dict[str, Any], str, dict[str, Any], ProblemKind, str, str]] = [
    ({}, "best", {}, INVALID, "kind", "one of 'abstractions', 'interpretability', 'copy_paste', 'drift'"),
    ({}, "abstractions", {"model_ids": []}, INVALID, "model_ids", "no field"),
    ({}, "abstractions", {"related_from": 2}, INVALID, "related_from", "less than or equal to 1"),
    ({}, "abstractions", {"taxonomy": {"a": [1]}}, INVALID, "taxonomy.a.0", "string"),
    ({}, "abstractions", {"taxonomy": {"a": ["b"]}, "embedding": {"b": [1]}}, INVALID, "embedding", "one of them"),
    ({}, "abstractions", {"taxonomy": {}}, INVALID, "taxonomy", "names no concept"),
    ({}, "abstractions", {"taxonomy": {"a": []}}, INVALID, "taxonomy", "names no concept"),
    ({}, "abstractions", {"embedding": {}}, INVALID, "embedding", "has no vectors"),
    ({}, "abstractions", {"embedding": {"a": []}}, INVALID, "embedding.a", "is empty"),
    ({}, "abstractions", {"embedding": {"a": [1], "b": []}}, INVALID, "embedding.b", "is empty"),
    ({}, "abstractions", {"embedding": {"a": [1], "b": [1, 2]}}, INVALID, "embedding.b", "2 numbers, that of 'a' 1"),
    ({"formulas": False}, "abstractions", {}, INVALID, "explanation_id", "No unit of exp_"),
    ({**TEXT, "formulas": False}, "interpretability", {}, INVALID, "explanation_id", "nothing to analyse"),
    ({**TEXT, "formulas": False}, "copy_paste", {"label": "neutral"}, INVALID, "explanation_id", "more concepts"),
    ({}, "interpretability", {"min_samples": 1}, INVALID, "min_samples", "greater than or equal to 2"),
    ({}, "interpretability", {"dataset_id": "dts_none"}, INVALID, "dataset_id", "no dataset 'dts_none'"),
    ({}, "interpretability", {}, MISMATCH, "dataset_id", "of kind images"),
    ({"metadata": DETECTS}, "interpretability", {}, MISMATCH, "dataset_id", "of kind detection"),
    ({**TEXT, "labelled": False}, "interpretability", {}, MISMATCH, "dataset_id", "has no labels"),
    (
        {**TEXT, "labelled": False, "metadata": OTHER},
        "interpretability",
        {},
        MISMATCH,
        "dataset_id",
        "is other, so it is not known what it predicts correctly",
    ),
    (SIGNALS, "interpretability", {}, MISMATCH, "dataset_id", "Upload it again as a classifier"),
    (TEXT, "interpretability", COLORED, INVALID, "dataset_id", "Leave it out"),
    (SIGNALS, "interpretability", COLORED, INVALID, "dataset_id", "Leave it out"),
    ({}, "interpretability", {"dataset_id": "@boxes"}, KIND, "dataset_id", "image_classification needs images"),
    ({}, "interpretability", {"dataset_id": "@streets"}, KIND, "dataset_id", "is of kind concepts"),
    ({"metadata": DETECTS}, "interpretability", COLORED, KIND, "dataset_id", "object_detection needs detection"),
    (
        {"metadata": {"task": Task.OBJECT_DETECTION}},
        "interpretability",
        {"dataset_id": "@colored boxes"},
        MISMATCH,
        "dataset_id",
        "no `detection`",
    ),
    ({"metadata": OTHER}, "interpretability", COLORED, MISMATCH, "dataset_id", "is other, so it is not known which"),
    ({}, "interpretability", {"dataset_id": "@plain images"}, MISMATCH, "dataset_id", "has no labels"),
    ({}, "interpretability", {"dataset_id": "@images"}, MISMATCH, "dataset_id", "no labels of the model: 'cat'"),
    ({"metadata": DETECTS}, "interpretability", {"dataset_id": "@boxes"}, MISMATCH, "dataset_id", "'cat'"),
    ({}, "copy_paste", {}, INVALID, "label", "required"),
    ({}, "copy_paste", {"label": "sky", "tries": 9}, INVALID, "tries", "greater than or equal to 10"),
    ({}, "copy_paste", {"label": "ca"}, INVALID, "label", "no label 'ca'. Similar labels: 'car'"),
    ({}, "copy_paste", {"label": "CAR"}, INVALID, "label", "Similar labels: 'car'"),
    ({}, "copy_paste", {"label": "house"}, INVALID, "label", "Its labels are 'car', 'tree', 'sky'"),
    ({"metadata": {"labels": None}}, "copy_paste", {"label": "sky"}, METHOD, "kind", "no `labels`"),
    ({"metadata": OTHER}, "copy_paste", {"label": "sky"}, METHOD, "kind", "a detector with `detection`"),
    (
        {"metadata": {"task": Task.OBJECT_DETECTION}},
        "copy_paste",
        {"label": "sky"},
        METHOD,
        "kind",
        "no class to change predictions to",
    ),
    ({**TEXT, "metadata": OTHER}, "copy_paste", {"label": "neutral"}, METHOD, "kind", "again as a classifier,"),
    (SIGNALS, "copy_paste", {"label": "wave"}, METHOD, "kind", "not for signals"),
    (
        {**TEXT, "weights": False},
        "copy_paste",
        {"label": "neutral"},
        METHOD,
        "kind",
        "The layer 'hidden' does not feed the last linear layer",
    ),
    ({}, "drift", {"model_ids": []}, INVALID, "model_ids", "at least 1 item"),
    ({}, "drift", {"model_ids": ["mdl_none"]}, INVALID, "model_ids.0", "no model 'mdl_none'"),
    ({}, "drift", {"model_ids": ["@color net", "mdl_none"]}, INVALID, "model_ids.1", "no model 'mdl_none'"),
    ({}, "drift", {"model_ids": ["@color net", "@color net"]}, INVALID, "model_ids.1", "is given twice"),
    ({}, "drift", {"model_ids": ["@color net", "@net"]}, INVALID, "model_ids.1", "no common origin"),
    (TEXT, "drift", {"model_ids": ["@color net"]}, INVALID, "model_ids.0", "their inputs differ"),
    ({**TEXT, "dataset": "long sentences"}, "drift", {"model_ids": ["@word net"]}, MISMATCH, "model_ids.0", "takes 8"),
]


@pytest.mark.parametrize(("setup", "kind", "payload", "problem_kind", "field", "sentence"), BAD)
def test_invalid_requests_submit_no_job(
    fixtures: AnalysisFixtures,
    unchanged: Watch,
    setup: dict[str, Any],
    kind: str,
    payload: dict[str, Any],
    problem_kind: ProblemKind,
    field: str,
    sentence: str,
) -> None:
    explanation = fixtures.add_explanation(**setup)
    fixtures.resources.resolve(payload)
    with unchanged():
        document = problem(fixtures.post(explanation, kind, payload), problem_kind)
    assert [error.field for error in document.errors] == [field]
    assert sentence in document.detail


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"model_ids": ["mdl_1"]}', "kind"),
        ('{"kind": ["drift"], "model_ids": ["mdl_1"]}', "kind"),
        ('{"kind": "drift", "model_ids": [7]}', "model_ids.0"),
        ('{"kind": "drift", "drift": 7, "model_ids": ["mdl_1"]}', "drift"),
        ('{"kind": "abstractions", "embedding": {"car": [1, NaN]}}', "embedding.car.1"),
        ('{"kind": "abstractions", "embedding": {"car": [1e999]}}', "embedding.car.0"),
        ("[]", "body"),
        ("3", "body"),
    ],
)
def test_bodies_without_a_valid_kind(api: httpx.Client, fixtures: AnalysisFixtures, body: str, field: str) -> None:
    address = f"/v1/explanations/{fixtures.add_explanation()}/analyses"
    document = problem(
        api.post(address, content=body, headers={"Content-Type": "application/json"}), ProblemKind.INVALID_REQUEST
    )
    assert [error.field for error in document.errors] == [field]


def test_an_unknown_explanation(api: httpx.Client, fixtures: AnalysisFixtures) -> None:
    document = problem(fixtures.post("exp_none", "abstractions", {}), ProblemKind.NOT_FOUND)
    assert "no explanation 'exp_none'" in document.detail
    problem(api.get("/v1/explanations/exp_none/analyses"), ProblemKind.NOT_FOUND)


@pytest.mark.parametrize(("name", "noun"), [("color net", "model"), ("streets", "dataset")])
def test_deleted_model_or_dataset_of_the_explanation(
    api: httpx.Client, fixtures: AnalysisFixtures, name: str, noun: str
) -> None:
    explanation, id = fixtures.add_explanation(), fixtures.resources.id(name)
    api.delete(f"/v1/{'models' if noun == 'model' else 'datasets'}/{id}")
    document = problem(fixtures.post(explanation, "abstractions", {}), INVALID)
    assert [error.field for error in document.errors] == ["explanation_id"]
    assert f"The {noun} {id} that {explanation} was made with has been deleted since" in document.detail
    assert "Upload it again" in document.detail


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        (with_layer, None),
        (with_codes, None),
        (lambda: with_layer("colours"), "no tensor 'colors'. Similar names: 'colours'. Drift compares layers of equal"),
        (lambda: with_layer(units=5), "units it has in"),
    ],
)
def test_layers_of_other_models(
    fixtures: AnalysisFixtures, graph: Callable[[], onnx.ModelProto], sentence: str | None
) -> None:
    explanation, other = fixtures.add_explanation(), fixtures.add_model(graph())
    response = fixtures.post(explanation, "drift", {"model_ids": [other]})
    if sentence is None:
        assert response.status_code == 202, response.text
        assert other in response.json()["specification"]["request"]["model_ids"]
    else:
        document = problem(response, INVALID)
        assert [error.field for error in document.errors] == ["model_ids.0"]
        assert sentence in document.detail


def test_models_derived_from_one(fixtures: AnalysisFixtures, library: Library) -> None:
    explanation, explained = fixtures.add_explanation(), fixtures.resources.id("color net")
    like = library.models.get(explained)
    inputs = [like.inputs[0].model_copy(update={"shape": [1, 3, scenes.SIDE, scenes.SIDE]})]

    def made(origin: str) -> str:
        return fixtures.add_model(with_layer(), derived_from_id=origin, inputs=inputs)

    child = made(explained)
    grandchild = made(child)
    stranger = made("mdl_deleted")
    assert fixtures.post(explanation, "drift", {"model_ids": [child, grandchild]}).status_code == 202
    document = problem(fixtures.post(explanation, "drift", {"model_ids": [child, stranger, grandchild]}), INVALID)
    assert [error.field for error in document.errors] == ["model_ids.1"]
    library.models.replace(like.model_copy(update={"derived_from_id": "mdl_deleted"}))
    assert fixtures.post(explanation, "drift", {"model_ids": [stranger]}).status_code == 202


def test_inputs_of_a_job_are_not_deleted(api: httpx.Client, fixtures: AnalysisFixtures) -> None:
    explanation, other = fixtures.add_explanation(), fixtures.add_model(with_layer())
    job = fixtures.post(explanation, "drift", {"model_ids": [other]}).json()
    addresses = [
        f"/v1/explanations/{explanation}",
        f"/v1/models/{other}",
        f"/v1/models/{fixtures.resources.id('color net')}",
        f"/v1/datasets/{fixtures.resources.id('streets')}",
    ]
    for address in addresses:
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    api.post(job["actions"]["cancel"])
    for address in addresses:
        assert api.delete(address).status_code == 204


def test_rerun(api: httpx.Client, fixtures: AnalysisFixtures) -> None:
    explanation = fixtures.add_explanation("text")
    job = fixtures.post(explanation, "copy_paste", {"label": "neutral", "seed": 3}).json()
    problem(api.post(f"/v1/jobs/{job['id']}/rerun"), ProblemKind.JOB_NOT_ENDED)
    api.post(job["actions"]["cancel"])
    again = api.post(f"/v1/jobs/{job['id']}/rerun")
    assert again.status_code == 202, again.text
    assert again.json()["id"] != job["id"]
    assert again.json()["specification"] == job["specification"]
    api.post(again.json()["actions"]["cancel"])
    api.delete(f"/v1/datasets/{fixtures.resources.id('sentences')}")
    assert "has been deleted since" in problem(api.post(f"/v1/jobs/{job['id']}/rerun"), INVALID).detail
    api.delete(f"/v1/explanations/{explanation}")
    problem(api.post(f"/v1/jobs/{job['id']}/rerun"), ProblemKind.NOT_FOUND)


def test_jobs_of_a_model_and_of_a_dataset(api: httpx.Client, fixtures: AnalysisFixtures) -> None:
    of_images = fixtures.post(fixtures.add_explanation(), "abstractions", {}).json()["id"]
    of_words = fixtures.post(fixtures.add_explanation("text"), "abstractions", {}).json()["id"]

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert ids(kind="analysis") == [of_words, of_images]
    assert ids(kind="explanation") == []
    assert ids(dataset_id=fixtures.resources.id("streets")) == [of_images]
    assert ids(model_id=fixtures.resources.id("word net")) == [of_words]


def test_the_same_key_makes_one_job(fixtures: AnalysisFixtures) -> None:
    explanation, key = fixtures.add_explanation(), {"Idempotency-Key": "once"}
    first, second = (fixtures.post(explanation, "abstractions", {}, **key) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["location"] == first.headers["location"]
    problem(fixtures.post(explanation, "abstractions", {"related_from": 0.5}, **key), ProblemKind.IDEMPOTENCY_MISMATCH)
    other = fixtures.add_explanation()
    problem(fixtures.post(other, "abstractions", {}, **key), ProblemKind.IDEMPOTENCY_MISMATCH)
