import io
from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import numpy as np
import pytest
from PIL import Image

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.dataset_archives import NAMES, concepts, domains, text_pairs
from tests.app.http.test_problems import problem
from tests.app.uploads import METADATA, add_dataset, add_model, detection, image, images, npz, post_dataset

SHEET = image(seed=5)

Watch = Callable[[], AbstractContextManager[None]]


def test_upload(api: httpx.Client) -> None:
    content = images(["dog", "cat"], each=3)
    response = post_dataset(api, content, name="pets")
    dataset = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/datasets/{dataset['id']}" == dataset["links"]["self"]
    assert (dataset["name"], dataset["kind"], dataset["bytes"]) == ("pets", "images", len(content))
    assert (dataset["samples"], dataset["classes"]) == (6, ["cat", "dog"])
    assert dataset["class_counts"] == {"cat": 3, "dog": 3}
    assert api.get(response.headers["location"]).json() == dataset


def test_without_labels_and_name(api: httpx.Client) -> None:
    dataset = add_dataset(api, images())
    assert (dataset["name"], dataset["classes"]) == ("set", [])


def test_detection(api: httpx.Client) -> None:
    dataset = add_dataset(api, detection(["ant", "bee"]), "detection")
    assert (dataset["samples"], dataset["class_counts"]) == (1, {"ant": 1, "bee": 1})


def test_concepts(api: httpx.Client) -> None:
    content = concepts()
    dataset = add_dataset(api, content, "concepts", name="streets")
    assert (dataset["kind"], dataset["samples"], dataset["concepts"]) == ("concepts", 2, NAMES)
    assert (dataset["classes"], dataset["class_counts"], dataset["warnings"]) == ([], {}, [])
    assert api.get(dataset["links"]["self"]).json() == dataset
    assert [item["id"] for item in api.get("/v1/datasets?kind=concepts").json()["items"]] == [dataset["id"]]
    response = api.get(dataset["links"]["content"])
    assert response.content == content
    assert 'filename="streets.zip"' in response.headers["content-disposition"]


def test_text_pairs(api: httpx.Client) -> None:
    dataset = add_dataset(api, text_pairs(label="entailment"), "text_pairs", name="nli")
    assert (dataset["kind"], dataset["samples"], dataset["concepts"]) == ("text_pairs", 2, {})
    assert dataset["class_counts"] == {"contradiction": 1, "entailment": 1}
    assert dataset["warnings"] == ["not in vocab.txt, so unknown to the model: 1 word, 2 of 12 occurrences: 'sleeps'"]
    assert api.get(dataset["links"]["self"]).json() == dataset


@pytest.mark.parametrize(("fields", "paired"), [({}, False), ({"paired": "false"}, False), ({"paired": "true"}, True)])
def test_domains(api: httpx.Client, fields: dict[str, str], paired: bool) -> None:
    content = domains()
    dataset = add_dataset(api, content, "domains", name="dusk2day", **fields)
    assert (dataset["kind"], dataset["samples"], dataset["paired"]) == ("domains", 4, paired)
    assert (dataset["classes"], dataset["class_counts"]) == (["A", "B"], {"A": 2, "B": 2})
    assert api.get(dataset["links"]["self"]).json() == dataset
    assert [item["id"] for item in api.get("/v1/datasets?kind=domains").json()["items"]] == [dataset["id"]]
    response = api.get(dataset["links"]["content"])
    assert response.content == content
    assert 'filename="dusk2day.zip"' in response.headers["content-disposition"]


PAIRED_BADLY: list[tuple[bytes, str, str, ProblemKind, str, str]] = [
    (domains("A/p.png", "B/q.png"), "domains", "true", ProblemKind.INVALID_DATASET, "file", "Only in A: 'p'. Only in "),
    (
        domains(size=(10, 12)),
        "domains",
        "true",
        ProblemKind.INVALID_DATASET,
        "file",
        "'B/2.jpg', the other of its pair",
    ),
    (domains(), "domains", "yes", ProblemKind.INVALID_REQUEST, "paired", "true or false, not 'yes'"),
    (domains(), "domains", "", ProblemKind.INVALID_REQUEST, "paired", "true or false, not ''"),
    (images(), "images", "true", ProblemKind.INVALID_REQUEST, "paired", "is of kind images. Leave it out"),
    (images(), "images", "false", ProblemKind.INVALID_REQUEST, "paired", "is for datasets of kind domains"),
]


