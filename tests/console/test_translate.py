"""Training translators, and translating one's own image, in a real browser."""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import NARROW, WIDE, accessibility_faults, sideways_scroll, watched_page
from tests.end_to_end.up_process import Up

pytestmark = pytest.mark.end_to_end

_LONG = 90_000
_IMAGES = 6
_SETTINGS = {"method": "cyclegan", "image_size": 16, "base_channels": 2, "residual_blocks": 1}


@pytest.fixture(scope="module")
def url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a new service that saves checkpoints often."""
    up = Up(tmp_path_factory.mktemp("translate") / "data", ["--port", "0"], FACETER_CHECKPOINT_SECONDS="0.3")
    up.hears("Ready after")
    yield up.url
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()


@pytest.fixture(scope="module")
def images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `dusk.jpg`, `day.jpg`, `unpaired.zip` and `paired.zip`: a few street scenes of two domains."""
    folder = tmp_path_factory.mktemp("streets")
    for source, name in (("dusk2day", "unpaired"), ("labels2photo", "paired")):
        with ZipFile(shared_data / source / "train.zip") as whole, ZipFile(folder / f"{name}.zip", "w") as part:
            for domain in "AB":
                names = sorted(entry for entry in whole.namelist() if entry.startswith(f"{domain}/") and "." in entry)
                for entry in names[:_IMAGES]:
                    part.writestr(entry, whole.read(entry))
                if name == "unpaired":
                    (folder / f"{'dusk' if domain == 'A' else 'day'}.jpg").write_bytes(whole.read(names[0]))
    return folder


def _dataset(url: str, file: Path, name: str, **fields: str) -> str:
    with file.open("rb") as content:
        data = {"kind": "domains", "name": name, **fields}
        answer = httpx.post(f"{url}/v1/datasets", files={"file": content}, data=data)
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def ready(url: str, images: Path) -> str:
    """Id of a small translator of both directions."""
    request = {**_SETTINGS, "dataset_id": _dataset(url, images / "unpaired.zip", "streets"), "epochs": 5}
    made = httpx.post(f"{url}/v1/translators", json=request).raise_for_status().json()
    httpx.get(f"{url}/v1/jobs/{made['job_id']}/events", timeout=120)
    assert httpx.get(f"{url}/v1/translators/{made['id']}").json()["status"] == "ready"
    return str(made["id"])


def _shown_columns(page: Page) -> list[int]:
    """Return the red value of a row of pixels of the comparison, as one sees it."""
    with Image.open(io.BytesIO(page.locator(".compare").screenshot())) as image:
        return [image.convert("RGB").getpixel((x, 12))[0] for x in range(2, image.width - 2)]  # type: ignore[index]


