"""Asking for a translator: jobs that are made, and everything that is said to be wrong before one is."""

from typing import Any

import httpx
import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job, TranslationJob
from faceter.store.library import Library
from tests.app.http.routes.test_quantizations import Watch
from tests.app.http.test_problems import problem
from tests.app.translating import Workshop
from tests.app.uploads import add_model
from tests.store.jobs.worker_side import claimed


@pytest.fixture
def workshop(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> Workshop:
    return Workshop(api, library, redis, queue)


def cyclegan(dataset: str = "@sets", **more: Any) -> dict[str, Any]:
    return {"method": "cyclegan", "dataset_id": dataset, "image_size": 32, **more}


def pix2pix(dataset: str = "@pairs", **more: Any) -> dict[str, Any]:
    return cyclegan(dataset, **{"method": "pix2pix", **more})


def described(tensor: str = "flat", model: str = "@odd") -> dict[str, Any]:
    return cyclegan(features={"model_id": model, "tensor": tensor})


def test_a_request_becomes_a_job(workshop: Workshop) -> None:
    said = cyclegan(
        evaluation_dataset_id="@pairs",
        features={"model_id": "@net", "tensor": "p"},
        base_channels=8,
        identity=0.1,
        cycle_weight=5.0,
        max_minutes=2.5,
        batch_size=2,
        learning_rate=0.001,
        seed=3,
        name=" dusk ",
    )
    response = workshop.ask(said)
    assert response.status_code == 202, response.text
    job = Job.model_validate_json(response.text)
    assert isinstance(job.specification, TranslationJob)
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.kind, job.status) == ("translation", "queued")
    assert job.specification.uses == [workshop.id(name) for name in ("sets", "pairs", "net")]
    kept = job.specification.request.model_dump(mode="json")
    assert {name: kept[name] for name in said} == {**workshop.request(said), "name": "dusk"}
    assert (kept["generator"], kept["residual_blocks"], kept["epochs"]) == ("resnet", 6, None)
    here = "/v1/translators/trl_" + job.id.removeprefix("job_")
    assert job.links["translator"] == here
    assert (job.links["samples"], job.links["curves"]) == (f"{here}/samples", f"{here}/curves")
    assert workshop.api.get(job.links["dataset"]).json()["id"] == workshop.id("sets")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (cyclegan(), {"generator": "resnet", "residual_blocks": 6, "epochs": 200}),
        (pix2pix(), {"generator": "unet", "residual_blocks": None, "epochs": 200, "direction": "a2b"}),
        (cyclegan("@pairs", generator="unet", epochs=3), {"generator": "unet", "epochs": 3, "max_minutes": None}),
        (pix2pix(generator="resnet", direction="b2a"), {"generator": "resnet", "residual_blocks": 6}),
        (pix2pix(l1_weight=1), {"l1_weight": 1.0}),
        (cyclegan(image_size=36), {"image_size": 36}),
        (cyclegan(resume_from_id="@trained"), {"base_channels": 8, "residual_blocks": 2}),
        (cyclegan(resume_from_id="@trained", base_channels=8, image_size=36), {"base_channels": 8, "image_size": 36}),
        (cyclegan(resume_from_id="@trained unet"), {"generator": "unet", "residual_blocks": None}),
        (pix2pix(resume_from_id="@trained pairs", residual_blocks=2), {"generator": "resnet", "residual_blocks": 2}),
        (described("p", "@net"), {}),
    ],
)
def test_what_is_taken_and_what_is_filled_in(
    workshop: Workshop, said: dict[str, Any], expected: dict[str, object]
) -> None:
    response = workshop.ask(said)
    assert response.status_code == 202, response.text
    kept = response.json()["specification"]["request"]
    assert {name: kept[name] for name in expected} == expected


INVALID, KIND, MISMATCH = (
    ProblemKind.INVALID_REQUEST,
    ProblemKind.WRONG_DATASET_KIND,
    ProblemKind.DATASET_MISMATCH,
)
UNFIT, CONTRADICTED = ProblemKind.METHOD_NOT_APPLICABLE, ProblemKind.METADATA_MISMATCH