@pytest.mark.parametrize(("content", "kind", "paired", "refusal", "field", "words"), PAIRED_BADLY)
def test_no_pairs(
    api: httpx.Client,
    unchanged: Watch,
    content: bytes,
    kind: str,
    paired: str,
    refusal: ProblemKind,
    field: str,
    words: str,
) -> None:
    with unchanged():
        document = problem(post_dataset(api, content, kind, paired=paired), refusal)
    assert words in document.detail
    assert [error.field for error in document.errors] == [field]


def test_only_domains_are_paired_or_not(api: httpx.Client) -> None:
    assert add_dataset(api, images())["paired"] is None


def test_pairs_are_another_upload_than_the_same_file_without(api: httpx.Client) -> None:
    key = {"Idempotency-Key": "domains"}
    file = {"file": ("set.zip", domains())}

    def send(**fields: str) -> httpx.Response:
        return api.post("/v1/datasets", files=file, data={"kind": "domains", **fields}, headers=key)

    first = send()
    assert send(paired="false").json() == first.json()
    problem(send(paired="true"), ProblemKind.IDEMPOTENCY_MISMATCH)


def test_concepts_of_signals(api: httpx.Client) -> None:
    moments = np.array([[0, 1, 2, 2], [0, 0, 1, 0]])
    content = npz(signals=np.zeros((2, 1, 4), np.float32), concepts=moments, concept_names=np.array(["P", "QRS"]))
    assert add_dataset(api, content, "signals")["concepts"] == {"signal": ["P", "QRS"]}
    assert add_dataset(api, npz(signals=np.zeros((2, 1, 4), np.float32)), "signals")["concepts"] == {}


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_text_pairs_are_no_input_of_an_image_model(api: httpx.Client, unchanged: Watch, use: str) -> None:
    model, dataset = add_model(api), add_dataset(api, text_pairs(), "text_pairs")
    with unchanged():
        response = api.post(f"/v1/models/{model['id']}/quantizations", json={use: dataset["id"]})
        document = problem(response, ProblemKind.DATASET_MISMATCH)
    assert "Pairs of texts are for a model with two inputs [N, length] of whole numbers" in document.detail
    assert [error.field for error in document.errors] == [use]


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
@pytest.mark.parametrize("task", ["image_classification", "image_translation"])
def test_domains_are_for_translators(api: httpx.Client, unchanged: Watch, use: str, task: str) -> None:
    model = add_model(api, metadata={"task": task, "preprocessing": METADATA["preprocessing"]})
    dataset = add_dataset(api, domains(), "domains")
    with unchanged():
        response = api.post(f"/v1/models/{model['id']}/quantizations", json={use: dataset["id"]})
        document = problem(response, ProblemKind.WRONG_DATASET_KIND)
    assert "is of kind domains; datasets of two domains are for translators" in document.detail
    assert [error.field for error in document.errors] == [use]


def test_units_are_not_explained_by_domains(api: httpx.Client, unchanged: Watch) -> None:
    model, dataset = add_model(api), add_dataset(api, domains(), "domains")
    with unchanged():
        response = api.post(f"/v1/models/{model['id']}/explanations", json={"dataset_id": dataset["id"], "layer": "r"})
        document = problem(response, ProblemKind.WRONG_DATASET_KIND)
    assert "is of kind domains; units are explained by concepts, signals, text_pairs" in document.detail
    assert [error.field for error in document.errors] == ["dataset_id"]


def test_concepts_count_as_images_without_labels(api: httpx.Client, unchanged: Watch) -> None:
    model, dataset = add_model(api), add_dataset(api, concepts(), "concepts")
    address = f"/v1/models/{model['id']}/quantizations"
    assert api.post(address, json={"calibration_dataset_id": dataset["id"]}).status_code == 202
    with unchanged():
        response = api.post(address, json={"evaluation_dataset_id": dataset["id"]})
        document = problem(response, ProblemKind.WRONG_DATASET_KIND)
    assert "needs images" in document.detail
    signals = add_model(api, metadata={"task": "signal_classification"})
    response = api.post(f"/v1/models/{signals['id']}/quantizations", json={"calibration_dataset_id": dataset["id"]})
    assert "takes signals" in problem(response, ProblemKind.WRONG_DATASET_KIND).detail


