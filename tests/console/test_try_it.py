"""Trying a model by the camera, and instance masks over the image."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.app.http.routes.test_detectors import content, drawn, png
from tests.coco_masks import mask_pixels
from tests.console.browser import accessibility_faults, started_browser, watched_page

pytestmark = pytest.mark.end_to_end

_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser with a camera that shows a moving pattern."""
    with started_browser(*_CAMERA) as browser:
        yield browser


@pytest.fixture(scope="module")
def model(url: str, digits: Path) -> str:
    """Id of the digits model, with its metadata."""
    data = {"name": "digits", "metadata": (digits / "metadata.json").read_text()}
    with (digits / "model.onnx").open("rb") as file:
        answer = httpx.post(f"{url}/v1/models", files={"file": file}, data=data)
    return str(answer.raise_for_status().json()["id"])


def _pixels(page: Page) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the RGB pixels of the canvas."""
    address = page.locator("canvas.shown").evaluate("(canvas) => canvas.toDataURL().split(',')[1]")
    with Image.open(io.BytesIO(base64.b64decode(address))) as image:
        return np.asarray(image.convert("RGB"))


def test_an_image_of_the_camera_is_classified(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_label("What the camera sees")).to_be_visible()
        page.get_by_role("button", name="Close the camera").click()
        page.get_by_role("button", name="Use the camera").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Take the image")).to_be_enabled()
        assert accessibility_faults(page) == []
        page.get_by_role("button", name="Take the image").click()
        expect(page.get_by_role("img", name="Image, classified as")).to_be_visible()
        expect(page.get_by_label("Drop an image here")).to_be_visible()


def test_without_a_camera_it_says_what_to_do(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
        page.goto(f"{url}/#/models/{model}")
        page.get_by_role("button", name="Use the camera").click()
        expect(page.get_by_role("alert")).to_contain_text("only for pages by https")
        page.get_by_label("Drop an image here").wait_for()


def test_instance_masks_are_drawn_where_the_objects_are(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "drawn.png").write_bytes(png(drawn()))
    file = content("segment")
    model = httpx.post(f"{url}/v1/models", files={"file": file}).raise_for_status().json()["id"]
    with (tmp_path / "drawn.png").open("rb") as image:
        answer = httpx.post(f"{url}/v1/models/{model}/predict", files={"file": image}).json()
    masks = [found["mask"] for found in answer["detections"][0]]
    assert len(masks) > 3
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{model}")
        page.get_by_label("Drop an image here").set_input_files(tmp_path / "drawn.png")
        expect(page.get_by_role("img", name="detected boxes and masks")).to_be_visible()
        for mask in masks[:3]:
            script = "async (mask) => [...(await import('/console/models/masks.js')).maskPixels(mask)]"
            np.testing.assert_array_equal(page.evaluate(script, mask), mask_pixels(mask).ravel())
        covered = np.any([mask_pixels(mask) > 0 for mask in masks], axis=0)
        changed = np.any(_pixels(page) != drawn(), axis=-1)
        assert changed[covered].mean() > 0.99