BAD: list[tuple[dict[str, Any], ProblemKind, str, str]] = [
    ({"method": "cyclegan"}, INVALID, "dataset_id", "required"),
    ({"dataset_id": "@sets"}, INVALID, "method", "required"),
    (cyclegan(method="stargan"), INVALID, "method", "'cyclegan' or 'pix2pix'"),
    (cyclegan("dts_none"), INVALID, "dataset_id", "no dataset 'dts_none'"),
    (cyclegan("@images"), KIND, "dataset_id", "one of kind domains (a zip with A/ and B/)"),
    (cyclegan(evaluation_dataset_id="dts_none"), INVALID, "evaluation_dataset_id", "no dataset 'dts_none'"),
    (cyclegan(evaluation_dataset_id="@images"), KIND, "evaluation_dataset_id", "is of kind images"),
    (pix2pix("@sets"), MISMATCH, "dataset_id", "`paired=true`. Upload it so"),
    (pix2pix(evaluation_dataset_id="@sets"), MISMATCH, "evaluation_dataset_id", "or take cyclegan"),
    (cyclegan(image_size=30), INVALID, "image_size", "a multiple of 4, which 30 is not: take 28 or 32"),
    (pix2pix(image_size=48), INVALID, "image_size", "a multiple of 32, which 48 is not: take 32 or 64"),
    (cyclegan(image_size=16, generator="unet"), INVALID, "image_size", "which 16 is not: take 32."),
    (cyclegan(image_size=12), INVALID, "image_size", "greater than or equal to 16"),
    (cyclegan(image_size=1028), INVALID, "image_size", "less than or equal to 1024"),
    (cyclegan(image_size=40), MISMATCH, "image_size", "'A/0.png' is 40 × 36. Give an `image_size` of 36 at most"),
    (pix2pix(image_size=64), MISMATCH, "image_size", "Give an `image_size` of 32 at most, or other images"),
    (cyclegan("@tiny"), MISMATCH, "image_size", "'A/0.png' is 12 × 20. Give larger images."),
    (cyclegan(max_minutes=1, epochs=1), INVALID, "epochs", "`max_minutes` or `epochs`, not both"),
    (cyclegan(max_minutes=721), INVALID, "max_minutes", "for 720 minutes at most, and 721 were asked for"),
    (cyclegan(max_minutes=0), INVALID, "max_minutes", "greater than 0"),
    (cyclegan(epochs=0), INVALID, "epochs", "greater than or equal to 1"),
    (cyclegan(epochs=1.5), INVALID, "epochs", "whole number"),
    (cyclegan(batch_size=65), INVALID, "batch_size", "less than or equal to 64"),
    (cyclegan(base_channels=0), INVALID, "base_channels", "greater than or equal to 1"),
    (cyclegan(learning_rate=0), INVALID, "learning_rate", "greater than 0"),
    (cyclegan(identity=-1), INVALID, "identity", "greater than or equal to 0"),
    (cyclegan(cycle_weight=0), INVALID, "cycle_weight", "greater than 0"),
    (cyclegan(seed=2**32), INVALID, "seed", "less than 4294967296"),
    (cyclegan(generator="vit"), INVALID, "generator", "'resnet' or 'unet'"),
    (cyclegan(name="a\0b"), INVALID, "name", "printable"),
    (cyclegan(epoch=3), INVALID, "epoch", "no field"),
    (cyclegan(a2b_id="@negative"), INVALID, "a2b_id", "no field"),
    (cyclegan(l1_weight=100), INVALID, "l1_weight", "no setting of cyclegan. Leave it out"),
    (cyclegan(direction="a2b"), INVALID, "direction", "no setting of cyclegan"),
    (pix2pix(identity=0.5), INVALID, "identity", "no setting of pix2pix"),
    (pix2pix(cycle_weight=10), INVALID, "cycle_weight", "no setting of pix2pix"),
    (pix2pix(direction="up"), INVALID, "direction", "'a2b' or 'b2a'"),
    (pix2pix(residual_blocks=6), INVALID, "residual_blocks", "no residual blocks"),
    (cyclegan(generator="unet", residual_blocks=6), INVALID, "residual_blocks", "no residual blocks"),
    (cyclegan(residual_blocks=0), INVALID, "residual_blocks", "greater than or equal to 1"),
    (cyclegan(resume_from_id="trl_none"), INVALID, "resume_from_id", "no translator 'trl_none'"),
    (cyclegan(resume_from_id="@uploaded"), INVALID, "resume_from_id", "is made of uploaded generators"),
    (cyclegan(resume_from_id="@in training"), INVALID, "resume_from_id", "is still in training: its job is queued"),
    (pix2pix(resume_from_id="@trained"), INVALID, "method", "was trained by cyclegan"),
    (cyclegan(resume_from_id="@trained", base_channels=4), INVALID, "base_channels", "have `base_channels` 8. Leave"),
    (cyclegan(resume_from_id="@trained", generator="unet"), INVALID, "generator", "have `generator` resnet"),
    (cyclegan(resume_from_id="@trained", residual_blocks=3), INVALID, "residual_blocks", "have `residual_blocks` 2"),
    (cyclegan(resume_from_id="@trained unet", residual_blocks=3), INVALID, "residual_blocks", "no `residual_blocks`"),
    (pix2pix(resume_from_id="@trained pairs", direction="b2a"), INVALID, "direction", "have `direction` a2b"),
    (cyclegan(resume_from_id="@trained", image_size=20), INVALID, "image_size", "Give an `image_size` of 32"),
    (cyclegan(resume_from_id="@trained unet", image_size=64), INVALID, "image_size", "would have other layers"),
    (described(model="mdl_none"), INVALID, "features.model_id", "no model 'mdl_none'"),
    (described("c", "@bare"), INVALID, "features.model_id", "no `preprocessing`"),
    (
        described("flat", "@with if"),
        ProblemKind.UNSUPPORTED_OPERATOR,
        "features.model_id",
        "does not know the operator",
    ),
    (described("q", "@net"), INVALID, "features.tensor", "no tensor 'q'"),
    (described("rounded"), INVALID, "features.tensor", "is int64; features are floats"),
    (cyclegan(features={"model_id": "@net"}), INVALID, "features.tensor", "required"),
    (cyclegan(features=3), INVALID, "features", "JSON object"),
    ({"a2b_id": None, "b2a_id": None}, INVALID, "a2b_id", "`a2b_id`, `b2a_id` or both"),
    ({"a2b_id": "mdl_none"}, INVALID, "a2b_id", "no model 'mdl_none'"),
    ({"a2b_id": "@negative", "b2a_id": "mdl_none"}, INVALID, "b2a_id", "no model 'mdl_none'"),
    ({"a2b_id": "@net"}, CONTRADICTED, "a2b_id", "said to be for image_classification"),
    ({"a2b_id": "@translator"}, UNFIT, "a2b_id", "gives no image of three channels"),
    ({"b2a_id": "@bare"}, UNFIT, "b2a_id", "gives no image of three channels"),
    ({"a2b_id": "@peak net"}, UNFIT, "a2b_id", "takes no image of three channels"),
    ({"a2b_id": "@negative", "b2a_id": "@enlarger"}, UNFIT, "b2a_id", "gives an image of the size it was given"),
    ({"a2b_id": "@negative", "c2d": "@negative"}, INVALID, "c2d", "no field"),
    ({"a2b_id": 7}, INVALID, "a2b_id", "string"),
    ({"a2b_id": "@negative", "name": " "}, INVALID, "name", "printable"),
]


