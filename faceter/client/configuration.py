"""Address, key, time limits and retries of a client."""

import os
import random
from dataclasses import dataclass, field
from typing import Final

import httpx

from faceter import __version__

URL_VARIABLE: Final = "FACETER_URL"
KEY_VARIABLE: Final = "FACETER_API_KEY"
DEFAULT_URL: Final = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT: Final = 600.0
"""Seconds without a byte of the answer; an upload is checked as a whole before it is answered."""
DEFAULT_RETRIES: Final = 4

LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
"""Connections are given up before the service closes them, after five seconds without a request."""

_CONNECT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class RetryPolicy:
    """When a call is sent again, and after how long.

    Attributes:
        retries: How often a call is sent again.
        first: Longest pause before the first retry, in seconds; it doubles each time.
        longest: Longest pause, in seconds. A call that is to wait longer by `Retry-After` fails at once.
    """

    retries: int = DEFAULT_RETRIES
    first: float = 0.25
    longest: float = 60.0

    def pause(self, failures: int, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after this many failures; None to give up.

        The pause is drawn at random from half of its length to the whole, so that many clients do not come back at
        once. `Retry-After` is exceeded by up to a tenth, and never undercut.
        """
        if failures > self.retries or (retry_after is not None and retry_after > self.longest):
            return None
        if retry_after is not None:
            return retry_after * random.uniform(1, 1.1)
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.5, 1)


@dataclass(frozen=True)
class Configuration:
    """Everything that a client is made of."""

    url: str
    key: str | None = field(repr=False)
    timeout: httpx.Timeout
    policy: RetryPolicy

    @classmethod
    def of(cls, url: str | None, key: str | None, timeout: float | httpx.Timeout, retries: int) -> "Configuration":
        """Return a configuration, with what is not given from the environment.

        Raises:
            ValueError: If the address is none of HTTP, or the number of retries is negative.
        """
        url = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The address must begin with http:// or https://, as {DEFAULT_URL}, not {url!r}.")
        if retries < 0:
            raise ValueError(f"The number of retries must be at least 0, not {retries}.")
        if not isinstance(timeout, httpx.Timeout):
            timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        return cls(url, key or os.environ.get(KEY_VARIABLE) or None, timeout, RetryPolicy(retries))

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        headers = {"User-Agent": f"faceter-python/{__version__}"}
        return headers if self.key is None else {**headers, "Authorization": f"Bearer {self.key}"}