@pytest.mark.parametrize(
    ("kind", "content"), [("concepts", concepts()), ("text_pairs", text_pairs()), ("domains", domains())]
)
def test_evaluations_do_not_compare_them(api: httpx.Client, kind: str, content: bytes) -> None:
    dataset = add_dataset(api, content, kind)["id"]
    document = problem(
        api.post("/v1/evaluations", json={"reference_id": dataset, "generated_id": dataset}),
        ProblemKind.WRONG_DATASET_KIND,
    )
    assert f"is of kind {kind}; evaluations compare images, signals, features" in document.detail


@pytest.mark.parametrize(
    "words",
    [
        "`images/NAME.jpg`", "`labels/CATEGORY/NAME.png`", "`concepts.json`", "`image,category,concept`",
        "`pairs.jsonl`", "`premise_tags`", "`vocab.txt`", "`vectors.txt`", "`A/`", "`B/`", "`paired=true`",
    ],
)  # fmt: skip
def test_the_openapi_page_describes_their_files(api: httpx.Client, words: str) -> None:
    assert words in api.get("/openapi.json").json()["paths"]["/v1/datasets"]["post"]["description"]


def test_list_and_filters(api: httpx.Client) -> None:
    first = add_dataset(api, images(), name="Pets")["id"]
    second = add_dataset(api, detection(["ant"]), "detection", name="insects")["id"]

    def ids(query: str) -> list[str]:
        return [item["id"] for item in api.get(f"/v1/datasets?{query}").json()["items"]]

    assert ids("") == [second, first]
    assert ids("kind=images") == [first]
    assert ids("name=pet") == [first]
    page = api.get("/v1/datasets?limit=1").json()
    assert ids(f"limit=1&cursor={page['next_cursor']}") == [first]
    problem(api.get("/v1/datasets?kind=poems"), ProblemKind.INVALID_REQUEST)


def add_generated(library: Library, kind: DatasetKind = DatasetKind.IMAGES) -> Dataset:
    """Store a dataset as a job does."""
    content, sheet = library.store_blob(b"inputs"), library.store_blob(SHEET)
    return library.add(
        Dataset(
            id=new_id("dts"),
            name="inputs of naïve net",
            kind=kind,
            created_at=utc_now(),
            sha256=content.sha256,
            bytes=content.bytes,
            samples=1,
            derived_from_id="mdl_origin",
            files={"contact-sheet.png": StoredFile(sha256=sheet.sha256, bytes=sheet.bytes, media_type="image/png")},
        )
    )


def test_datasets_derived_from_a_model(api: httpx.Client, library: Library) -> None:
    add_dataset(api, images())
    dataset = add_generated(library)
    (listed,) = api.get("/v1/datasets?derived_from_id=mdl_origin").json()["items"]
    assert listed["id"] == dataset.id
    assert listed["derived_from_id"] == "mdl_origin"
    assert api.get(listed["links"]["self"]).json()["links"]["derived_from"] == "/v1/models/mdl_origin"
    assert api.get("/v1/datasets?derived_from_id=mdl_other").json()["items"] == []


def test_a_contact_sheet(api: httpx.Client, library: Library, settings: Settings) -> None:
    dataset = api.get(f"/v1/datasets/{add_generated(library).id}").json()
    address = dataset["links"]["contact-sheet.png"]
    assert address == f"{dataset['links']['self']}/files/contact-sheet.png"
    response = api.get(address)
    assert response.content == SHEET
    assert response.headers["content-type"] == "image/png"
    assert "inputs of na_ve net-contact-sheet.png" in response.headers["content-disposition"]
    assert response.headers["etag"] == f'"{dataset["files"]["contact-sheet.png"]["sha256"]}"'
    assert api.delete(dataset["links"]["self"]).status_code == 204
    problem(api.get(address), ProblemKind.NOT_FOUND)
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_an_unknown_file(api: httpx.Client, library: Library) -> None:
    address = f"/v1/datasets/{add_generated(library).id}/files"
    problem(api.get(f"{address}/..%2Fcontent"), ProblemKind.NOT_FOUND)
    for name in ("curves.png", "Contact-Sheet.png", "%00"):
        assert "It has contact-sheet.png." in problem(api.get(f"{address}/{name}"), ProblemKind.NOT_FOUND).detail
    plain = add_dataset(api, images())
    document = problem(api.get(f"/v1/datasets/{plain['id']}/files/contact-sheet.png"), ProblemKind.NOT_FOUND)
    assert "no further files" in document.detail
    problem(api.get("/v1/datasets/dts_unknown/files/contact-sheet.png"), ProblemKind.NOT_FOUND)