@pytest.mark.parametrize(("said", "kind", "field", "sentence"), BAD)
def test_what_is_wrong_is_said_and_makes_nothing(
    workshop: Workshop, unchanged: Watch, said: dict[str, Any], kind: ProblemKind, field: str, sentence: str
) -> None:
    workshop.request(said)
    before = workshop.api.get("/v1/translators").json()
    with unchanged():
        document = problem(workshop.ask(said), kind)
    assert [error.field for error in document.errors] == [field]
    assert sentence in document.detail
    assert workshop.api.get("/v1/translators").json() == before


def test_a_body_that_says_nothing_is_asked_for_all(api: httpx.Client) -> None:
    for said in ({}, {"name": "x"}):
        document = problem(api.post("/v1/translators", json=said), INVALID)
        assert [error.field for error in document.errors] == ["method", "dataset_id"]


@pytest.mark.parametrize("body", ["[]", '["a2b"]', "3", '"cyclegan"', "null"])
def test_a_body_that_is_no_object(api: httpx.Client, body: str) -> None:
    response = api.post("/v1/translators", content=body, headers={"Content-Type": "application/json"})
    assert [error.field for error in problem(response, INVALID).errors] == ["body"]


def test_a_body_that_is_not_json(api: httpx.Client) -> None:
    for media_type in ("text/plain", "multipart/form-data; boundary=x"):
        response = api.post("/v1/translators", content='{"a2b_id": "mdl_x"}', headers={"Content-Type": media_type})
        assert media_type in problem(response, ProblemKind.UNSUPPORTED_MEDIA_TYPE).detail
    response = api.post("/v1/translators", content="{", headers={"Content-Type": "application/json"})
    problem(response, ProblemKind.MALFORMED_BODY)


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e400"])
@pytest.mark.parametrize("field", ["max_minutes", "identity", "cycle_weight", "learning_rate"])
def test_numbers_without_an_end_are_refused(workshop: Workshop, field: str, number: str) -> None:
    body = f'{{"method": "cyclegan", "dataset": "{workshop.id("sets")}", "image_size": 32, "{field}": {number}}}'
    response = workshop.api.post("/v1/translators", content=body, headers={"Content-Type": "application/json"})
    assert [error.field for error in problem(response, INVALID).errors] == [field]


