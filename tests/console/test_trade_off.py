"""The trade-off of a quantization to a target, its synthetic inputs, and the kept form."""

import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.console.browser import NARROW, accessibility_faults, sideways_scroll, watched_page

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def model(url: str, digits: Path) -> str:
    """Id of the digits model, with its metadata."""
    data = {"name": "digits", "metadata": (digits / "metadata.json").read_text()}
    with (digits / "model.onnx").open("rb") as file:
        answer = httpx.post(f"{url}/v1/models", files={"file": file}, data=data)
    return str(answer.raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def small(url: str, model: str) -> str:
    """Id of a model quantized to lose at most 5 points, in a few steps."""
    body = {"method": "auto", "target": {"max_drop": 5}, "max_steps": 40}
    job = httpx.post(f"{url}/v1/models/{model}/quantizations", json=body).raise_for_status().json()["id"]
    events = httpx.get(f"{url}/v1/jobs/{job}/events", timeout=120).text
    end = json.loads([line for line in events.splitlines() if line.startswith("data: ")][-1].removeprefix("data: "))
    return str(end["result"]["id"])


def test_a_point_of_the_curve_is_seen_and_quantized_to(browser: Browser, url: str, model: str, small: str) -> None:
    trade_off = httpx.get(f"{url}/v1/models/{small}").json()["quantization"]["trade_off"]
    chosen, points = trade_off["chosen"], trade_off["points"]
    other = chosen - 1 if chosen else chosen + 1
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/quantizations/{small}")
        slider = page.get_by_label("Point of the curve")
        expect(slider).to_have_value(str(chosen))
        expect(page.get_by_text("Quantize to this size")).to_have_count(0)
        slider.focus()
        slider.press("ArrowLeft" if chosen else "ArrowRight")
        page.wait_for_url(f"**?point={other}")
        page.reload()
        expect(slider).to_have_value(str(other))
        page.get_by_text("Bits of its weights").click()
        rows = page.get_by_role("region", name="Bits of the weights").locator("tbody tr")
        expect(rows).to_have_count(len(points[other]["bits"]))

        chart = page.get_by_role("img", name="Quality by size of the weights").locator(".u-over")
        box = chart.bounding_box()
        assert box is not None
        chart.click(position={"x": box["width"] - 3, "y": 20})
        expect(slider).to_have_value(str(len(points) - 1))
        page.get_by_role("link", name="Quantize to this size").click()
        page.wait_for_url(f"**/#/models/{model}/quantize?max_bytes=*")
        expect(page.get_by_label("Size of all weights, kB")).to_have_value(str(points[-1]["weight_bytes"] / 1000))


def test_synthetic_inputs_are_shown_as_a_sheet(browser: Browser, url: str, small: str) -> None:
    with watched_page(browser, url, NARROW, "dark") as page:
        page.goto(f"{url}/#/quantizations/{small}")
        sheet = page.get_by_role("img", name="Contact sheet of synthetic inputs")
        expect(sheet).to_be_visible()
        page.wait_for_load_state("networkidle")
        assert sheet.evaluate("(image) => image.naturalWidth") > 100
        assert sideways_scroll(page) <= 0
        assert accessibility_faults(page) == []
        page.get_by_role("link", name="Their dataset").click()
        expect(page.get_by_role("heading", name="digits-synthetic")).to_be_visible()


def test_a_form_that_was_not_sent_is_kept_until_it_is(browser: Browser, url: str, model: str) -> None:
    with watched_page(browser, url) as page:
        page.goto(f"{url}/#/models/{model}/quantize")
        page.get_by_label("Method", exact=True).select_option("rq")
        page.get_by_label("Bits of weights").press("ArrowLeft")
        page.reload()
        expect(page.get_by_label("Method", exact=True)).to_have_value("rq")
        expect(page.get_by_label("Bits of weights")).to_have_value("7")
        page.get_by_role("button", name="Start the job").click()
        page.wait_for_url("**/#/jobs/job_*")
        page.goto(f"{url}/#/models/{model}/quantize")
        expect(page.get_by_label("Method", exact=True)).to_have_value("auto")
