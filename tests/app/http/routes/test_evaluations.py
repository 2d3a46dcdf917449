"""Evaluation requests: submitted jobs and validation errors."""

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
from tests.app.named_resources import NamedResources, vectors
from tests.app.uploads import add_dataset


@pytest.fixture
def resources(api: httpx.Client) -> NamedResources:
    return NamedResources(api)


FEATURE_DATASETS = {"reference_id": "@real", "generated_id": "@made"}


def with_extractor(tensor: str = "f", model: str = "@net", **more: Any) -> dict[str, Any]:
    return {
        "reference_id": "@images",
        "generated_id": "@plain images",
        "features": {"model_id": model, "tensor": tensor},
        **more,
    }


def signal_request(**more: Any) -> dict[str, Any]:
    features = {"model_id": "@signal net", "tensor": "p"}
    return {"reference_id": "@signals", "generated_id": "@signals", "features": features, **more}


def test_a_request_submits_a_job(api: httpx.Client, resources: NamedResources) -> None:
    payload = resources.resolve(
        with_extractor(
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
    response = api.post("/v1/evaluations", json=payload)
    assert response.status_code == 202, response.text
    job = Job.model_validate_json(response.text)
    assert isinstance(job.specification, EvaluationJob)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status) == ("evaluation", "queued")
    assert set(job.specification.uses) == {resources.id(name) for name in ("images", "plain images", "net")}
    stored = job.specification.request.model_dump(mode="json")
    features = {**payload["features"], "input_shapes": None}
    assert stored == {**payload, "features": features, "name": "gan"}
    assert api.get(response.headers["location"]).json() == response.json()


def test_links_of_the_job_lead_to_its_datasets(api: httpx.Client, resources: NamedResources) -> None:
    job = api.post("/v1/evaluations", json=resources.resolve(FEATURE_DATASETS)).json()
    assert api.get(job["links"]["reference"]).json()["id"] == resources.id("real")
    assert api.get(job["links"]["generated"]).json()["id"] == resources.id("made")
    assert "model" not in job["links"]


@pytest.mark.parametrize(
    "payload",
    [
        FEATURE_DATASETS,
        {**FEATURE_DATASETS, "k": 11},
        {**FEATURE_DATASETS, "k": [5, 5, 11]},
        {**FEATURE_DATASETS, "reference_id": "@made"},
        {**FEATURE_DATASETS, "metrics": ["fid"], "subsample": 6},
        {"reference_id": "@pets", "generated_id": "@cats", "per_class": True},
        with_extractor(),
        with_extractor("image"),
        with_extractor("c"),
        with_extractor("logits", classifier_id="@net"),
        with_extractor("f", "@for four"),
        with_extractor("flat", "@odd"),
        with_extractor("sums", "@odd"),
        signal_request(),
        signal_request(classifier_id="@signal net"),
        signal_request(generated_id="@longer", features={"model_id": "@any signal net", "tensor": "c"}),
    ],
)
def test_valid_requests(api: httpx.Client, resources: NamedResources, payload: dict[str, Any]) -> None:
    response = api.post("/v1/evaluations", json=resources.resolve(payload))
    assert response.status_code == 202, response.text


INVALID, KIND, MISMATCH, OPERATOR = (
    ProblemKind.INVALID_REQUEST,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.DATASET_MISMATCH,
    ProblemKind.UNSUPPORTED_OPERATOR,
)

BAD: list[tuple[dict[str, Any], ProblemKind, str, str]] = [
    ({"generated_id": "@made"}, INVALID, "reference_id", "required"),
    ({**FEATURE_DATASETS, "reference_id": "dts_none"}, INVALID, "reference_id", "no dataset 'dts_none'"),
    ({**FEATURE_DATASETS, "generated_id": ""}, INVALID, "generated_id", "no dataset ''"),
    ({**FEATURE_DATASETS, "generated_id": "@wide"}, MISMATCH, "generated_id", "have 5 values each"),
    ({**FEATURE_DATASETS, "metrics": []}, INVALID, "metrics", "at least 1 item"),
    ({**FEATURE_DATASETS, "metrics": ["fidelity"]}, INVALID, "metrics.0", "'density', 'coverage'"),
    ({**FEATURE_DATASETS, "k": 0}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**FEATURE_DATASETS, "k": []}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**FEATURE_DATASETS, "k": [3, "many"]}, INVALID, "k", "a whole number from 1 to 1000, or a list"),
    ({**FEATURE_DATASETS, "k": 12}, INVALID, "k", "has 12 samples, too few for k: k = 12 needs 12 other samples"),
    ({**FEATURE_DATASETS, "k": [3, 25]}, INVALID, "k", "Take a k of 11 at most"),
    ({**FEATURE_DATASETS, "generated_id": "@few", "k": 2}, INVALID, "generated_id", "has 5 samples, too few"),
    ({**FEATURE_DATASETS, "reference_id": "@few", "k": 9}, INVALID, "reference_id", "Upload at least 10"),
    ({**FEATURE_DATASETS, "subsample": 5, "k": 1}, INVALID, "subsample", "subsample` of 5 is too small"),
    ({**FEATURE_DATASETS, "subsample": 8, "k": 8}, INVALID, "subsample", "Take at least 9"),
    ({**FEATURE_DATASETS, "subsample": 0}, INVALID, "subsample", "greater than or equal to 1"),
    ({**FEATURE_DATASETS, "bootstrap": -1}, INVALID, "bootstrap", "greater than or equal to 0"),
    ({**FEATURE_DATASETS, "bootstrap": 10**6}, INVALID, "bootstrap", "less than or equal to 10000"),
    ({**FEATURE_DATASETS, "seed": -1}, INVALID, "seed", "greater than or equal to 0"),
    ({**FEATURE_DATASETS, "name": "a\0b"}, INVALID, "name", "printable"),
    ({**FEATURE_DATASETS, "name": "  "}, INVALID, "name", "printable"),
    ({**FEATURE_DATASETS, "metric": "fid"}, INVALID, "metric", "no field"),
    ({**FEATURE_DATASETS, "generated_id": "@images"}, KIND, "generated_id", "the real one, of features"),
    ({"reference_id": "@boxes", "generated_id": "@boxes"}, KIND, "reference_id", "compare images, signals, features"),
    (
        {**FEATURE_DATASETS, "features": {"model_id": "@net", "tensor": "f"}},
        INVALID,
        "features",
        "Leave `features` out",
    ),
    ({**FEATURE_DATASETS, "classifier_id": "@net"}, INVALID, "classifier_id", "which no classifier takes"),
    ({**FEATURE_DATASETS, "metrics": ["inception_score"]}, INVALID, "metrics", "Leave it out of `metrics`"),
    ({**FEATURE_DATASETS, "per_class": True}, MISMATCH, "per_class", "has no labels"),
    (
        {"reference_id": "@pets", "generated_id": "@birds", "per_class": True},
        MISMATCH,
        "per_class",
        "'emu', 'owl' here",
    ),
    (with_extractor(features=None), INVALID, "features", "set `features` to a model"),
    (with_extractor(features={"model_id": "@net"}), INVALID, "features.tensor", "required"),
    (with_extractor(model="mdl_none"), INVALID, "features.model_id", "no model 'mdl_none'"),
    (with_extractor(model="@bare"), MISMATCH, "features.model_id", "or name another model"),
    (with_extractor("p", "@signal net"), KIND, "features.model_id", "the model takes signals"),
    (signal_request(features={"model_id": "@net", "tensor": "f"}), KIND, "features.model_id", "the model takes images"),
    (signal_request(reference_id="@longer", generated_id="@longer"), MISMATCH, "features.model_id", "[1, 65]"),
    (signal_request(generated_id="@longer"), MISMATCH, "generated_id", "[1, 65]"),
    (with_extractor("logit"), INVALID, "features.tensor", "no tensor 'logit'. Similar names: 'logits'"),
    (with_extractor("avgpool"), INVALID, "features.tensor", "/graph lists all tensors"),
    (with_extractor("w1"), INVALID, "features.tensor", "is a weight"),
    (with_extractor("squares", "@odd"), INVALID, "features.tensor", "is a weight"),
    (with_extractor("winner", "@odd"), INVALID, "features.tensor", "is int64; features are floats"),
    (with_extractor("turned", "@odd"), INVALID, "features.tensor", "is [3, 7, 8, 8] for 7 samples"),
    (
        with_extractor("totals", "@odd"),
        INVALID,
        "features.tensor",
        "is [192] for 7 samples: its first axis is not that of the samples",
    ),
    (with_extractor("mean", "@odd"), INVALID, "features.tensor", "its first axis is not that of the samples"),
    (with_extractor("flat", "@with if"), OPERATOR, "features.model_id", "does not support the operator If"),
    (with_extractor(metrics=["inception_score"]), INVALID, "classifier_id", "needs a `classifier_id`"),
    (with_extractor(metrics=["fid"], classifier_id="@net"), INVALID, "classifier_id", "leaves out"),
    (with_extractor(classifier_id="mdl_none"), INVALID, "classifier_id", "no model 'mdl_none'"),
    (with_extractor(classifier_id="@bare"), MISMATCH, "classifier_id", "preprocessing"),
    (with_extractor(classifier_id="@signal net"), KIND, "classifier_id", "the model takes signals"),
    (with_extractor(classifier_id="@detector"), INVALID, "classifier_id", "is for object_detection"),
    (with_extractor(classifier_id="@translator"), INVALID, "classifier_id", "is for image_translation"),
    (with_extractor(classifier_id="@one class"), INVALID, "classifier_id", "'score' of "),
    (with_extractor(classifier_id="@numbers"), INVALID, "classifier_id", "is int64 [batch, 3]"),
    (with_extractor(classifier_id="@of rank 4"), INVALID, "classifier_id", "[3, batch, 8, 8]"),
    (
        with_extractor(classifier_id="@with if"),
        OPERATOR,
        "classifier_id",
        "inception score does not support the operator If",
    ),
]


