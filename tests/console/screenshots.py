"""Screenshots of the console for the documentation.

``python -m tests.console.screenshots URL FOLDER IMAGE STREET`` shows the newest quantized model of a
running service, its original, the newest job, its evaluations, its newest
copy-paste and drift with their explanation, and the newest translator, which should be in training, with STREET as the
image to translate.
"""

import sys
from pathlib import Path

import httpx

from tests.console.browser import started_browser, watched_page

_SIZE = (1180, 820)
_NARROW = (390, 844)


def _newest(url: str, path: str) -> str:
    items = httpx.get(f"{url}{path}").raise_for_status().json()["items"]
    return str(items[0]["id"])


def grading(url: str, folder: Path) -> None:
    """Write screenshots of a dataset, and of the evaluation with the highest coverage beside the others."""
    found = httpx.get(f"{url}/v1/evaluations?sort=-coverage").raise_for_status().json()["items"]
    ids = [item["id"] for item in found if not item["differs"]][::-1]
    with started_browser() as browser, watched_page(browser, url, _SIZE) as page:
        for name, path in (("datasets", "datasets"), ("grade", f"evaluations/new?like={ids[0]}")):
            page.goto(f"{url}/#/{path}")
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"console-{name}.png")
        page.goto(f"{url}/#/evaluations/{ids[0]}?which=outside")
        for title, name in (("Metrics", "metrics"), ("Map", "map"), ("Samples to look at", "samples")):
            panel = page.locator("section.panel").filter(has=page.get_by_role("heading", name=title, exact=True))
            panel.scroll_into_view_if_needed()
            if name == "map":
                page.get_by_role("application").focus()
                page.locator(".map-sample img").last.scroll_into_view_if_needed()
            page.wait_for_timeout(1500)
            panel.screenshot(path=folder / f"console-{name}.png")
        page.goto(f"{url}/#/evaluations/compare?ids={','.join(ids[:3])}")
        page.get_by_text("undecided").first.wait_for()
        page.screenshot(path=folder / "console-compare.png")


def translating(url: str, folder: Path, image: Path) -> None:
    """Write screenshots of the newest translator, which should be in training, and of translating by it."""
    job = _newest(url, "/v1/jobs?kind=translation")
    address = httpx.get(f"{url}/v1/jobs/{job}").json()["links"]["translator"]
    with started_browser() as browser, watched_page(browser, url, _SIZE) as page:
        for name, path, text in (("translators", "", "In training"), ("train", "/new", "Size and budget")):
            page.goto(f"{url}/#/translators{path}")
            page.get_by_role("heading", name=text).wait_for()
            page.screenshot(path=folder / f"console-{name}.png")
        page.goto(f"{url}/#/translators/{address.rpartition('/')[2]}")
        page.get_by_role("img", name="Contact sheet at step").wait_for()
        page.get_by_role("img", name="Differences between images by step").wait_for()
        page.screenshot(path=folder / "console-training.png", full_page=True)
        page.get_by_label("Drop an image here").set_input_files(image)
        page.locator(".compare").wait_for()
        heading = page.get_by_role("heading", name="Translate your own image")
        page.locator("section.panel").filter(has=heading).screenshot(path=folder / "console-translate.png")


def trade_off(url: str, folder: Path) -> None:
    """Write a screenshot of the trade-off of the newest model that has one."""
    models = httpx.get(f"{url}/v1/models?quantized=true").raise_for_status().json()["items"]
    mixed = next(model["id"] for model in models if model["quantization"]["mixed"])
    with started_browser() as browser, watched_page(browser, url, _SIZE) as page:
        page.goto(f"{url}/#/quantizations/{mixed}")
        page.get_by_label("Point of the curve").wait_for()
        heading = page.get_by_role("heading", name="Trade-off")
        page.locator("section.panel").filter(has=heading).screenshot(path=folder / "console-trade-off.png")


def explaining(url: str, folder: Path) -> None:
    """Write screenshots of the newest copy-paste and drift, and of the explanation of the latter."""
    analyses = httpx.get(f"{url}/v1/analyses?limit=100").raise_for_status().json()["items"]
    newest = {item["kind"]: item for item in reversed(analyses)}
    explanation = newest["drift"]["explanation_id"]
    model = httpx.get(f"{url}/v1/explanations/{explanation}").json()["model_id"]
    best = httpx.get(f"{url}/v1/explanations/{explanation}/units?sort=-score").json()["items"][0]
    pages = {
        "explanations": f"explanations?find_concept={best['concept']}",
        "explain": f"models/{model}/explain",
        "units": f"explanations/{explanation}",
        "unit": f"explanations/{explanation}/units/{best['unit']}?layer={best['layer']}",
        "copy-paste": f"analyses/{newest['copy_paste']['id']}",
        "drift": f"analyses/{newest['drift']['id']}",
    }
    with started_browser() as browser:
        for name, path in pages.items():
            with watched_page(browser, url, _SIZE) as page:
                page.goto(f"{url}/#/{path}")
                page.wait_for_timeout(500)
                page.wait_for_load_state("networkidle")
                if name in ("units", "drift"):
                    page.locator("section.panel").filter(has=page.get_by_text("Sort by")).evaluate(
                        "panel => panel.scrollIntoView()"
                    )
                    page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"console-{name}.png", full_page=name == "unit")


def main(url: str, folder: Path, image: Path, street: Path) -> None:
    """Write a screenshot of each page, and of one page on a phone in dark."""
    quantized = _newest(url, "/v1/models?quantized=true")
    original = httpx.get(f"{url}/v1/models/{quantized}").json()["derived_from_id"]
    pages = {
        "models": "models",
        "model": f"models/{original}",
        "quantize": f"models/{original}/quantize",
        "quantization": f"quantizations/{quantized}",
        "jobs": "jobs",
        "job": f"jobs/{_newest(url, '/v1/jobs?status=succeeded')}",
        "system": "system",
    }
    with started_browser() as browser:
        for name, path in pages.items():
            with watched_page(browser, url, _SIZE) as page:
                page.goto(f"{url}/#/{path}")
                page.wait_for_load_state("networkidle")
                if name == "model":
                    page.get_by_label("Drop an image here").set_input_files(image)
                    page.get_by_role("img", name="Image").wait_for()
                page.screenshot(path=folder / f"console-{name}.png", full_page=name == "model")
        with watched_page(browser, url, _NARROW, "dark") as page:
            page.goto(f"{url}/#/quantizations/{quantized}")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=folder / "console-phone.png")
    grading(url, folder)
    trade_off(url, folder)
    translating(url, folder, street)
    explaining(url, folder)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]))
