"""Datasets in the console: upload of files and folders, what was understood, download, delete."""

import base64
import io
from pathlib import Path
from zipfile import ZipFile

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import NARROW, WIDE, accessibility_faults, sideways_scroll, watched_page

pytestmark = pytest.mark.end_to_end

_DROP = """([selector, name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  const target = document.querySelector(selector);
  target.dispatchEvent(new DragEvent('dragover', {dataTransfer: transfer, bubbles: true, cancelable: true}));
  target.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `pets` with three images of each of two classes of CIFAR-10, and a file of a file manager."""
    folder = tmp_path_factory.mktemp("images") / "pets"
    with ZipFile(shared_data / "cifar10" / "test.zip") as archive:
        for name in ("cat", "dog"):
            (folder / name).mkdir(parents=True)
            for path in [path for path in archive.namelist() if path.startswith(f"{name}/")][:3]:
                (folder / name / Path(path).name).write_bytes(archive.read(path))
    (folder / ".DS_Store").write_bytes(b"added")
    return folder


@pytest.fixture(scope="module")
def archive(folder: Path) -> Path:
    """The same images as `pets.zip`."""
    path = folder.parent / "pets.zip"
    with ZipFile(path, "w") as file:
        for image in sorted(folder.rglob("*.jpg")):
            file.write(image, image.relative_to(folder))
    return path


@pytest.fixture
def dataset(url: str, archive: Path) -> str:
    """Id of the images as a dataset."""
    with archive.open("rb") as file:
        answer = httpx.post(f"{url}/v1/datasets", files={"file": file}, data={"kind": "images", "name": "pets"})
    return str(answer.raise_for_status().json()["id"])


def _choose(page: Page, path: Path) -> None:
    page.get_by_label("here, or choose a file").set_input_files(path)


def _id(page: Page) -> str:
    page.wait_for_url("**/#/datasets/dts_*")
    return page.url.rpartition("/")[2].partition("?")[0]