@pytest.mark.parametrize(("payload", "kind", "field", "words"), BAD)
def test_invalid_requests_submit_no_job(
    api: httpx.Client,
    resources: NamedResources,
    unchanged: Watch,
    payload: dict[str, Any],
    kind: ProblemKind,
    field: str,
    words: str,
) -> None:
    request = resources.resolve(payload)
    with unchanged():
        document = problem(api.post("/v1/evaluations", json=request), kind)
    assert [error.field for error in document.errors] == [field]
    assert words in document.detail


def test_too_much_memory(
    start_server: Callable[[Settings], httpx.Client], settings: Settings, resources: NamedResources, unchanged: Watch
) -> None:
    least = 512 * 1024**2
    small = start_server(settings.model_copy(update={"max_evaluation_bytes": least + 1400}))
    request = resources.resolve(FEATURE_DATASETS)
    with unchanged():
        document = problem(small.post("/v1/evaluations", json=request), INVALID)
    assert [error.field for error in document.errors] == ["subsample"]
    for words in ("0.50 GiB", "Give a `subsample` of at most 8", "20 generated against 12 real", "with 5 features"):
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
    assert "Give a `subsample` of at most 500" in words
    assert "FACETER_JOB_TIMEOUT_SECONDS" in words
    assert api.post("/v1/evaluations", json={**request, "subsample": 500}).status_code == 202


