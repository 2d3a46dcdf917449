"""Explanation requests: submitted jobs and validation errors."""

from typing import Any

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import ExplanationJob, Job
from tests.app.http.routes.test_quantizations import Watch
from tests.app.http.test_problems import problem
from tests.app.named_resources import NamedResources


@pytest.fixture
def resources(api: httpx.Client) -> NamedResources:
    return NamedResources(api)


def explain(api: httpx.Client, resources: NamedResources, payload: dict[str, Any], **headers: str) -> httpx.Response:
    """Request an explanation of the model in ``payload``."""
    model = resources.resolve({"model": payload["model"]})["model"]
    request = resources.resolve({name: value for name, value in payload.items() if name != "model"})
    return api.post(f"/v1/models/{model}/explanations", json=request, headers=headers)


def images(layer: object = "colors", dataset: str = "@streets", model: str = "@color net", **more: Any) -> Any:
    return {"model": model, "dataset_id": dataset, "layer": layer, **more}


def signals(layer: object = "peaks", dataset: str = "@beats", model: str = "@peak net", **more: Any) -> Any:
    return images(layer, dataset, model, **more)


def words(layer: object = "hidden", dataset: str = "@sentences", model: str = "@word net", **more: Any) -> Any:
    return images(layer, dataset, model, **more)


NEIGHBORS = ["or", "and", "and_not", "neighbors"]


def test_a_request_submits_a_job(api: httpx.Client, resources: NamedResources) -> None:
    payload = images(
        ["colors", "mean"],
        units=[2, 0],
        search="optimal",
        max_length=4,
        beam_size=3,
        quantile=0.01,
        complexity_penalty=0.9,
        operators=["and", "or"],
        derived_concepts=["color", "position"],
        resolution=[24, 24],
        min_firings=5,
        seed=3,
        name=" all ",
    )
    response = explain(api, resources, payload)
    assert response.status_code == 202, response.text
    job = Job.model_validate_json(response.text)
    assert isinstance(job.specification, ExplanationJob)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status) == ("explanation", "queued")
    assert job.specification.uses == [resources.id("color net"), resources.id("streets")]
    stored = job.specification.request.model_dump(mode="json")
    del payload["model"]
    defaults = {"threshold": None, "cut_sentences": False, "input_shapes": None}
    assert stored == {**resources.resolve(payload), **defaults, "name": "all"}
    assert api.get(response.headers["location"]).json() == response.json()


def test_duplicates_are_removed(api: httpx.Client, resources: NamedResources) -> None:
    payload = images(["mean", "colors", "mean"], units=[2, 0, 2], derived_concepts=["color", "color"])
    stored = explain(api, resources, payload).json()["specification"]["request"]
    assert stored["layer"] == ["mean", "colors"]
    assert stored["units"] == [2, 0]
    assert stored["derived_concepts"] == ["color"]


def test_links_of_the_job_lead_to_its_model_and_its_dataset(api: httpx.Client, resources: NamedResources) -> None:
    job = explain(api, resources, images()).json()
    assert api.get(job["links"]["model"]).json()["id"] == resources.id("color net")
    assert api.get(job["links"]["dataset"]).json()["id"] == resources.id("streets")


@pytest.mark.parametrize(
    "payload",
    [
        images(),
        images("logits", units=[0, 2]),
        images(["smooth", "colors", "mean", "flat"], threshold=0),
        images(derived_concepts=["color", "position"]),
        images("c", model="@net"),
        images("flat", model="@odd"),
        images("c", model="@for four"),
        images("flat", model="@with if"),
        images("c", "@Red things", "@net", derived_concepts=["position"]),
        signals(),
        signals(["smooth", "logits"], derived_concepts=["position"]),
        signals("p", "@beats", "@any signal net"),
        words(),
        words("both", operators=NEIGHBORS, max_length=10),
        words(operators=["neighbors"], max_length=1),
        words(dataset_id="@plain sentences"),
        words(dataset_id="@long sentences", cut_sentences=True),
    ],
)
def test_valid_requests(api: httpx.Client, resources: NamedResources, payload: dict[str, Any]) -> None:
    response = explain(api, resources, payload)
    assert response.status_code == 202, response.text


INVALID, KIND, MISMATCH = (
    ProblemKind.INVALID_REQUEST,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.DATASET_MISMATCH,
)

