"""Services that end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.up_process import Start, Up


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a ``faceter up`` that is always stopped after the test."""
    started: list[Up] = []

    def start(data_dir: Path, *arguments: str, **environment: str) -> Up:
        started.append(Up(data_dir, arguments, **environment))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
        up.wait()
        up.close()
