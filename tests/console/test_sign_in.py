"""The console of a service that needs API keys."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.console.browser import accessibility_faults
from tests.end_to_end.up_process import Up


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of a service that needs keys, and a key."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    up = Up(data, ["--port", "0"], FACETER_AUTHENTICATION="on")
    up.hears("Requests need an API key")
    command = [sys.executable, "-m", "faceter", "keys", "create", "console"]
    made = subprocess.run(
        command, env={"FACETER_DATA_DIR": str(data)}, capture_output=True, text=True, check=True, timeout=60
    )
    yield up.url, made.stdout.strip()
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()


def test_it_asks_for_a_key_and_forgets_it_on_request(browser: Browser, guarded: tuple[str, str]) -> None:
    url, key = guarded
    page = browser.new_page()
    page.goto(url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert accessibility_faults(page) == []
    page.get_by_label("API key").fill("fct_wrong_key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The API key is not valid")).to_be_visible()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    assert key not in page.evaluate("document.cookie + JSON.stringify(localStorage)")
    page.reload()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_what_it_shows_is_of_its_site_alone(browser: Browser, guarded: tuple[str, str], tmp_path: Path) -> None:
    url, key = guarded
    page = browser.new_page()
    page.goto(url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    other = tmp_path / "other.html"
    other.write_text(f'<form method="post" action="{url}/v1/models/mdl_a/load"><button>Go</button></form>')
    page.goto(other.as_uri())
    with page.expect_navigation() as navigation:
        page.get_by_role("button", name="Go").click()
    answer = navigation.value
    assert answer is not None
    assert answer.status in (401, 403)