BAD: list[tuple[dict[str, Any], ProblemKind, str, str]] = [
    ({"model": "@color net", "layer": "colors"}, INVALID, "dataset_id", "required"),
    ({"model": "@color net", "dataset_id": "@streets"}, INVALID, "layer", "required"),
    (images(dataset_id="dts_none"), INVALID, "dataset_id", "no dataset 'dts_none'"),
    (images(search="best"), INVALID, "search", "'beam' or 'optimal'"),
    (images(max_length=0), INVALID, "max_length", "greater than or equal to 1"),
    (images(max_length=11), INVALID, "max_length", "less than or equal to 10"),
    (images(beam_size=0), INVALID, "beam_size", "greater than or equal to 1"),
    (images(quantile=0), INVALID, "quantile", "greater than 0"),
    (images(quantile=1), INVALID, "quantile", "less than 1"),
    (images(quantile=0.01, threshold=0), INVALID, "threshold", "Give one of them"),
    (images(complexity_penalty=0), INVALID, "complexity_penalty", "greater than 0"),
    (images(complexity_penalty=1.1), INVALID, "complexity_penalty", "less than or equal to 1"),
    (images(operators=[]), INVALID, "operators", "at least 1 item"),
    (images(operators=["xor"]), INVALID, "operators.0", "'and_not'"),
    (images(units=[]), INVALID, "units", "at least 1 item"),
    (images(units=[-1]), INVALID, "units.0", "greater than or equal to 0"),
    (images(units=[0, 4]), INVALID, "units.1", "'colors' has 4 units, 0 to 3: there is no unit 4"),
    (images(["colors", "logits"], units=[3]), INVALID, "units.0", "'logits' has 3 units"),
    (images(resolution=[5]), INVALID, "resolution", "at least 2 items"),
    (images(resolution=[0, 5]), INVALID, "resolution.0", "greater than or equal to 1"),
    (images(derived_concepts=["shape"]), INVALID, "derived_concepts.0", "'color' or 'position'"),
    (images(min_firings=0), INVALID, "min_firings", "greater than or equal to 1"),
    (images(seed=-1), INVALID, "seed", "greater than or equal to 0"),
    (images(name="a\0b"), INVALID, "name", "printable"),
    (images(name="  "), INVALID, "name", "printable"),
    (images(layers=["colors"]), INVALID, "layers", "no field"),
    (images("colours"), INVALID, "layer", "no tensor 'colours'. Similar names: 'colors'"),
    (images("avgpool"), INVALID, "layer", "/graph lists all tensors"),
    (images(["colors", "smoth"]), INVALID, "layer.1", "Similar names: 'smooth'"),
    (images("weight"), INVALID, "layer", "is a weight, the same for every sample"),
    (images("image"), INVALID, "layer", "is an input of "),
    (images("winner", model="@odd"), INVALID, "layer", "is int64; activations are floats"),
    (images("turned", model="@odd"), INVALID, "layer", "is [3, 7, 8, 8] for 7 samples"),
    (images("squares", model="@odd"), INVALID, "layer", "is a weight"),
    (images("sums", model="@odd"), INVALID, "layer", "is [7] for 7 samples, which has no axis of units"),
    (images("sums", model="@odd"), INVALID, "layer", "[N, units, height, width] or [N, units]"),
    (words("premise_words"), INVALID, "layer", "is [7, 8, 10] for 7 samples, which has no axis of units"),
    (images(dataset_id="@images"), KIND, "dataset_id", "explained by concepts, signals, text_pairs"),
    (images(dataset_id="@real"), KIND, "dataset_id", "is of kind features"),
    (images(model="@bare"), MISMATCH, "dataset_id", "or explain another model"),
    (images(model="@peak net"), MISMATCH, "dataset_id", "no `preprocessing`"),
    (images(model="@signal net"), KIND, "dataset_id", "the model takes signals"),
    (signals(model="@color net"), KIND, "dataset_id", "the model takes images"),
    (signals(dataset_id="@longer beats"), MISMATCH, "dataset_id", "[1, 80]"),
    (signals(dataset_id="@signals"), MISMATCH, "dataset_id", "units cannot be explained"),
    (words(model="@color net"), MISMATCH, "dataset_id", "two inputs [N, length]"),
    (words(dataset_id="@long sentences"), MISMATCH, "dataset_id", "has 9 tokens, and the model takes 8"),
    (words(dataset_id="@other sentences"), MISMATCH, "dataset_id", "no labels of the model: 'funny'"),
    (signals(derived_concepts=["position", "color"]), INVALID, "derived_concepts.1", "have no `color`"),
    (words(derived_concepts=["color"]), INVALID, "derived_concepts.0", "holds text"),
    (words(derived_concepts=["position"]), INVALID, "derived_concepts.0", "holds text"),
    (
        images("c", "@Red things", "@net", derived_concepts=["color"]),
        INVALID,
        "derived_concepts.0",
        "already has: 'red'",
    ),
    (
        signals(dataset_id="@starts", derived_concepts=["position"]),
        INVALID,
        "derived_concepts.0",
        "already has: 'start'",
    ),
    (signals(resolution=[8, 8]), INVALID, "resolution", "is for images"),
    (words(resolution=[8, 8]), INVALID, "resolution", "is for images"),
    (images(cut_sentences=True), INVALID, "cut_sentences", "is for text"),
    (signals(cut_sentences=True), INVALID, "cut_sentences", "is for text"),
    (images(operators=NEIGHBORS), INVALID, "operators", "is for words, and the dataset holds images"),
    (signals(operators=NEIGHBORS), INVALID, "operators", "is for words, and the dataset holds signals"),
    (words(operators=["neighbors"]), INVALID, "operators", "combines no concepts"),
    (words(dataset_id="@plain sentences", operators=NEIGHBORS), INVALID, "operators", "has no vectors.txt"),
]


