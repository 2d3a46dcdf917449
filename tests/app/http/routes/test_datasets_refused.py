"""Invalid dataset files are refused, and nothing is stored."""

import stat
import zipfile
from collections.abc import Callable
from io import BytesIO

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from tests.app.dataset_archives import concepts, text_pairs
from tests.app.http.routes.test_datasets import Watch
from tests.app.http.test_problems import problem
from tests.app.uploads import add_dataset, archive, image, images, post_dataset, stored_blobs


def link() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive_file:
        entry = zipfile.ZipInfo("cat/a.png")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive_file.writestr(entry, "/etc/passwd")
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


def test_errors_name_the_file_or_the_line(api: httpx.Client) -> None:
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
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive_file:
        archive_file.writestr("a.png", bytes(1_000_000))
    problem(post_dataset(api, file.getvalue()), ProblemKind.ARCHIVE_TOO_LARGE)
    assert not stored_blobs(settings.data_dir / "blobs")