def test_the_width_of_a_tensor_counts(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    wide = estimate(9, 8, 192).bytes
    api = start_server(settings.model_copy(update={"max_evaluation_bytes": wide - 1}))
    resources = NamedResources(api)
    assert (
        "with 192 features"
        in problem(api.post("/v1/evaluations", json=resources.resolve(with_extractor("flat", "@odd"))), INVALID).detail
    )
    assert api.post("/v1/evaluations", json=resources.resolve(with_extractor("logits", "@odd"))).status_code == 202
    assert api.post("/v1/evaluations", json=resources.resolve(with_extractor("image", "@odd"))).status_code == 202


def test_the_estimate_follows_its_formula() -> None:
    cost = estimate(10_000, 20_000, 2048)
    assert cost.bytes == 4 * 2048 * 30_000 + 64 * 30_000 + 512 * 2**20
    assert cost.seconds == pytest.approx(2 * 2048 * (2e8 + 0.5e8 + 2e8) / 10e9 + 30)
    for most in (1, 6, 9_999, 10_000, 15_000, 20_000):
        limit = estimate(min(10_000, most), most, 2048).bytes

        def fits(taken: Estimate, limit: int = limit) -> bool:
            return taken.bytes <= limit

        assert largest_subsample(10_000, 20_000, 2048, fits) == most
    assert largest_subsample(10, 20, 5, lambda taken: False) == 0


def test_inputs_of_a_job_are_not_deleted(api: httpx.Client, resources: NamedResources) -> None:
    job = api.post("/v1/evaluations", json=resources.resolve(with_extractor(classifier_id="@odd"))).json()
    addresses = [f"/v1/datasets/{resources.id(name)}" for name in ("images", "plain images")]
    addresses += [f"/v1/models/{resources.id(name)}" for name in ("net", "odd")]
    for address in addresses:
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    api.post(job["actions"]["cancel"])
    for address in addresses:
        assert api.delete(address).status_code == 204


def test_rerun(api: httpx.Client, resources: NamedResources) -> None:
    job = api.post("/v1/evaluations", json=resources.resolve({**FEATURE_DATASETS, "seed": 3})).json()
    problem(api.post(f"/v1/jobs/{job['id']}/rerun"), ProblemKind.JOB_NOT_ENDED)
    api.post(job["actions"]["cancel"])
    again = api.post(f"/v1/jobs/{job['id']}/rerun")
    assert again.status_code == 202, again.text
    assert again.json()["id"] != job["id"]
    assert again.json()["specification"] == job["specification"]
    api.post(again.json()["actions"]["cancel"])
    api.delete(f"/v1/datasets/{resources.id('made')}")
    document = problem(api.post(f"/v1/jobs/{job['id']}/rerun"), INVALID)
    assert [error.field for error in document.errors] == ["generated_id"]


def test_jobs_of_a_dataset(api: httpx.Client, resources: NamedResources) -> None:
    of_features = api.post("/v1/evaluations", json=resources.resolve(FEATURE_DATASETS)).json()["id"]
    of_images = api.post("/v1/evaluations", json=resources.resolve(with_extractor())).json()["id"]

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert ids(kind="evaluation") == [of_images, of_features]
    assert ids(kind="quantization") == []
    assert ids(dataset_id=resources.id("made")) == [of_features]
    assert ids(model_id=resources.id("net")) == [of_images]
    assert ids(model_id=resources.id("net"), dataset_id=resources.id("images")) == [of_images]
    assert ids(model_id=resources.id("net"), dataset_id=resources.id("made")) == []


def test_the_same_key_makes_one_job(api: httpx.Client, resources: NamedResources) -> None:
    request, headers = resources.resolve(FEATURE_DATASETS), {"Idempotency-Key": "once"}
    first, second = (api.post("/v1/evaluations", json=request, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["location"] == first.headers["location"]
    other = api.post("/v1/evaluations", json={**request, "k": 3}, headers=headers)
    problem(other, ProblemKind.IDEMPOTENCY_MISMATCH)
