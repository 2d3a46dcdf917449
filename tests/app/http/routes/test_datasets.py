import json
import stat
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.http.test_problems import problem
from tests.app.uploads import METADATA, add_dataset, add_model, archive, detection, image, images, npz, post_dataset

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


NAMES = {"object": ["sky", "road"], "scene": ["day", "dusk"]}


def concepts(largest: int = 2) -> bytes:
    """Return a `concepts` dataset of two images, whose labels go up to a number."""
    values, label = np.zeros((10, 12), np.uint8), BytesIO()
    values[:4] = largest
    Image.fromarray(values).save(label, "PNG")
    files = {f"images/{name}.png": image(seed) for seed, name in enumerate("ab")}
    files |= {f"labels/object/{name}.png": label.getvalue() for name in "ab"}
    files["image_labels.csv"] = b"image,category,concept\na,scene,day\nb.png,scene,dusk\n"
    return archive({**files, "concepts.json": json.dumps(NAMES).encode()})


def text_pairs(**changes: Any) -> bytes:
    """Return a `text_pairs` dataset of two pairs, the second changed as told."""
    pairs = [{"premise": "a man plays", "hypothesis": "a man sleeps", "label": "contradiction"}] * 2
    lines = [json.dumps(pair).encode() for pair in (pairs[0], {**pairs[1], **changes})]
    return archive({"pairs.jsonl": b"\n".join(lines), "vocab.txt": b"<pad>\n<unk>\na\nman\nplays\n"})


def domains(*others: str, size: tuple[int, int] = (12, 10)) -> bytes:
    """Return a `domains` dataset of two pairs, the last image of that size, and of other images."""
    files = {name: image(seed) for seed, name in enumerate(["A/1.png", "A/2.png", "B/1.png", *others])}
    return archive({**files, "B/2.jpg": image(size=size, form="JPEG")})


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
    assert dataset["warnings"] == ["not in vocab.txt, so taken for unknown: 1 word at 2 of 12 places: 'sleeps'"]
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


def test_a_record_from_before_there_were_concepts_and_pairs(api: httpx.Client, library: Library) -> None:
    kept = made(library)
    assert Dataset.model_validate(kept.model_dump(exclude={"concepts", "paired"})) == kept
    assert api.get(f"/v1/datasets/{kept.id}").json()["concepts"] == {}


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
def test_text_pairs_are_for_explanations(api: httpx.Client, unchanged: Watch, use: str) -> None:
    model, dataset = add_model(api), add_dataset(api, text_pairs(), "text_pairs")
    with unchanged():
        response = api.post(f"/v1/models/{model['id']}/quantizations", json={use: dataset["id"]})
        document = problem(response, ProblemKind.WRONG_DATASET_KIND)
    assert "text pairs are for explanations" in document.detail
    assert [error.field for error in document.errors] == [use]


@pytest.mark.parametrize("use", ["calibration_dataset_id", "evaluation_dataset_id"])
@pytest.mark.parametrize("task", ["image_classification", "image_translation"])
def test_domains_are_for_translators(api: httpx.Client, unchanged: Watch, use: str, task: str) -> None:
    model = add_model(api, metadata={"task": task, "preprocessing": METADATA["preprocessing"]})
    dataset = add_dataset(api, domains(), "domains")
    with unchanged():
        response = api.post(f"/v1/models/{model['id']}/quantizations", json={use: dataset["id"]})
        document = problem(response, ProblemKind.WRONG_DATASET_KIND)
    assert "is of kind domains; two domains are for translators" in document.detail
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
def test_the_page_says_what_is_in_their_files(api: httpx.Client, words: str) -> None:
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


def made(library: Library, kind: DatasetKind = DatasetKind.IMAGES) -> Dataset:
    """Keep a dataset as a job makes one."""
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


def test_those_made_from_a_model(api: httpx.Client, library: Library) -> None:
    add_dataset(api, images())
    dataset = made(library)
    (listed,) = api.get("/v1/datasets?derived_from_id=mdl_origin").json()["items"]
    assert listed["id"] == dataset.id
    assert listed["links"]["derived_from"] == "/v1/models/mdl_origin"
    assert api.get("/v1/datasets?derived_from_id=mdl_other").json()["items"] == []


def test_a_contact_sheet(api: httpx.Client, library: Library, settings: Settings) -> None:
    dataset = api.get(f"/v1/datasets/{made(library).id}").json()
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


