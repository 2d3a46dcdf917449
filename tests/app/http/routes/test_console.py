"""`/` and the files of the console."""

import re

import httpx
import pytest

_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_clients_other_than_browsers_are_led_to_the_documentation(shared_api: httpx.Client, accept: str) -> None:
    response = shared_api.get("/", headers={"Accept": accept}, follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (307, "/docs")
    assert response.headers["Vary"] == "Accept"


def test_browsers_get_the_console_with_a_strict_policy(shared_api: httpx.Client) -> None:
    response = shared_api.get("/", headers=_BROWSER)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Vary"] == "Accept"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Permissions-Policy"].startswith("camera=(self),")


def test_every_file_of_the_page_is_served_and_not_sent_twice(shared_api: httpx.Client) -> None:
    names = re.findall(r'"(/console/[^"]+)"', shared_api.get("/", headers=_BROWSER).text)
    assert len(names) >= 4
    for name in names:
        response = shared_api.get(name)
        assert response.status_code == 200
        again = shared_api.get(name, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == response.headers["ETag"]


@pytest.mark.parametrize("path", ["nothing.js", "../main.py", "%2e%2e/main.py", "vendor/README.md", "types.d.ts", ""])
def test_nothing_else_is_served(shared_api: httpx.Client, path: str) -> None:
    response = shared_api.get(f"/console/{path}")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