def test_what_a_job_reads_is_not_deleted(workshop: Workshop) -> None:
    said = cyclegan(resume_from_id="@trained", features={"model_id": "@net", "tensor": "p"})
    job = workshop.ask(said).json()
    addresses = [
        f"/v1/datasets/{workshop.id('sets')}",
        f"/v1/models/{workshop.id('net')}",
        f"/v1/translators/{workshop.id('trained')}",
    ]
    for address in addresses:
        assert job["id"] in problem(workshop.api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    workshop.api.delete(job["links"]["self"])
    for address in addresses:
        assert workshop.api.delete(address).status_code == 204


def test_a_training_is_ended_with_what_it_has_unless_told_otherwise(workshop: Workshop) -> None:
    queued = workshop.job()
    assert workshop.api.delete(queued["links"]["self"]).json()["status"] == "canceled"
    running = workshop.job()
    claimed(workshop.redis, running["id"])
    response = workshop.api.delete(running["links"]["self"])
    assert (response.status_code, response.json()["status"], response.json()["ending"]) == (202, "running", True)
    response = workshop.api.delete(f"{running['links']['self']}?keep=nothing")
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    problem(workshop.api.delete(running["links"]["self"]), ProblemKind.JOB_ENDED)


def test_rerun(workshop: Workshop) -> None:
    job = workshop.ask(cyclegan(resume_from_id="@trained", seed=3)).json()
    problem(workshop.api.post(job["links"]["rerun"]), ProblemKind.JOB_NOT_ENDED)
    workshop.api.delete(job["links"]["self"])
    again = workshop.api.post(job["links"]["rerun"])
    assert again.status_code == 202, again.text
    assert again.json()["specification"] == job["specification"]
    workshop.api.delete(again.json()["links"]["self"])
    workshop.api.delete(f"/v1/translators/{workshop.id('trained')}")
    document = problem(workshop.api.post(job["links"]["rerun"]), INVALID)
    assert [error.field for error in document.errors] == ["resume_from_id"]


def test_the_same_key_makes_one_of_each(workshop: Workshop) -> None:
    for key, said in (("job", cyclegan()), ("pair", {"a2b_id": "@negative"})):
        first, second = (workshop.ask(said, **{"Idempotency-Key": key}) for _ in range(2))
        assert first.json() == second.json()
        assert second.headers["location"] == first.headers["location"]
        problem(workshop.ask(cyclegan(seed=5), **{"Idempotency-Key": key}), ProblemKind.IDEMPOTENCY_MISMATCH)
    assert len(workshop.api.get("/v1/translators").json()["items"]) == 1


def test_uploaded_generators(workshop: Workshop) -> None:
    response = workshop.ask({"a2b_id": "@negative", "b2a_id": "@halver", "name": " there and back "})
    assert response.status_code == 201, response.text
    made = response.json()
    here = f"/v1/translators/{made['id']}"
    assert response.headers["location"] == here
    assert workshop.api.get(here).json() == made
    models = {"a2b": workshop.id("negative"), "b2a": workshop.id("halver")}
    assert (made["status"], made["name"], made["model_ids"]) == ("ready", "there and back", models)
    assert made["model_sha256"] == {way: workshop.library.models.get(id).sha256 for way, id in models.items()}
    assert (made["training"], made["settings"], made["job_id"], made["evaluation"]) == (None, None, None, {})
    assert made["links"] == {
        "self": here,
        "translate": f"{here}/translate",
        "content": f"{here}/content",
        **{way: f"/v1/models/{id}" for way, id in models.items()},
    }
    assert workshop.ask({"b2a_id": "@halver"}).json()["model_ids"] == {"b2a": models["b2a"]}


def test_the_same_generator_may_go_both_ways_and_gives_its_name(workshop: Workshop) -> None:
    made = workshop.ask({"a2b_id": "@negative", "b2a_id": "@negative"}).json()
    assert made["name"] == "tiny and tiny"


def test_a_generator_need_not_say_what_it_is_for(workshop: Workshop) -> None:
    content = workshop.library.blobs.read(workshop.library.models.get(workshop.id("negative")).sha256)
    for metadata in (None, {"task": "other"}):
        model = add_model(workshop.api, content, metadata=metadata)["id"]
        assert workshop.ask({"a2b_id": model}).status_code == 201


def ids(workshop: Workshop, **query: Any) -> list[str]:
    return [item["id"] for item in workshop.api.get("/v1/translators", params=query).json()["items"]]


def test_list_and_filters(workshop: Workshop) -> None:
    uploaded = workshop.uploaded(a2b="@negative", name="Horses")
    unpaired, paired = workshop.trained(name="dusk to day").id, workshop.trained(method="pix2pix", dataset="@pairs").id
    workshop.in_training((2,))
    assert ids(workshop) == [paired, unpaired, uploaded]
    assert ids(workshop, method="pix2pix") == [paired]
    assert ids(workshop, method="cyclegan", name="DUSK") == [unpaired]
    assert ids(workshop, name="horse") == [uploaded]
    assert ids(workshop, model=workshop.id("negative")) == [uploaded]
    assert ids(workshop, model="mdl_none") == []
    page = workshop.api.get("/v1/translators?limit=2").json()
    assert ids(workshop, limit=2, cursor=page["next_cursor"]) == [uploaded]
    (item,) = workshop.api.get("/v1/translators?method=pix2pix").json()["items"]
    assert (item["method"], list(item["model_ids"])) == ("pix2pix", ["a2b"])
    assert item["links"] == {"self": f"/v1/translators/{paired}"}
    assert workshop.api.get("/v1/translators?name=horse").json()["items"][0]["method"] is None
    for query, field in (("method=x", "method"), ("cursor=x", "cursor"), ("dataset_id=dts_x", "dataset_id")):
        document = problem(workshop.api.get(f"/v1/translators?{query}"), INVALID)
        assert [error.field for error in document.errors] == [field]


def test_a_translator_is_deleted_and_its_generators_stay(workshop: Workshop) -> None:
    made = workshop.trained()
    here = f"/v1/translators/{made.id}"
    assert workshop.api.delete(here).status_code == 204
    for response in (
        workshop.api.delete(here),
        *(workshop.api.get(f"{here}{end}") for end in ("", "/content", "/samples", "/curves", "/files/samples.png")),
        workshop.api.post(f"{here}/translate", files={"file": b"x"}),
    ):
        assert f"no translator '{made.id}'" in problem(response, ProblemKind.NOT_FOUND).detail
    assert not workshop.library.blobs.exists(made.sha256)
    for id in made.model_ids.values():
        assert workshop.api.get(f"/v1/models/{id}").status_code == 200
