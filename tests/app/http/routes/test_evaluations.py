"""Asking for an evaluation: jobs that are made, and everything that is said to be wrong before one is."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.services.evaluations.estimate import Estimate, estimate, largest_subsample
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import EvaluationJob, Job
from faceter.contracts.settings import Settings
from tests.app.http.routes.test_quantizations import Watch
from tests.app.http.test_problems import problem
from tests.app.shelf import Shelf, vectors
from tests.app.uploads import add_dataset


@pytest.fixture
def shelf(api: httpx.Client) -> Shelf:
    return Shelf(api)


BROUGHT = {"reference_id": "@real", "generated_id": "@made"}


def described(tensor: str = "f", model: str = "@net", **more: Any) -> dict[str, Any]:
    return {
        "reference_id": "@images",
        "generated_id": "@plain images",
        "features": {"model_id": model, "tensor": tensor},
        **more,
    }


def of_signals(**more: Any) -> dict[str, Any]:
    features = {"model_id": "@signal net", "tensor": "p"}
    return {"reference_id": "@signals", "generated_id": "@signals", "features": features, **more}


def test_a_request_becomes_a_job(api: httpx.Client, shelf: Shelf) -> None:
    said = shelf.request(
        described(
            metrics=["coverage", "inception_score", "coverage"],
            k=[3, 5, 3],
            classifier_id="@net",
            per_class=False,
            bootstrap=50,
            subsample=7,
            seed=9,
            name=" gan ",
        )
    )
    response = api.post("/v1/evaluations", json=said)
    assert response.status_code == 202, response.text
    job = Job.model_validate_json(response.text)
    assert isinstance(job.specification, EvaluationJob)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status) == ("evaluation", "queued")
    assert set(job.specification.uses) == {shelf.id(name) for name in ("images", "plain images", "net")}
    kept = job.specification.request.model_dump(mode="json")
    assert kept == {**said, "name": "gan"}
    assert api.get(response.headers["location"]).json() == response.json()


def test_links_of_the_job_lead_to_its_datasets(api: httpx.Client, shelf: Shelf) -> None:
    job = api.post("/v1/evaluations", json=shelf.request(BROUGHT)).json()
    assert api.get(job["links"]["reference_id"]).json()["id"] == shelf.id("real")
    assert api.get(job["links"]["generated_id"]).json()["id"] == shelf.id("made")
    assert "model" not in job["links"]


@pytest.mark.parametrize(
    "said",
    [
        BROUGHT,
        {**BROUGHT, "k": 11},
        {**BROUGHT, "k": [5, 5, 11]},
        {**BROUGHT, "reference_id": "@made"},
        {**BROUGHT, "metrics": ["fid"], "subsample": 6},
        {"reference_id": "@pets", "generated_id": "@cats", "per_class": True},
        described(),
        described("image"),
        described("c"),
        described("logits", classifier_id="@net"),
        described("f", "@for four"),
        described("flat", "@odd"),
        described("sums", "@odd"),
        of_signals(),
        of_signals(classifier_id="@signal net"),
        of_signals(generated_id="@longer", features={"model_id": "@any signal net", "tensor": "c"}),
    ],
)
def test_what_is_taken(api: httpx.Client, shelf: Shelf, said: dict[str, Any]) -> None:
    response = api.post("/v1/evaluations", json=shelf.request(said))
    assert response.status_code == 202, response.text


INVALID, KIND, MISMATCH, OPERATOR = (
    ProblemKind.INVALID_REQUEST,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.DATASET_MISMATCH,
    ProblemKind.UNSUPPORTED_OPERATOR,
)

BAD: list[tuple[dict[str, Any], ProblemKind, str, str]] = [
    ({"generated_id": "@made"}, INVALID, "reference_id", "required"),
    ({**BROUGHT, "reference_id": "dts_none"}, INVALID, "reference_id", "no dataset 'dts_none'"),
    ({**BROUGHT, "generated_id": ""}, INVALID, "generated_id", "no dataset ''"),
    ({**BROUGHT, "generated_id": "@wide"}, MISMATCH, "generated_id", "have 5 values each"),
    ({**BROUGHT, "metrics": []}, INVALID, "metrics", "at least 1 item"),
    ({**BROUGHT, "metrics": ["fidelity"]}, INVALID, "metrics.0", "'density', 'coverage'"),
    ({**BROUGHT, "k": 0}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**BROUGHT, "k": []}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**BROUGHT, "k": [3, "many"]}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**BROUGHT, "k": 12}, INVALID, "k", "has 12 samples, too few for k: k = 12 needs 12 others"),
    ({**BROUGHT, "k": [3, 25]}, INVALID, "k", "Take a k of 11 at most"),
    ({**BROUGHT, "generated_id": "@few", "k": 2}, INVALID, "generated_id", "has 5 samples, too few"),
    ({**BROUGHT, "reference_id": "@few", "k": 9}, INVALID, "reference_id", "Upload 10 at least"),
    ({**BROUGHT, "subsample": 5, "k": 1}, INVALID, "subsample", "subsample` of 5 is too small"),
    ({**BROUGHT, "subsample": 8, "k": 8}, INVALID, "subsample", "Take 9 at least"),
    ({**BROUGHT, "subsample": 0}, INVALID, "subsample", "greater than or equal to 1"),
    ({**BROUGHT, "bootstrap": -1}, INVALID, "bootstrap", "greater than or equal to 0"),
    ({**BROUGHT, "bootstrap": 10**6}, INVALID, "bootstrap", "less than or equal to 10000"),
    ({**BROUGHT, "seed": -1}, INVALID, "seed", "greater than or equal to 0"),
    ({**BROUGHT, "name": "a\0b"}, INVALID, "name", "printable"),
    ({**BROUGHT, "name": "  "}, INVALID, "name", "printable"),
    ({**BROUGHT, "metric": "fid"}, INVALID, "metric", "no field"),
    ({**BROUGHT, "generated_id": "@images"}, KIND, "generated_id", "the real one, of features"),
    ({"reference_id": "@boxes", "generated_id": "@boxes"}, KIND, "reference_id", "compare images, signals, features"),
    ({**BROUGHT, "features": {"model_id": "@net", "tensor": "f"}}, INVALID, "features", "Leave `features` out"),
    ({**BROUGHT, "classifier_id": "@net"}, INVALID, "classifier_id", "which no classifier takes"),
    ({**BROUGHT, "metrics": ["inception_score"]}, INVALID, "metrics", "Leave it out of `metrics`"),
    ({**BROUGHT, "per_class": True}, MISMATCH, "per_class", "has no labels"),
    (
        {"reference_id": "@pets", "generated_id": "@birds", "per_class": True},
        MISMATCH,
        "per_class",
        "'emu', 'owl' here",
    ),
    (described(features=None), INVALID, "features", "name a `model`"),
    (described(features={"model_id": "@net"}), INVALID, "features.tensor", "required"),
    (described(model="mdl_none"), INVALID, "features.model_id", "no model 'mdl_none'"),
    (described(model="@bare"), MISMATCH, "features.model_id", "or name another model"),
    (described("p", "@signal net"), KIND, "features.model_id", "the model takes signals"),
    (of_signals(features={"model_id": "@net", "tensor": "f"}), KIND, "features.model_id", "the model takes images"),
    (of_signals(reference_id="@longer", generated_id="@longer"), MISMATCH, "features.model_id", "[1, 65]"),
    (of_signals(generated_id="@longer"), MISMATCH, "generated_id", "[1, 65]"),
    (described("logit"), INVALID, "features.tensor", "no tensor 'logit'. Near it: 'logits'"),
    (described("avgpool"), INVALID, "features.tensor", "/graph lists those there are"),
    (described("w1"), INVALID, "features.tensor", "is a weight"),
    (described("squares", "@odd"), INVALID, "features.tensor", "is a weight"),
    (described("winner", "@odd"), INVALID, "features.tensor", "is int64; features are floats"),
    (described("turned", "@odd"), INVALID, "features.tensor", "is [3, 7, 8, 8] for 7 samples"),
    (
        described("totals", "@odd"),
        INVALID,
        "features.tensor",
        "is [192] for 7 samples: its first axis is not that of the samples",
    ),
    (described("mean", "@odd"), INVALID, "features.tensor", "its first axis is not that of the samples"),
    (described("flat", "@with if"), OPERATOR, "features.model_id", "does not know the operator If"),
    (described(metrics=["inception_score"]), INVALID, "classifier_id", "needs a `classifier_id`"),
    (described(metrics=["fid"], classifier_id="@net"), INVALID, "classifier_id", "leaves out"),
    (described(classifier_id="mdl_none"), INVALID, "classifier_id", "no model 'mdl_none'"),
    (described(classifier_id="@bare"), MISMATCH, "classifier_id", "preprocessing"),
    (described(classifier_id="@signal net"), KIND, "classifier_id", "the model takes signals"),
    (described(classifier_id="@detector"), INVALID, "classifier_id", "is for object_detection"),
    (described(classifier_id="@translator"), INVALID, "classifier_id", "is for image_translation"),
    (described(classifier_id="@one class"), INVALID, "classifier_id", "'score' of "),
    (described(classifier_id="@numbers"), INVALID, "classifier_id", "is int64 [batch, 3]"),
    (described(classifier_id="@of rank 4"), INVALID, "classifier_id", "[3, batch, 8, 8]"),
    (described(classifier_id="@with if"), OPERATOR, "classifier_id", "inception score does not know the operator If"),
]


@pytest.mark.parametrize(("said", "kind", "field", "words"), BAD)
def test_what_is_wrong_is_said_and_makes_no_job(
    api: httpx.Client, shelf: Shelf, unchanged: Watch, said: dict[str, Any], kind: ProblemKind, field: str, words: str
) -> None:
    request = shelf.request(said)
    with unchanged():
        document = problem(api.post("/v1/evaluations", json=request), kind)
    assert [error.field for error in document.errors] == [field]
    assert words in document.detail


def test_too_much_memory(
    start_server: Callable[[Settings], httpx.Client], settings: Settings, shelf: Shelf, unchanged: Watch
) -> None:
    least = 512 * 1024**2
    small = start_server(settings.model_copy(update={"max_evaluation_bytes": least + 1400}))
    request = shelf.request(BROUGHT)
    with unchanged():
        document = problem(small.post("/v1/evaluations", json=request), INVALID)
    assert [error.field for error in document.errors] == ["subsample"]
    for words in ("0.50 GiB", "Give a `subsample` of 8 at most", "20 generated against 12 real", "by 5 values"):
        assert words in document.detail
    assert small.post("/v1/evaluations", json={**request, "subsample": 8}).status_code == 202
    problem(small.post("/v1/evaluations", json={**request, "subsample": 9}), INVALID)
    tiny = start_server(settings.model_copy(update={"max_evaluation_bytes": least}))
    words = problem(tiny.post("/v1/evaluations", json=request), INVALID).detail
    assert "subsample" not in words
    assert "FACETER_MAX_EVALUATION_BYTES" in words


def test_too_much_time(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"job_timeout_seconds": 1}))
    request = {
        "reference_id": add_dataset(api, vectors(499, 2), "features")["id"],
        "generated_id": add_dataset(api, vectors(900, 2), "features")["id"],
    }
    words = problem(api.post("/v1/evaluations", json=request), INVALID).detail
    assert "Give a `subsample` of 500 at most" in words
    assert "FACETER_JOB_TIMEOUT_SECONDS" in words
    assert api.post("/v1/evaluations", json={**request, "subsample": 500}).status_code == 202


def test_the_width_of_a_tensor_counts(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    wide = estimate(9, 8, 192).bytes
    api = start_server(settings.model_copy(update={"max_evaluation_bytes": wide - 1}))
    shelf = Shelf(api)
    assert (
        "by 192 values"
        in problem(api.post("/v1/evaluations", json=shelf.request(described("flat", "@odd"))), INVALID).detail
    )
    assert api.post("/v1/evaluations", json=shelf.request(described("logits", "@odd"))).status_code == 202
    assert api.post("/v1/evaluations", json=shelf.request(described("image", "@odd"))).status_code == 202


def test_the_estimate_is_what_it_says() -> None:
    found = estimate(10_000, 20_000, 2048)
    assert found.bytes == 4 * 2048 * 30_000 + 64 * 30_000 + 512 * 2**20
    assert found.seconds == pytest.approx(2 * 2048 * (2e8 + 0.5e8 + 2e8) / 10e9 + 30)
    for most in (1, 6, 9_999, 10_000, 15_000, 20_000):
        limit = estimate(min(10_000, most), most, 2048).bytes

        def fits(taken: Estimate, limit: int = limit) -> bool:
            return taken.bytes <= limit

        assert largest_subsample(10_000, 20_000, 2048, fits) == most
    assert largest_subsample(10, 20, 5, lambda taken: False) == 0


def test_what_a_job_reads_is_not_deleted(api: httpx.Client, shelf: Shelf) -> None:
    job = api.post("/v1/evaluations", json=shelf.request(described(classifier_id="@odd"))).json()
    addresses = [f"/v1/datasets/{shelf.id(name)}" for name in ("images", "plain images")]
    addresses += [f"/v1/models/{shelf.id(name)}" for name in ("net", "odd")]
    for address in addresses:
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    api.delete(job["links"]["self"])
    for address in addresses:
        assert api.delete(address).status_code == 204


def test_rerun(api: httpx.Client, shelf: Shelf) -> None:
    job = api.post("/v1/evaluations", json=shelf.request({**BROUGHT, "seed": 3})).json()
    problem(api.post(job["links"]["rerun"]), ProblemKind.JOB_NOT_ENDED)
    api.delete(job["links"]["self"])
    again = api.post(job["links"]["rerun"])
    assert again.status_code == 202, again.text
    assert again.json()["id"] != job["id"]
    assert again.json()["specification"] == job["specification"]
    api.delete(again.json()["links"]["self"])
    api.delete(f"/v1/datasets/{shelf.id('made')}")
    document = problem(api.post(job["links"]["rerun"]), INVALID)
    assert [error.field for error in document.errors] == ["generated_id"]


def test_jobs_of_a_dataset(api: httpx.Client, shelf: Shelf) -> None:
    of_features = api.post("/v1/evaluations", json=shelf.request(BROUGHT)).json()["id"]
    of_images = api.post("/v1/evaluations", json=shelf.request(described())).json()["id"]

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert ids(kind="evaluation") == [of_images, of_features]
    assert ids(kind="quantization") == []
    assert ids(dataset_id=shelf.id("made")) == [of_features]
    assert ids(model_id=shelf.id("net")) == [of_images]
    assert ids(model_id=shelf.id("net"), dataset_id=shelf.id("images")) == [of_images]
    assert ids(model_id=shelf.id("net"), dataset_id=shelf.id("made")) == []


def test_the_same_key_makes_one_job(api: httpx.Client, shelf: Shelf) -> None:
    request, headers = shelf.request(BROUGHT), {"Idempotency-Key": "once"}
    first, second = (api.post("/v1/evaluations", json=request, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["location"] == first.headers["location"]
    other = api.post("/v1/evaluations", json={**request, "k": 3}, headers=headers)
    problem(other, ProblemKind.IDEMPOTENCY_MISMATCH)