def test_without_data_the_pages_say_what_to_do_first(browser: Browser, url: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators")
        expect(page.get_by_text("There is no translator yet")).to_be_visible()
        expect(page.get_by_text(f"curl {url}/v1/datasets -F kind=domains")).to_be_visible()
        page.get_by_role("link", name="Train a translator").first.click()
        expect(page.get_by_role("heading", name="First, the images")).to_be_visible()
        assert accessibility_faults(page) == []
        page.get_by_role("link", name="Upload a dataset").click()
        expect(page).to_have_title("Datasets · Faceter")


def test_a_training_is_followed_stopped_and_its_result_used(
    browser: Browser, url: str, images: Path, tmp_path: Path
) -> None:
    dataset = _dataset(url, images / "unpaired.zip", "dusk and day")
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators/new")
        page.get_by_label("Images of both domains").select_option(dataset)
        page.get_by_label("Settings", exact=True).select_option("trial")
        page.get_by_label("Image size, pixels").fill("16")
        page.get_by_label("Channels").fill("2")
        assert page.get_by_label("Settings", exact=True).input_value() == "own"
        page.get_by_label("Name of the translator").fill("dusk to day")
        page.reload()
        expect(page.get_by_label("Name of the translator")).to_have_value("dusk to day")
        expect(page.get_by_label("Images of both domains")).to_have_value(dataset)
        page.get_by_text("The same by the API").click()
        expect(page.get_by_text('"image_size":16')).to_contain_text('"max_minutes":3')
        page.get_by_role("button", name="Start training").click()
        page.wait_for_url("**/#/translators/trl_*")

        step = page.get_by_label("Step", exact=True)
        step.wait_for(timeout=_LONG)
        expect(page.get_by_role("img", name="Differences between images by step")).to_be_visible()
        expect(page.get_by_text("running")).to_be_visible()
        page.get_by_label("Drop an image here").set_input_files(images / "dusk.jpg")
        expect(page.get_by_label("Divide image of A and as B")).to_be_visible()
        step.focus()
        step.press("Home")
        first = page.get_by_role("img", name="Contact sheet at step").get_attribute("src")
        page.wait_for_url("**?step=*")
        page.reload()
        expect(page.get_by_role("img", name="Contact sheet at step")).to_have_attribute("src", str(first))
        page.get_by_role("link", name="Translators").first.click()
        page.get_by_role("link", name="dusk to day").click()

        page.get_by_role("button", name="Stop and keep").click()
        expect(page.get_by_text("it was stopped")).to_be_visible(timeout=_LONG)
        expect(page.get_by_role("region", name="Quality of the translations")).to_contain_text(
            "Error of the round trip"
        )
        page.get_by_role("button", name="Play").click()
        page.get_by_role("button", name="Pause").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download a2b.onnx").click()
        download.value.save_as(tmp_path / "a2b.onnx")
        translator = httpx.get(f"{url}/v1/translators/{page.url.rpartition('/')[2].partition('?')[0]}").json()
        generator = httpx.get(f"{url}/v1/models/{translator['model_ids']['a2b']}/content").content
        assert (tmp_path / "a2b.onnx").read_bytes() == generator

        page.get_by_role("link", name="Train further").click()
        expect(page.get_by_text("is continued: its networks")).to_be_visible()
        expect(page.get_by_label("Image size, pixels")).to_have_value("16")


def test_an_own_image_is_translated_both_ways_and_there_and_back(
    browser: Browser, url: str, ready: str, images: Path, tmp_path: Path
) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators/{ready}")
        page.get_by_label("Drop an image here").set_input_files(images / "dusk.jpg")
        slider = page.get_by_label("Divide image of A and as B")
        slider.focus()
        slider.press("End")
        with Image.open(images / "dusk.jpg") as original:
            width, height = original.size
        before = _shown_columns(page)
        slider.press("Home")
        after = _shown_columns(page)
        assert before != after
        for _ in range(50):
            slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", "50 % image of A, the rest as B")
        both = _shown_columns(page)
        half = len(both) // 2 - 20
        assert both[:half] == before[:half]
        assert both[-half:] == after[-half:]

        with page.expect_download() as download:
            page.get_by_role("link", name="Download the result").click()
        assert download.value.suggested_filename == "dusk-a2b.png"
        download.value.save_as(tmp_path / "day.png")
        with (images / "dusk.jpg").open("rb") as file:
            asked = httpx.post(f"{url}/v1/translators/{ready}/translate?direction=a2b", files={"file": file})
        assert (tmp_path / "day.png").read_bytes() == asked.content
        page.get_by_role("button", name="Translate the result B to A").click()
        expect(page.get_by_label("Divide image of B and as A")).to_be_visible()

        page.get_by_label("A to B").check()
        page.get_by_label("and back").check()
        page.get_by_label("Compare the image with").select_option("the translation back")
        expect(page.get_by_label("Divide image of A and back as A")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the result").click()
        download.value.save_as(tmp_path / "cycle.png")
        with Image.open(tmp_path / "cycle.png") as sheet:
            assert sheet.size == (3 * width, height)
        assert page.locator(".compare canvas").first.evaluate("(canvas) => canvas.width") == width


def test_what_is_refused_is_said(browser: Browser, url: str, ready: str, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no image")
    with watched_page(browser, url, expected="the server responded with a status of 4") as page:
        page.goto(f"{url}/#/translators/{ready}")
        page.get_by_label("Drop an image here").set_input_files(tmp_path / "no.png")
        expect(page.get_by_role("alert")).to_contain_text("no.png")
        page.goto(f"{url}/#/translators/trl_00000000000000000000")
        expect(page.get_by_role("alert")).to_contain_text("trl_00000000000000000000")
        page.goto(f"{url}/#/translators/new")
        page.get_by_label("pix2pix").check()
        expect(page.get_by_text("pix2pix needs pairs")).to_be_visible()
        expect(page.get_by_role("button", name="Start training")).to_be_disabled()
        page.get_by_label("CycleGAN").check()
        page.get_by_text("More settings").click()
        page.get_by_label("Learning rate").fill("5")
        page.get_by_role("button", name="Start training").click()
        expect(page.get_by_role("alert")).to_contain_text("learning_rate")
        assert page.get_by_label("Learning rate").input_value() == "5"


def test_pairs_are_trained_on_and_the_training_cancelled_by_keyboard(browser: Browser, url: str, images: Path) -> None:
    dataset = _dataset(url, images / "paired.zip", "labels and photos", paired="true")
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators/new")
        page.get_by_label("CycleGAN").focus()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_label("Images of both domains")).to_have_value(dataset)
        page.get_by_label("Direction to learn").select_option("b2a")
        page.get_by_label("Settings", exact=True).select_option("trial")
        page.get_by_role("button", name="Start training").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/translators/trl_*")
        cancel = page.get_by_role("button", name="Cancel")
        expect(page.get_by_role("progressbar", name="Progress")).to_be_visible(timeout=_LONG)
        cancel.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("The training ended without a translator")).to_be_visible(timeout=_LONG)
        settings = httpx.get(f"{url}/v1/translators/{page.url.rpartition('/')[2]}").json()["settings"]
        assert (settings["method"], settings["direction"], settings["image_size"]) == ("pix2pix", "b2a", 32)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_pages_fit_and_are_accessible(
    browser: Browser, url: str, ready: str, images: Path, size: tuple[int, int], scheme: str
) -> None:
    pages = {
        "translators": "streets, cyclegan",
        "translators/new": "Size and budget",
        f"translators/{ready}": "Files",
    }
    with watched_page(browser, url, size, scheme) as page:
        for path, text in pages.items():
            page.goto(f"{url}/#/{path}")
            expect(page.get_by_text(text).first).to_be_visible()
            if path.endswith("new"):
                page.get_by_text("More settings").click()
            if path.endswith(ready):
                page.get_by_label("Drop an image here").set_input_files(images / "dusk.jpg")
                expect(page.locator(".compare")).to_be_visible()
            assert sideways_scroll(page) <= 0, path
            assert accessibility_faults(page) == [], path


def test_a_translator_is_deleted_after_a_question(browser: Browser, url: str, images: Path) -> None:
    dataset = _dataset(url, images / "unpaired.zip", "short")
    made = httpx.post(f"{url}/v1/translators", json={**_SETTINGS, "dataset_id": dataset, "epochs": 1}).json()
    httpx.get(f"{url}/v1/jobs/{made['job_id']}/events", timeout=120)
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators/{made['id']}")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Keep it").click()
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete the translator").click()
        page.wait_for_url("**/#/translators")
    assert httpx.get(f"{url}/v1/translators/{made['id']}").status_code == 404


def test_a_generator_of_ones_own_becomes_a_translator(browser: Browser, url: str, ready: str, images: Path) -> None:
    generator = httpx.get(f"{url}/v1/translators/{ready}").json()["model_ids"]["b2a"]
    name = httpx.get(f"{url}/v1/models/{generator}").json()["name"]
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/translators")
        page.get_by_text("From generators that you have").click()
        page.get_by_label("From B to A").select_option(label=name)
        page.get_by_role("button", name="Make the translator").click()
        page.wait_for_url("**/#/translators/trl_*")
        page.get_by_label("Drop an image here").set_input_files(images / "day.jpg")
        expect(page.get_by_label("Divide image of B and as A")).to_be_visible()
        expect(page.get_by_text("Uploaded generators")).to_be_visible()
