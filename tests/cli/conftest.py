"""The service of the client's tests, for the commands that use it."""

from tests.client.conftest import service_settings, url, worker

__all__ = ["service_settings", "url", "worker"]