def test_a_file_that_is_not_there(api: httpx.Client, library: Library) -> None:
    address = f"/v1/datasets/{made(library).id}/files"
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
    response = api.get(f"/v1/datasets/{made(library, kind).id}/content")
    assert response.content == b"inputs"
    arrays = kind in (DatasetKind.SIGNALS, DatasetKind.FEATURES)
    suffix, media_type = (".npz", "application/octet-stream") if arrays else (".zip", "application/zip")
    assert response.headers["content-type"] == media_type
    assert f'filename="inputs of na_ve net{suffix}"' in response.headers["content-disposition"]


def test_a_file_that_is_lost(api: httpx.Client, library: Library) -> None:
    dataset = made(library)
    library.blobs.delete(dataset.files["contact-sheet.png"].sha256)
    problem(api.get(f"/v1/datasets/{dataset.id}/files/contact-sheet.png"), ProblemKind.BLOB_MISSING)


def test_delete(api: httpx.Client, settings: Settings) -> None:
    address = f"/v1/datasets/{add_dataset(api, images())['id']}"
    assert api.delete(address).status_code == 204
    for response in (api.get(address), api.delete(address), api.get(f"{address}/content")):
        problem(response, ProblemKind.NOT_FOUND)
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def link() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        entry = zipfile.ZipInfo("cat/a.png")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, "/etc/passwd")
    return file.getvalue()


BAD: dict[str, tuple[bytes, str, ProblemKind]] = {
    "empty": (b"", "images", ProblemKind.INVALID_ARCHIVE),
    "not a zip": (b"images" * 100, "images", ProblemKind.INVALID_ARCHIVE),
    "a zip of nothing": (archive({}), "images", ProblemKind.INVALID_ARCHIVE),
    "a path upwards": (archive({"../a.png": image()}), "images", ProblemKind.UNSAFE_ARCHIVE),
    "an absolute path": (archive({"/etc/a.png": image()}), "images", ProblemKind.UNSAFE_ARCHIVE),
    "a link": (link(), "images", ProblemKind.UNSAFE_ARCHIVE),
    "a broken image": (archive({"cat/torn.png": image()[:100]}), "images", ProblemKind.INVALID_IMAGE),
    "no annotations": (images(["cat"]), "detection", ProblemKind.INVALID_DATASET),
    "an index past the names": (concepts(largest=3), "concepts", ProblemKind.INVALID_DATASET),
    "one domain": (archive({"A/1.png": image(), "A/2.png": image()}), "domains", ProblemKind.INVALID_DATASET),
    "an empty premise": (text_pairs(premise=""), "text_pairs", ProblemKind.INVALID_DATASET),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_and_leave_nothing(api: httpx.Client, unchanged: Watch, case: str) -> None:
    content, dataset_kind, kind = BAD[case]
    add_dataset(api, images())
    with unchanged():
        document = problem(post_dataset(api, content, dataset_kind), kind)
    assert [error.field for error in document.errors] == ["file"]


def test_the_file_or_the_line_is_named(api: httpx.Client) -> None:
    response = post_dataset(api, concepts(largest=3), "concepts")
    assert "'labels/object/a.png' holds the value 3" in problem(response, ProblemKind.INVALID_DATASET).detail
    response = post_dataset(api, text_pairs(premise=""), "text_pairs")
    assert "pairs.jsonl: line 2 has an empty 'premise'" in problem(response, ProblemKind.INVALID_DATASET).detail


def test_a_broken_image_is_named(api: httpx.Client) -> None:
    response = post_dataset(api, archive({"cat/good.png": image(), "cat/torn.png": image()[:100]}))
    assert "torn.png" in problem(response, ProblemKind.INVALID_IMAGE).detail


@pytest.mark.parametrize("kind", ["poems", "", "IMAGES"])
def test_unknown_kinds(api: httpx.Client, unchanged: Watch, kind: str) -> None:
    with unchanged():
        document = problem(post_dataset(api, images(), kind), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == ["kind"]
    assert "images" in document.detail


def test_no_kind(api: httpx.Client) -> None:
    problem(api.post("/v1/datasets", files={"file": ("a.zip", images())}), ProblemKind.INVALID_REQUEST)


def test_a_bomb(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    api = start_server(settings.model_copy(update={"max_unpacked_bytes": 100_000}))
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.png", bytes(1_000_000))
    problem(post_dataset(api, file.getvalue()), ProblemKind.ARCHIVE_TOO_LARGE)
    assert not [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()]


def test_one_in_use_is_not_deleted(api: httpx.Client) -> None:
    model, dataset = add_model(api), add_dataset(api, images(["cat", "dog", "emu"]))
    body = {"evaluation_dataset_id": dataset["id"]}
    job = api.post(f"/v1/models/{model['id']}/quantizations", json=body).json()
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
        assert api.get(address).status_code == 200
    assert api.delete(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert api.delete(address).status_code == 204
