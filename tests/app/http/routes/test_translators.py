"""Asking for a translator: jobs that are record, and everything that is payload to be wrong before one is."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job, TranslationJob
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.http.routes.test_quantizations import Watch
from tests.app.http.test_problems import problem
from tests.app.translator_fixtures import TranslatorFixtures
from tests.app.uploads import add_model
from tests.store.jobs.worker_side import claimed


@pytest.fixture
def translators(api: httpx.Client, library: Library, redis: Redis, queue: JobQueue) -> TranslatorFixtures:
    return TranslatorFixtures(api, library, redis, queue)


def cyclegan(dataset: str = "@sets", **more: Any) -> dict[str, Any]:
    return {"method": "cyclegan", "dataset_id": dataset, "image_size": 32, **more}


def pix2pix(dataset: str = "@pairs", **more: Any) -> dict[str, Any]:
    return cyclegan(dataset, **{"method": "pix2pix", **more})


def with_extractor(tensor: str = "flat", model: str = "@odd") -> dict[str, Any]:
    return cyclegan(features={"model_id": model, "tensor": tensor})


def test_a_request_submits_a_job(translators: TranslatorFixtures) -> None:
    payload = cyclegan(
        evaluation_dataset_id="@pairs",
        features={"model_id": "@net", "tensor": "p", "input_shapes": None},
        base_channels=8,
        identity=0.1,
        cycle_weight=5.0,
        max_minutes=2.5,
        batch_size=2,
        learning_rate=0.001,
        seed=3,
        name=" dusk ",
    )
    response = translators.post(payload)
    assert response.status_code == 202, response.text
    translator = response.json()
    assert response.headers["location"] == translator["links"]["self"]
    assert translator == translators.api.get(translator["links"]["self"]).json()
    job = Job.model_validate(translators.api.get(translator["links"]["job"]).json())
    assert isinstance(job.specification, TranslationJob)
    assert (job.kind, job.status) == ("translation", "queued")
    assert job.specification.uses == [translators.id(name) for name in ("sets", "pairs", "net")]
    stored = job.specification.request.model_dump(mode="json")
    assert {name: stored[name] for name in payload} == {**translators.resolve(payload), "name": "dusk"}
    assert (stored["generator"], stored["residual_blocks"], stored["epochs"]) == ("resnet", 6, None)
    here = "/v1/translators/trl_" + job.id.removeprefix("job_")
    assert job.links["translator"] == here
    assert (job.links["samples"], job.links["curves"]) == (f"{here}/samples", f"{here}/curves")
    assert translators.api.get(job.links["dataset"]).json()["id"] == translators.id("sets")


@pytest.mark.parametrize(
    ("payload", "expected"),
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
        (with_extractor("p", "@net"), {}),
    ],
)
def test_valid_requests_and_their_defaults(
    translators: TranslatorFixtures, payload: dict[str, Any], expected: dict[str, object]
) -> None:
    response = translators.post(payload)
    assert response.status_code == 202, response.text
    stored = response.json()["settings"]
    assert {name: stored[name] for name in expected} == expected


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
    (pix2pix("@sets"), MISMATCH, "dataset_id", "`paired=true`. Upload it with that option"),
    (pix2pix(evaluation_dataset_id="@sets"), MISMATCH, "evaluation_dataset_id", "or use cyclegan"),
    (cyclegan(image_size=30), INVALID, "image_size", "a multiple of 4, which 30 is not: use 28 or 32"),
    (pix2pix(image_size=48), INVALID, "image_size", "a multiple of 32, which 48 is not: use 32 or 64"),
    (cyclegan(image_size=16, generator="unet"), INVALID, "image_size", "which 16 is not: use 32."),
    (cyclegan(image_size=12), INVALID, "image_size", "greater than or equal to 16"),
    (cyclegan(image_size=1028), INVALID, "image_size", "less than or equal to 1024"),
    (cyclegan(image_size=40), MISMATCH, "image_size", "'A/0.png' is 40 × 36. Give an `image_size` of at most 36"),
    (pix2pix(image_size=64), MISMATCH, "image_size", "Give an `image_size` of at most 32, or other images"),
    (cyclegan("@tiny"), MISMATCH, "image_size", "'A/0.png' is 12 × 20. Give larger images."),
    (cyclegan(max_minutes=1, epochs=1), INVALID, "epochs", "`max_minutes` or `epochs`, not both"),
    (cyclegan(max_minutes=721), INVALID, "max_minutes", "720 minutes of training; 721 were requested"),
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
    (cyclegan(l1_weight=100), INVALID, "l1_weight", "not an option of cyclegan. Leave it out"),
    (cyclegan(direction="a2b"), INVALID, "direction", "not an option of cyclegan"),
    (pix2pix(identity=0.5), INVALID, "identity", "not an option of pix2pix"),
    (pix2pix(cycle_weight=10), INVALID, "cycle_weight", "not an option of pix2pix"),
    (pix2pix(direction="up"), INVALID, "direction", "'a2b' or 'b2a'"),
    (pix2pix(residual_blocks=6), INVALID, "residual_blocks", "no residual blocks"),
    (cyclegan(generator="unet", residual_blocks=6), INVALID, "residual_blocks", "no residual blocks"),
    (cyclegan(residual_blocks=0), INVALID, "residual_blocks", "greater than or equal to 1"),
    (cyclegan(resume_from_id="trl_none"), INVALID, "resume_from_id", "no translator 'trl_none'"),
    (cyclegan(resume_from_id="@uploaded"), INVALID, "resume_from_id", "was created from uploaded generators"),
    (cyclegan(resume_from_id="@in training"), INVALID, "resume_from_id", "is still in training: its job job_"),
    (pix2pix(resume_from_id="@trained"), INVALID, "method", "was trained by cyclegan"),
    (cyclegan(resume_from_id="@trained", base_channels=4), INVALID, "base_channels", "have `base_channels` 8. Leave"),
    (cyclegan(resume_from_id="@trained", generator="unet"), INVALID, "generator", "have `generator` resnet"),
    (cyclegan(resume_from_id="@trained", residual_blocks=3), INVALID, "residual_blocks", "have `residual_blocks` 2"),
    (cyclegan(resume_from_id="@trained unet", residual_blocks=3), INVALID, "residual_blocks", "no `residual_blocks`"),
    (pix2pix(resume_from_id="@trained pairs", direction="b2a"), INVALID, "direction", "have `direction` a2b"),
    (cyclegan(resume_from_id="@trained", image_size=20), INVALID, "image_size", "Give an `image_size` of 32"),
    (cyclegan(resume_from_id="@trained unet", image_size=64), INVALID, "image_size", "would have other layers"),
    (with_extractor(model="mdl_none"), INVALID, "features.model_id", "no model 'mdl_none'"),
    (with_extractor("c", "@bare"), INVALID, "features.model_id", "no `preprocessing`"),
    (
        with_extractor("flat", "@with if"),
        ProblemKind.UNSUPPORTED_OPERATOR,
        "features.model_id",
        "does not support the operator",
    ),
    (with_extractor("q", "@net"), INVALID, "features.tensor", "no tensor 'q'"),
    (with_extractor("rounded"), INVALID, "features.tensor", "is int64; features are floats"),
    (cyclegan(features={"model_id": "@net"}), INVALID, "features.tensor", "required"),
    (cyclegan(features=3), INVALID, "features", "JSON object"),
    ({"a2b_id": None, "b2a_id": None}, INVALID, "a2b_id", "`a2b_id`, `b2a_id` or both"),
    ({"a2b_id": "mdl_none"}, INVALID, "a2b_id", "no model 'mdl_none'"),
    ({"a2b_id": "@negative", "b2a_id": "mdl_none"}, INVALID, "b2a_id", "no model 'mdl_none'"),
    ({"a2b_id": "@net"}, CONTRADICTED, "a2b_id", "task is image_classification"),
    ({"a2b_id": "@translator"}, UNFIT, "a2b_id", "gives no image of three channels"),
    ({"b2a_id": "@bare"}, UNFIT, "b2a_id", "gives no image of three channels"),
    ({"a2b_id": "@peak net"}, UNFIT, "a2b_id", "takes no image of three channels"),
    ({"a2b_id": "@negative", "b2a_id": "@enlarger"}, UNFIT, "b2a_id", "gives an image of the size it was given"),
    ({"a2b_id": "@negative", "c2d": "@negative"}, INVALID, "c2d", "no field"),
    ({"a2b_id": 7}, INVALID, "a2b_id", "string"),
    ({"a2b_id": "@negative", "name": " "}, INVALID, "name", "printable"),
]


@pytest.mark.parametrize(("payload", "kind", "field", "sentence"), BAD)
def test_invalid_requests_create_nothing(
    translators: TranslatorFixtures,
    unchanged: Watch,
    payload: dict[str, Any],
    kind: ProblemKind,
    field: str,
    sentence: str,
) -> None:
    translators.resolve(payload)
    before = translators.api.get("/v1/translators").json()
    with unchanged():
        document = problem(translators.post(payload), kind)
    assert [error.field for error in document.errors] == [field]
    assert sentence in document.detail
    assert translators.api.get("/v1/translators").json() == before


def test_a_body_without_fields_lists_all_required_fields(api: httpx.Client) -> None:
    for payload in ({}, {"name": "x"}):
        document = problem(api.post("/v1/translators", json=payload), INVALID)
        assert [error.field for error in document.errors] == ["method", "dataset_id"]


@pytest.mark.parametrize("body", ["[]", '["a2b"]', "3", '"cyclegan"', "null"])
def test_a_body_that_is_not_an_object(api: httpx.Client, body: str) -> None:
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
def test_infinite_numbers_are_refused(translators: TranslatorFixtures, field: str, number: str) -> None:
    body = f'{{"method": "cyclegan", "dataset_id": "{translators.id("sets")}", "image_size": 32, "{field}": {number}}}'
    response = translators.api.post("/v1/translators", content=body, headers={"Content-Type": "application/json"})
    assert [error.field for error in problem(response, INVALID).errors] == [field]


def test_inputs_of_a_job_are_not_deleted(translators: TranslatorFixtures) -> None:
    payload = cyclegan(resume_from_id="@trained", features={"model_id": "@net", "tensor": "p"})
    job = translators.train(payload)
    addresses = [
        f"/v1/datasets/{translators.id('sets')}",
        f"/v1/models/{translators.id('net')}",
        f"/v1/translators/{translators.id('trained')}",
    ]
    for address in addresses:
        assert job["id"] in problem(translators.api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
    translators.api.post(job["actions"]["cancel"])
    for address in addresses:
        assert translators.api.delete(address).status_code == 204


def test_a_training_is_finished_or_canceled(translators: TranslatorFixtures) -> None:
    queued = translators.train_cyclegan()
    assert translators.api.post(queued["actions"]["finish"]).json()["status"] == "canceled"
    running = translators.train_cyclegan()
    claimed(translators.redis, running["id"])
    response = translators.api.post(running["actions"]["finish"])
    assert (response.status_code, response.json()["status"], response.json()["ending"]) == (202, "running", True)
    response = translators.api.post(running["actions"]["cancel"])
    assert (response.status_code, response.json()["status"]) == (200, "canceled")
    problem(translators.api.post(running["actions"]["finish"]), ProblemKind.JOB_ENDED)


def test_a_rerun_obeys_the_operators_limit(
    translators: TranslatorFixtures, start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    job = translators.train_cyclegan(max_minutes=60)
    translators.api.post(job["actions"]["cancel"])
    stricter = start_server(settings.model_copy(update={"max_tuning_minutes": 30.0}))
    document = problem(stricter.post(f"/v1/jobs/{job['id']}/rerun"), INVALID)
    assert [error.field for error in document.errors] == ["max_minutes"]


def test_rerun(translators: TranslatorFixtures) -> None:
    job = translators.train(cyclegan(resume_from_id="@trained", seed=3))
    problem(translators.api.post(f"/v1/jobs/{job['id']}/rerun"), ProblemKind.JOB_NOT_ENDED)
    translators.api.post(job["actions"]["cancel"])
    again = translators.api.post(f"/v1/jobs/{job['id']}/rerun")
    assert again.status_code == 202, again.text
    assert again.json()["specification"] == job["specification"]
    translators.api.post(again.json()["actions"]["cancel"])
    translators.api.delete(f"/v1/translators/{translators.id('trained')}")
    document = problem(translators.api.post(f"/v1/jobs/{job['id']}/rerun"), INVALID)
    assert [error.field for error in document.errors] == ["resume_from_id"]


def test_the_same_key_makes_one_of_each(translators: TranslatorFixtures) -> None:
    for key, payload in (("job", cyclegan()), ("pair", {"a2b_id": "@negative"})):
        first, second = (translators.post(payload, **{"Idempotency-Key": key}) for _ in range(2))
        assert first.json() == second.json()
        assert second.headers["location"] == first.headers["location"]
        problem(translators.post(cyclegan(seed=5), **{"Idempotency-Key": key}), ProblemKind.IDEMPOTENCY_MISMATCH)
    assert len(translators.api.get("/v1/translators").json()["items"]) == 1


def test_uploaded_generators(translators: TranslatorFixtures) -> None:
    response = translators.post({"a2b_id": "@negative", "b2a_id": "@halver", "name": " there and back "})
    assert response.status_code == 201, response.text
    record = response.json()
    here = f"/v1/translators/{record['id']}"
    assert response.headers["location"] == here
    assert translators.api.get(here).json() == record
    models = {"a2b": translators.id("negative"), "b2a": translators.id("halver")}
    assert (record["status"], record["name"], record["model_ids"]) == ("ready", "there and back", models)
    assert record["model_sha256"] == {way: translators.library.models.get(id).sha256 for way, id in models.items()}
    assert (record["training"], record["settings"], record["job_id"], record["evaluation"]) == (None, None, None, {})
    assert record["links"] == {
        "self": here,
        "content": f"{here}/content",
        **{way: f"/v1/models/{id}" for way, id in models.items()},
    }
    assert record["actions"] == {"translate": f"{here}/translate"}
    assert translators.post({"b2a_id": "@halver"}).json()["model_ids"] == {"b2a": models["b2a"]}


def test_the_record_tells_which_image_sizes_the_generators_take(translators: TranslatorFixtures) -> None:
    sizes = translators.post({"a2b_id": "@fixed", "b2a_id": "@positioned"}).json()["generator_sizes"]
    assert sizes["a2b"] == {"sizes": "any", "size": None, "multiple": 4, "opened": True, "reason": None}
    reason = sizes["b2a"].pop("reason")
    assert sizes["b2a"] == {"sizes": "fixed", "size": [48, 64], "multiple": 1, "opened": False}
    assert "of shape [1, 3, 48, 64], which is made for one size" in reason
    given = translators.post({"a2b_id": "@negative"}).json()["generator_sizes"]["a2b"]
    assert given == {"sizes": "any", "size": None, "multiple": 1, "opened": False, "reason": None}


def test_the_same_generator_for_both_directions(translators: TranslatorFixtures) -> None:
    record = translators.post({"a2b_id": "@negative", "b2a_id": "@negative"}).json()
    assert record["name"] == "tiny and tiny"


def test_a_generator_needs_no_task(translators: TranslatorFixtures) -> None:
    content = translators.library.blobs.read(translators.library.models.get(translators.id("negative")).sha256)
    for metadata in (None, {"task": "other"}):
        model = add_model(translators.api, content, metadata=metadata)["id"]
        assert translators.post({"a2b_id": model}).status_code == 201


def ids(translators: TranslatorFixtures, **query: Any) -> list[str]:
    return [item["id"] for item in translators.api.get("/v1/translators", params=query).json()["items"]]


def test_list_and_filters(translators: TranslatorFixtures) -> None:
    uploaded = translators.add_uploaded(a2b_id="@negative", name="Horses")
    unpaired, paired = (
        translators.add_trained(name="dusk to day").id,
        translators.add_trained(method="pix2pix", dataset_id="@pairs").id,
    )
    translators.add_in_training((2,))
    assert ids(translators) == [paired, unpaired, uploaded]
    assert ids(translators, method="pix2pix") == [paired]
    assert ids(translators, method="cyclegan", name="DUSK") == [unpaired]
    assert ids(translators, name="horse") == [uploaded]
    assert ids(translators, model_id=translators.id("negative")) == [uploaded]
    assert ids(translators, model_id="mdl_none") == []
    page = translators.api.get("/v1/translators?limit=2").json()
    assert ids(translators, limit=2, cursor=page["next_cursor"]) == [uploaded]
    (item,) = translators.api.get("/v1/translators?method=pix2pix").json()["items"]
    assert (item["method"], list(item["model_ids"])) == ("pix2pix", ["a2b"])
    assert item["links"] == {"self": f"/v1/translators/{paired}"}
    assert translators.api.get("/v1/translators?name=horse").json()["items"][0]["method"] is None
    for query, field in (("method=x", "method"), ("cursor=x", "cursor"), ("dataset_id=dts_x", "dataset_id")):
        document = problem(translators.api.get(f"/v1/translators?{query}"), INVALID)
        assert [error.field for error in document.errors] == [field]


def test_a_translator_is_deleted_and_its_generators_stay(translators: TranslatorFixtures) -> None:
    record = translators.add_trained()
    here = f"/v1/translators/{record.id}"
    assert translators.api.delete(here).status_code == 204
    for response in (
        translators.api.delete(here),
        *(translators.api.get(f"{here}{end}") for end in ("", "/content", "/samples", "/curves", "/files/samples.png")),
        translators.api.post(f"{here}/translate", files={"file": b"x"}),
    ):
        assert f"no translator '{record.id}'" in problem(response, ProblemKind.NOT_FOUND).detail
    assert not translators.library.blobs.exists(record.sha256)
    for id in record.model_ids.values():
        assert translators.api.get(f"/v1/models/{id}").status_code == 200