def test_an_empty_service_says_what_datasets_are_for(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(url)
        page.get_by_role("link", name="Datasets").click()
        expect(page.get_by_text("There is no dataset yet")).to_be_visible()
        expect(page.get_by_text("grade generated samples against real ones")).to_be_visible()
        expect(page.get_by_text(f"curl {url}/v1/datasets -F kind=images -F file=@images.zip")).to_be_visible()
        expect(page).to_have_title("Datasets · Faceter")


def test_a_zip_is_uploaded_inspected_downloaded_and_deleted(
    browser: Browser, url: str, archive: Path, tmp_path: Path
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/datasets")
        page.get_by_label("Kind", exact=True).first.select_option("features")
        expect(page.get_by_text("An .npz with features [N, D]")).to_be_visible()
        _choose(page, archive)
        expect(page.get_by_text("It looks like images")).to_be_visible()
        assert page.get_by_label("Kind", exact=True).first.input_value() == "images"
        page.get_by_role("button", name="Upload").click()
        made = _id(page)
        expect(page.get_by_text("The dataset is stored")).to_be_visible()
        expect(page.get_by_role("heading", name="pets")).to_be_visible()
        expect(page.get_by_role("region", name="Classes").get_by_role("row", name="cat")).to_contain_text("3")
        images = page.get_by_role("img", name="Sample")
        expect(images).to_have_count(6)
        images.last.scroll_into_view_if_needed()
        expect(images.last).to_have_js_property("naturalWidth", 32)
        page.reload()
        expect(images).to_have_count(6)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        download.value.save_as(tmp_path / "again.zip")
        assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete the dataset").click()
        page.wait_for_url("**/#/datasets")
    assert httpx.get(f"{url}/v1/datasets/{made}").status_code == 404


def test_a_folder_is_zipped_in_the_browser(browser: Browser, url: str, folder: Path) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/datasets")
        page.get_by_label("Or choose a folder").set_input_files(folder)
        expect(page.get_by_text("6 files")).to_be_visible()
        page.get_by_label("Name (optional)").fill("two pets")
        page.get_by_role("button", name="Upload").click()
        made = _id(page)
    record = httpx.get(f"{url}/v1/datasets/{made}").json()
    assert (record["name"], record["class_counts"], record["warnings"]) == ("two pets", {"cat": 3, "dog": 3}, [])
    with ZipFile(io.BytesIO(httpx.get(f"{url}/v1/datasets/{made}/content").content)) as sent:
        assert sent.testzip() is None
        for image in folder.rglob("*.jpg"):
            assert sent.read(f"pets/{image.relative_to(folder)}") == image.read_bytes()


def test_a_dropped_file_is_taken_and_its_kind_known(browser: Browser, url: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, features=np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    content = base64.b64encode(buffer.getvalue()).decode()
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/datasets")
        page.evaluate(_DROP, [".drop", "rows.npz", content])
        expect(page.get_by_text("It looks like features")).to_be_visible()
        page.get_by_role("button", name="Upload").click()
        record = httpx.get(f"{url}/v1/datasets/{_id(page)}").json()
        expect(page.get_by_role("link", name="Grade against it")).to_be_visible()
    assert (record["kind"], record["name"], record["samples"]) == ("features", "rows", 20)


def test_pairs_of_domains_and_what_does_not_fit(browser: Browser, url: str, shared_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "few.zip"
    with ZipFile(shared_data / "labels2photo" / "test.zip") as source, ZipFile(path, "w") as file:
        names = sorted(name for name in source.namelist() if name.startswith("A/") and not name.endswith("/"))[:2]
        stems = [Path(name).stem for name in names]
        for name in source.namelist():
            if Path(name).stem in stems:
                file.writestr(name, source.read(name))
    with watched_page(browser, url, expected="status of 422") as page:
        page.goto(f"{url}/#/datasets")
        _choose(page, path)
        expect(page.get_by_text("It looks like images of two domains")).to_be_visible()
        page.get_by_label("Images of equal names are pairs").check()
        page.get_by_text("The same by the API").click()
        expect(page.get_by_text("-F kind=domains -F file=@data.zip -F paired=true")).to_be_visible()
        page.get_by_label("Kind", exact=True).first.select_option("text_pairs")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert")).to_contain_text("pairs.jsonl")
        page.get_by_label("Kind", exact=True).first.select_option("domains")
        page.get_by_role("button", name="Upload").click()
        _id(page)
        expect(page.get_by_text("images of equal names are pairs")).to_be_visible()
        expect(page.get_by_role("link", name="Train a translator")).to_be_visible()
        expect(page.get_by_role("img", name="Sample")).to_have_count(4)


def test_a_missing_dataset_is_said(browser: Browser, url: str) -> None:
    with watched_page(browser, url, expected="status of 404") as page:
        page.goto(f"{url}/#/datasets/dts_00000000000000000000")
        expect(page.get_by_role("alert")).to_contain_text("dts_00000000000000000000")


def test_values_that_were_not_sent_survive_a_reload(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/datasets")
        page.get_by_label("Kind", exact=True).first.select_option("domains")
        page.get_by_label("Name (optional)").fill("dusk")
        page.get_by_label("Images of equal names are pairs").check()
        page.reload()
        expect(page.get_by_label("Name (optional)")).to_have_value("dusk")
        expect(page.get_by_label("Images of equal names are pairs")).to_be_checked()


def test_the_list_is_filtered_by_keyboard_and_the_filter_survives_a_reload(
    browser: Browser, url: str, dataset: str
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/datasets")
        kind = page.locator("#filter-kind")
        kind.focus()
        kind.press("d")
        kind.press("Enter")
        page.get_by_label("Name contains").fill("nothing has this name")
        page.get_by_label("Name contains").press("Enter")
        expect(page.get_by_text("No dataset matches")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No dataset matches")).to_be_visible()
        page.goto(f"{url}/#/datasets?kind=images")
        page.get_by_role("link", name="pets").first.focus()
        page.keyboard.press("Enter")
        _id(page)
        page.get_by_role("button", name="Next").focus()
        expect(page.get_by_text("0 to 5 of 6")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_both_pages_fit_and_are_accessible(
    browser: Browser, url: str, dataset: str, archive: Path, size: tuple[int, int], scheme: str
) -> None:
    with watched_page(browser, url, size, scheme) as page:
        page.goto(f"{url}/#/datasets")
        expect(page.get_by_role("link", name="pets").first).to_be_visible()
        _choose(page, archive)
        page.get_by_text("The same by the API").click()
        assert sideways_scroll(page) <= 0
        assert accessibility_faults(page) == []
        page.goto(f"{url}/#/datasets/{dataset}")
        expect(page.get_by_role("img", name="Sample 5")).to_be_attached()
        page.get_by_role("button", name="Delete").click()
        assert sideways_scroll(page) <= 0
        assert accessibility_faults(page) == []
