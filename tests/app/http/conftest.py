"""Fixtures of the HTTP tests."""

from typing import Any

import httpx
import pytest


@pytest.fixture(scope="module")
def document(shared_api: httpx.Client) -> dict[str, Any]:
    described: dict[str, Any] = shared_api.get("/openapi.json").json()
    return described
