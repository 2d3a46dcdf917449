"""From an empty service to a quantized model, in a real browser, by mouse and by keyboard."""

import json
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import NARROW, WIDE, accessibility_faults, sideways_scroll, watched_page

pytestmark = pytest.mark.end_to_end

_LONG = 120_000
_LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def _upload(page: Page, url: str, file: Path) -> str:
    """Choose a model file on the page of models; return the id of the model made of it."""
    page.goto(f"{url}/#/models")
    page.get_by_label("Drop an ONNX file here").set_input_files(file)
    page.get_by_role("button", name="Keep the model").click()
    page.wait_for_url("**/#/models/mdl_*")
    return page.url.rpartition("/")[2].partition("?")[0]


def _metadata(digits: Path) -> str:
    return (digits / "metadata.json").read_text()


@pytest.fixture
def model(url: str, digits: Path) -> str:
    """Id of the digits model, with its metadata."""
    with (digits / "model.onnx").open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/models", files={"file": file}, data={"name": "digits", "metadata": _metadata(digits)}
        )
    return str(answer.raise_for_status().json()["id"])


def _quantized(url: str, model: str, **request: object) -> tuple[str, str]:
    """Quantize by the API; return the ids of the job and of the quantized model."""
    body = {"method": "rq", **request}
    job = httpx.post(f"{url}/v1/models/{model}/quantizations", json=body).raise_for_status().json()["id"]
    events = httpx.get(f"{url}/v1/jobs/{job}/events", timeout=120).text
    end = json.loads([line for line in events.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))
    return job, end["result"]["id"]