@pytest.mark.parametrize("kind", list(DatasetKind))
def test_the_file_of_each_kind_has_its_ending_and_media_type(
    api: httpx.Client, library: Library, kind: DatasetKind
) -> None:
    response = api.get(f"/v1/datasets/{add_generated(library, kind).id}/content")
    assert response.content == b"inputs"
    arrays = (DatasetKind.SIGNALS, DatasetKind.TENSORS, DatasetKind.FEATURES)
    suffixes = {DatasetKind.TEXTS: ".txt", **dict.fromkeys(arrays, ".npz")}
    suffix = suffixes.get(kind, ".zip")
    media_type = "application/zip" if suffix == ".zip" else "application/octet-stream"
    assert response.headers["content-type"] == media_type
    assert f'filename="inputs of na_ve net{suffix}"' in response.headers["content-disposition"]


def test_a_missing_file(api: httpx.Client, library: Library) -> None:
    dataset = add_generated(library)
    library.blobs.delete(dataset.files["contact-sheet.png"].sha256)
    problem(api.get(f"/v1/datasets/{dataset.id}/files/contact-sheet.png"), ProblemKind.BLOB_MISSING)


def test_delete(api: httpx.Client, settings: Settings) -> None:
    address = f"/v1/datasets/{add_dataset(api, images())['id']}"
    assert api.delete(address).status_code == 204
    for response in (api.get(address), api.delete(address), api.get(f"{address}/content")):
        problem(response, ProblemKind.NOT_FOUND)
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_a_translator_in_use_is_not_deleted(api: httpx.Client) -> None:
    model, dataset = add_model(api), add_dataset(api, images(["cat", "dog", "emu"]))
    body = {"evaluation_dataset_id": dataset["id"]}
    job = api.post(f"/v1/models/{model['id']}/quantizations", json=body).json()
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
        assert api.get(address).status_code == 200
    assert api.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "canceled"
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert api.delete(address).status_code == 204


@pytest.mark.parametrize("max_side", [4, None])
def test_a_sample_is_shown_as_an_image(api: httpx.Client, max_side: int | None) -> None:
    dataset = add_dataset(api, images())
    path = f"/v1/datasets/{dataset['id']}/samples/1/image"
    response = api.get(path, params={} if max_side is None else {"max_side": max_side})
    assert response.headers["content-type"] == "image/png"
    shown = Image.open(io.BytesIO(response.content))
    if max_side is None:
        assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(image(1)))))
    else:
        assert shown.size == (4, 3)
    again = api.get(path, params=response.url.params, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(("content", "kind"), [(domains(), "domains"), (concepts(), "concepts")])
def test_every_kind_with_images_shows_them_all(api: httpx.Client, content: bytes, kind: str) -> None:
    dataset = add_dataset(api, content, kind)
    address = f"/v1/datasets/{dataset['id']}/samples"
    shown = {api.get(f"{address}/{index}/image").content for index in range(dataset["samples"])}
    assert len(shown) == dataset["samples"]


def test_a_sample_that_is_no_image_or_not_there_is_said(api: httpx.Client) -> None:
    signals = add_dataset(api, npz(signals=np.zeros((2, 1, 4), np.float32)), "signals")
    document = problem(api.get(f"/v1/datasets/{signals['id']}/samples/0/image"), ProblemKind.NOT_ACCEPTABLE)
    assert "of kind signals, whose samples are no images" in document.detail
    path = f"/v1/datasets/{add_dataset(api, images())['id']}/samples"
    document = problem(api.get(f"{path}/2/image"), ProblemKind.NOT_FOUND)
    assert "has 2 samples, 0 to 1: there is no sample 2" in document.detail
    problem(api.get(f"{path}/-1/image"), ProblemKind.INVALID_REQUEST)
    problem(api.get(f"{path}/0/image?max_side=0"), ProblemKind.INVALID_REQUEST)
