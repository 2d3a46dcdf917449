import stat
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO

import httpx
import pytest

from faceter.contracts.base import StoredFile, new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.test_problems import problem
from tests.app.uploads import add_dataset, add_model, archive, detection, images, picture, post_dataset

SHEET = picture(seed=5)

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
    """Keep a data set as a job makes one."""
    content, sheet = library.store_blob(b"inputs"), library.store_blob(SHEET)
    return library.add_dataset(
        Dataset(
            id=new_id("dts"),
            name="inputs of naïve net",
            kind=kind,
            created_at=utc_now(),
            sha256=content.sha256,
            bytes=content.bytes,
            samples=1,
            derived_from="mdl_origin",
            files={"contact-sheet.png": StoredFile(sha256=sheet.sha256, bytes=sheet.bytes, media_type="image/png")},
        )
    )


def test_those_made_from_a_model(api: httpx.Client, library: Library) -> None:
    add_dataset(api, images())
    dataset = made(library)
    (listed,) = api.get("/v1/datasets?derived_from=mdl_origin").json()["items"]
    assert listed["id"] == dataset.id
    assert listed["links"]["derived_from"] == "/v1/models/mdl_origin"
    assert api.get("/v1/datasets?derived_from=mdl_other").json()["items"] == []


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
    "not a zip": (b"pictures" * 100, "images", ProblemKind.INVALID_ARCHIVE),
    "a zip of nothing": (archive({}), "images", ProblemKind.INVALID_ARCHIVE),
    "a path upwards": (archive({"../a.png": picture()}), "images", ProblemKind.UNSAFE_ARCHIVE),
    "an absolute path": (archive({"/etc/a.png": picture()}), "images", ProblemKind.UNSAFE_ARCHIVE),
    "a link": (link(), "images", ProblemKind.UNSAFE_ARCHIVE),
    "a broken picture": (archive({"cat/torn.png": picture()[:100]}), "images", ProblemKind.INVALID_IMAGE),
    "no annotations": (images(["cat"]), "detection", ProblemKind.INVALID_DATASET),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_and_leave_nothing(api: httpx.Client, unchanged: Watch, case: str) -> None:
    content, dataset_kind, kind = BAD[case]
    add_dataset(api, images())
    with unchanged():
        document = problem(post_dataset(api, content, dataset_kind), kind)
    assert [error.field for error in document.errors] == ["file"]


def test_a_broken_picture_is_named(api: httpx.Client) -> None:
    response = post_dataset(api, archive({"cat/good.png": picture(), "cat/torn.png": picture()[:100]}))
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
    body = {"evaluation_dataset": dataset["id"]}
    job = api.post(f"/v1/models/{model['id']}/quantizations", json=body).json()
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert job["id"] in problem(api.delete(address), ProblemKind.RESOURCE_IN_USE).detail
        assert api.get(address).status_code == 200
    assert api.delete(f"/v1/jobs/{job['id']}").json()["status"] == "canceled"
    for address in (f"/v1/datasets/{dataset['id']}", f"/v1/models/{model['id']}"):
        assert api.delete(address).status_code == 204