def test_an_empty_service_says_what_to_do_first(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(url)
        page.wait_for_url("**/#/models")
        expect(page.get_by_text("There is no model yet")).to_be_visible()
        expect(page.get_by_text(f"curl {url}/v1/models")).to_be_visible()
        page.get_by_role("link", name="Jobs").click()
        expect(page.get_by_text("There is no job yet")).to_be_visible()
        expect(page).to_have_title("Jobs · Faceter")


def test_a_model_is_checked_corrected_kept_tried_quantized_and_downloaded(
    browser: Browser, url: str, digits: Path, tmp_path: Path
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models")
        before = httpx.get(f"{url}/v1/models").json()["items"]
        page.get_by_label("Drop an ONNX file here").set_input_files(digits / "model.onnx")
        expect(page.get_by_role("heading", name="model: what was understood of it")).to_be_visible()
        expect(page.get_by_text("Without preprocessing, the model takes tensors only")).to_be_visible()

        page.get_by_role("button", name="Correct it").click()
        page.get_by_label("Task").select_option("image_classification")
        page.get_by_label("Labels, one a line").fill("\n".join(_LABELS))
        page.get_by_label("The model takes images").check()
        assert page.get_by_label("Height, pixels").input_value() == "8"
        page.get_by_label("Order of channels").select_option("gray")
        page.get_by_label("Scale").fill("1/255")
        page.get_by_label("Mean").fill("0.305")
        page.get_by_label("Standard deviation").fill("0.376")
        page.get_by_role("button", name="Check these values").click()
        expect(page.get_by_text("said on upload").first).to_be_visible()
        assert httpx.get(f"{url}/v1/models").json()["items"] == before
        page.get_by_role("button", name="Keep the model").click()
        page.wait_for_url("**/#/models/mdl_*")
        model = page.url.rpartition("/")[2]
        kept = httpx.get(f"{url}/v1/models/{model}").json()["metadata"]
        meant = json.loads(_metadata(digits))
        assert {name: kept[name] for name in ("task", "labels")} == {name: meant[name] for name in ("task", "labels")}
        assert {name: kept["preprocessing"][name] for name in meant["preprocessing"]} == meant["preprocessing"]

        page.get_by_label("Drop an image here").set_input_files(digits / "digit.png")
        expect(page.get_by_role("img", name="Image, classified as two")).to_be_visible()

        page.get_by_role("link", name="Quantize", exact=True).click()
        page.get_by_label("Method", exact=True).select_option("rq")
        slider = page.get_by_label("Bits of weights")
        slider.focus()
        slider.press("ArrowLeft")
        slider.press("ArrowLeft")
        parameters = httpx.get(f"{url}/v1/models/{model}").json()["parameters"]
        size = f"{parameters * 6 / 8000:.1f} kB of {parameters * 4 / 1000:.0f} kB"
        expect(page.get_by_text("Weights: about")).to_contain_text(size)
        page.get_by_role("button", name="Start the job").click()
        page.wait_for_url("**/#/jobs/job_*")
        page.reload()
        page.get_by_role("link", name="See the result").click(timeout=_LONG)

        page.wait_for_url("**/#/quantizations/mdl_*")
        page.reload()
        expect(page.get_by_role("heading", name="digits").or_(page.get_by_text("rq W6A8")).first).to_be_visible()
        small = page.url.rpartition("/")[2]
        report = httpx.get(f"{url}/v1/models/{small}").json()["quantization"]
        assert report["settings"]["weight_bits"] == 6
        expect(page.get_by_text("Same first class").first).to_be_visible()
        page.get_by_label("Drop an image here").set_input_files(digits / "digit.png")
        expect(page.get_by_role("img", name="Image, classified as two")).to_have_count(2)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        download.value.save_as(tmp_path / "small.onnx")
        assert (tmp_path / "small.onnx").read_bytes() == httpx.get(f"{url}/v1/models/{small}/content").content


def test_a_checked_model_is_discarded(browser: Browser, url: str, digits: Path) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models")
        before = httpx.get(f"{url}/v1/models").json()["items"]
        page.get_by_label("Drop an ONNX file here").set_input_files(digits / "model.onnx")
        expect(page.get_by_role("button", name="Keep the model")).to_be_focused()
        page.get_by_role("button", name="Discard").click()
        expect(page.get_by_label("Drop an ONNX file here")).to_be_focused()
        assert httpx.get(f"{url}/v1/models").json()["items"] == before


def test_values_that_do_not_fit_are_refused_and_stay_in_the_form(browser: Browser, url: str, digits: Path) -> None:
    with watched_page(browser, url, expected="status of 422") as page:
        page.goto(f"{url}/#/models")
        page.get_by_label("Drop an ONNX file here").set_input_files(digits / "model.onnx")
        page.get_by_role("button", name="Correct it").click()
        page.get_by_label("Task").select_option("image_classification")
        page.get_by_label("Labels, one a line").fill("zero\none")
        page.get_by_role("button", name="Check these values").click()
        expect(page.get_by_role("alert")).to_contain_text("labels")
        expect(page.get_by_label("Labels, one a line")).to_have_value("zero\none")


def test_a_stored_model_is_corrected(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Correct it").click()
        page.get_by_label("Labels, one a line").fill("\n".join(reversed(_LABELS)))
        page.get_by_role("button", name="Keep these values").click()
        page.wait_for_url(lambda address: "/models/mdl_" in address and model not in address)
        corrected = httpx.get(f"{url}/v1/models/{page.url.rpartition('/')[2]}").json()
        assert corrected["metadata"]["labels"] == list(reversed(_LABELS))
        assert httpx.get(f"{url}/v1/models/{model}").status_code == 404


def test_a_bad_file_is_refused_with_its_detail(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no ONNX")
    with watched_page(browser, url, expected="status of 422") as page:
        page.goto(url)
        page.get_by_label("Drop an ONNX file here").set_input_files(tmp_path / "bad.onnx")
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The file is not a usable ONNX model")
        expect(alert).to_contain_text("export the model again")
        expect(page.get_by_label("Drop an ONNX file here")).to_be_enabled()


def test_wrong_values_are_refused_with_the_field(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url, expected="status of 422") as page:
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Correct it").click()
        page.get_by_label("Standard deviation").fill("0")
        page.get_by_role("button", name="Keep these values").click()
        expect(page.get_by_role("alert")).to_contain_text("metadata.preprocessing.std")
        assert page.get_by_label("Standard deviation").input_value() == "0"
    assert httpx.get(f"{url}/v1/models/{model}").status_code == 200


def test_what_does_not_exist_is_said(browser: Browser, url: str) -> None:
    with watched_page(browser, url, expected="status of 404") as page:
        page.goto(f"{url}/#/models/mdl_00000000000000000000")
        expect(page.get_by_role("alert")).to_contain_text("mdl_00000000000000000000")
        page.goto(f"{url}/#/nowhere")
        expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_tuning_is_shown_live_and_stopped_with_what_it_has(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{model}/quantize")
        page.get_by_label("Budget").select_option("max_minutes")
        page.get_by_label("Minutes").fill("10")
        page.get_by_role("button", name="Start the job").click()
        expect(page.get_by_role("heading", name="Losses")).to_be_visible(timeout=_LONG)
        page.reload()
        expect(page.get_by_role("heading", name="Losses")).to_be_visible(timeout=_LONG)
        page.get_by_role("button", name="Stop and keep").click()
        page.get_by_role("link", name="See the result").click(timeout=_LONG)
        expect(page.get_by_role("heading", name="Tuning")).to_be_visible()
        expect(page.get_by_role("img", name="Losses by step")).to_be_visible()


def test_the_log_of_a_job_is_shown(browser: Browser, url: str, model: str) -> None:
    job, _ = _quantized(url, model)
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/jobs/{job}")
        log = page.get_by_role("log", name="Log")
        expect(log).to_contain_text("started, attempt 1")
        expect(log).to_contain_text("succeeded")
        expect(page.get_by_text(f"curl {url}/v1/jobs/{job}/log?last=200")).to_be_visible()


def test_a_job_is_cancelled(browser: Browser, url: str, model: str) -> None:
    body = {"max_minutes": 10}
    job = httpx.post(f"{url}/v1/models/{model}/quantizations", json=body).json()["id"]
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/jobs/{job}")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("heading", name="canceled")).to_be_visible(timeout=_LONG)
        page.get_by_role("link", name="Jobs").first.click()
        expect(page.get_by_text("canceled").last).to_be_visible()


def test_the_boxes_of_a_detector_are_drawn(browser: Browser, url: str, shared_data: Path, tmp_path: Path) -> None:
    metadata = {
        "labels": [f"class {index}" for index in range(80)],
        "preprocessing": {"size": [352, 352], "channel_order": "bgr"},
        "detection": {"preset": "fastestdet"},
    }
    with ZipFile(shared_data / "detection" / "indoor.zip") as images:
        (tmp_path / "room.jpg").write_bytes(images.read("images/2007_000027.jpg"))
    with (shared_data / "detection" / "fastestdet.onnx").open("rb") as file:
        answer = httpx.post(f"{url}/v1/models", files={"file": file}, data={"metadata": json.dumps(metadata)})
    detector = answer.raise_for_status().json()["id"]
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{detector}")
        page.get_by_label("Drop an image here").set_input_files(tmp_path / "room.jpg")
        expect(page.get_by_role("img", name="detected boxes")).to_be_visible()
        assert page.evaluate("document.querySelector('canvas').toDataURL().length") > 10_000
        assert page.get_by_role("region", name="Boxes").locator("tbody tr").count() > 0
        before = httpx.get(f"{url}/v1/models/{detector}").json()["metadata"]
        page.get_by_role("button", name="Correct it").click()
        page.get_by_role("button", name="Keep these values").click()
        page.wait_for_url(lambda address: detector not in address)
        after = httpx.get(f"{url}/v1/models/{page.url.rpartition('/')[2]}").json()["metadata"]
        assert after == before


def test_a_model_that_a_job_uses_is_kept_beside_its_correction(browser: Browser, url: str, model: str) -> None:
    job = httpx.post(f"{url}/v1/models/{model}/quantizations", json={"max_minutes": 10}).json()["id"]
    with watched_page(browser, url, expected="status of 409") as page:
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Correct it").click()
        page.get_by_label("Mean").fill("0.25")
        page.get_by_role("button", name="Keep these values").click()
        expect(page.get_by_text("The model with the earlier values is kept")).to_be_visible()
        assert f"/models/{model}" not in page.url
    assert httpx.get(f"{url}/v1/models/{model}").status_code == 200
    httpx.post(f"{url}/v1/jobs/{job}/cancel").raise_for_status()


def test_the_list_is_filtered_and_the_filter_survives_a_reload(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models")
        page.get_by_label("Name contains").fill("nothing has this name")
        page.get_by_label("Name contains").press("Enter")
        expect(page.get_by_text("No model matches")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No model matches")).to_be_visible()
        assert "name=nothing" in page.url


def test_the_keyboard_reaches_content_and_navigation(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/system")
        expect(page.get_by_text("1 worker")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.get_by_role("link", name="Jobs").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_page_fits_and_is_accessible(
    browser: Browser, url: str, model: str, digits: Path, size: tuple[int, int], scheme: str
) -> None:
    job, small = _quantized(url, model)
    pages = {
        "models": "Upload a model",
        f"models/{model}": "Multiply-adds",
        f"models/{model}/quantize": "Start the job",
        f"quantizations/{small}": "Beside the original",
        "jobs": "quantization",
        f"jobs/{job}": "See the result",
        "system": "1 worker",
    }
    with watched_page(browser, url, size, scheme) as page:
        for path, text in pages.items():
            page.goto(f"{url}/#/{path}")
            expect(page.get_by_text(text).first).to_be_visible()
            if path == f"models/{model}":
                page.get_by_label("Drop an image here").set_input_files(digits / "digit.png")
                expect(page.get_by_role("img", name="classified as two")).to_be_visible()
            assert sideways_scroll(page) <= 0, path
            assert accessibility_faults(page) == [], path
            page.reload()
            expect(page.get_by_text(text).first).to_be_visible()
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Correct it").click()
        assert sideways_scroll(page) <= 0
        assert accessibility_faults(page) == []
