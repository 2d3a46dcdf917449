"""Screenshots of the console for the documentation.

``python -m tests.console.screenshots URL FOLDER IMAGE`` shows the newest quantized model of a
running service, its original, and the newest job.
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


def main(url: str, folder: Path, image: Path) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
