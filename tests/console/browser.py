"""A real browser, and everything about its pages that would be a fault."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, NARROW = (1280, 900), (390, 844)
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
_COLLECT_VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


@contextmanager
def started_browser(*flags: str) -> Iterator[Browser]:
    """Start the browser of this machine, with further flags; skip where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(PROGRAMS)})")
    # Chromium's sandbox refuses to run as root.
    arguments = [*flags, "--no-sandbox"] if os.geteuid() == 0 else list(flags)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@contextmanager
def watched_page(
    browser: Browser, url: str, size: tuple[int, int] = WIDE, scheme: Any = "light", expected: str = "\0"
) -> Iterator[Page]:
    """Open a page, and fail afterwards on errors, violations of the policy, and requests to other hosts.

    Args:
        browser: From `started_browser`.
        url: The service; requests to any other origin are faults.
        size: Width and height in pixels.
        scheme: Preferred colours, `light` or `dark`.
        expected: Part of those console messages that are no faults, such as the status of a refused upload.
    """
    faults: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and expected not in message.text:
            faults.append(message.text)

    with browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, accept_downloads=True
    ) as context:
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.add_init_script(_COLLECT_VIOLATIONS)
        page.on("console", listen)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if _is_local(request.url, url) else faults.append(request.url))
        yield page
        faults += page.evaluate("window.violations")
    assert faults == []


def accessibility_faults(page: Page) -> list[str]:
    """Return what axe has against the page by the rules of WCAG 2.1, levels A and AA."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("(rules) => axe.run({runOnly: rules})", list(_RULES))
    assert found["passes"]
    return [f"{fault['id']}: {[node['target'] for node in fault['nodes']]}" for fault in found["violations"]]


def sideways_scroll(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def _is_local(address: str, url: str) -> bool:
    return urlsplit(address).scheme in ("blob", "data") or address.startswith(f"{url}/")