@pytest.mark.parametrize(("payload", "kind", "field", "sentence"), BAD)
def test_invalid_requests_submit_no_job(
    api: httpx.Client,
    resources: NamedResources,
    unchanged: Watch,
    payload: dict[str, Any],
    kind: ProblemKind,
    field: str,
    sentence: str,
) -> None:
    resources.resolve(payload)
    with unchanged():
        document = problem(explain(api, resources, payload), kind)
    assert [error.field for error in document.errors] == [field]
    assert sentence in document.detail


@pytest.mark.parametrize("layer", [[], 7, [7], None, ["colors"] * 51])
def test_a_layer_that_is_neither_a_name_nor_names(api: httpx.Client, resources: NamedResources, layer: object) -> None:
    document = problem(explain(api, resources, images(layer)), INVALID)
    assert [error.field for error in document.errors] == ["layer"]
    assert "the name of a tensor, or a list of 1 to 50 of them" in document.detail


def test_an_unknown_model(api: httpx.Client, resources: NamedResources) -> None:
    request = {"dataset_id": resources.id("streets"), "layer": "colors"}
    problem(api.post("/v1/models/mdl_none/explanations", json=request), ProblemKind.NOT_FOUND)


def test_layers_have_the_names_that_the_graph_lists(api: httpx.Client, resources: NamedResources) -> None:
    graph = api.get(f"/v1/models/{resources.id('color net')}/graph").json()
    layers = [tensor["name"] for tensor in graph["tensors"] if tensor["produced_by"] is not None]
    assert explain(api, resources, images(layers)).status_code == 202


def test_inputs_of_a_job_are_not_deleted(api: httpx.Client, resources: NamedResources) -> None:
    job = explain(api, resources, images()).json()
    addresses = [f"/v1/datasets/{resources.id('streets')}", f"/v1/models/{resources.id('color net')}"]
    for address in addresses:
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    api.post(job["actions"]["cancel"])
    for address in addresses:
        assert api.delete(address).status_code == 204


def test_rerun(api: httpx.Client, resources: NamedResources) -> None:
    job = explain(api, resources, images(seed=3)).json()
    problem(api.post(f"/v1/jobs/{job['id']}/rerun"), ProblemKind.JOB_NOT_ENDED)
    api.post(job["actions"]["cancel"])
    again = api.post(f"/v1/jobs/{job['id']}/rerun")
    assert again.status_code == 202, again.text
    assert again.json()["id"] != job["id"]
    assert again.json()["specification"] == job["specification"]
    api.post(again.json()["actions"]["cancel"])
    api.delete(f"/v1/datasets/{resources.id('streets')}")
    document = problem(api.post(f"/v1/jobs/{job['id']}/rerun"), INVALID)
    assert [error.field for error in document.errors] == ["dataset_id"]


def test_jobs_of_a_model_and_of_a_dataset(api: httpx.Client, resources: NamedResources) -> None:
    of_images = explain(api, resources, images()).json()["id"]
    of_words = explain(api, resources, words()).json()["id"]

    def ids(**query: str) -> list[str]:
        return [job["id"] for job in api.get("/v1/jobs", params=query).json()["items"]]

    assert ids(kind="explanation") == [of_words, of_images]
    assert ids(kind="evaluation") == []
    assert ids(dataset_id=resources.id("streets")) == [of_images]
    assert ids(model_id=resources.id("word net")) == [of_words]
    assert ids(model_id=resources.id("word net"), dataset_id=resources.id("streets")) == []


def test_the_same_key_makes_one_job(api: httpx.Client, resources: NamedResources) -> None:
    first, second = (explain(api, resources, images(), **{"Idempotency-Key": "once"}) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["location"] == first.headers["location"]
    other = explain(api, resources, images(max_length=2), **{"Idempotency-Key": "once"})
    problem(other, ProblemKind.IDEMPOTENCY_MISMATCH)
