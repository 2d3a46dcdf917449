"""A full disk: what there is can be read and deleted."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import ResponseError

from faceter.contracts.settings import embedded_socket
from tests.end_to_end.up_process import Up, wait_until
from tests.engines import graphs

pytestmark = pytest.mark.end_to_end

_MIB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(_MIB))
        except OSError:
            pass
        try:
            while True:
                file.write(b"0")
        except OSError:
            pass


def test_deleting_makes_room_on_a_full_disk(disk: Path) -> None:
    up = Up(disk / "data", ["--port", "0", "--workers", "0"], FACETER_RESERVE_BYTES=str(8 * _MIB))
    up.hears("Ready after")
    reserve = disk / "data" / "reserve"
    wait_until(reserve.exists, lambda: "no room was kept back")
    with httpx.Client(base_url=up.url, timeout=30) as client:
        model = client.post("/v1/models", files={"file": ("m.onnx", graphs.classifier())}).raise_for_status().json()
        _fill(disk / "others")

        store = Redis(unix_socket_path=str(embedded_socket(disk / "data" / "valkey")))

        def refused() -> bool:
            try:
                store.set("test:filler", os.urandom(100_000))
            except ResponseError:
                return True
            return False

        wait_until(refused, lambda: "Redis did not notice the full disk")
        made = client.post("/v1/models", files={"file": ("m.onnx", graphs.classifier(seed=1))})
        assert made.status_code == 507
        assert client.get(f"/v1/models/{model['id']}/content").content == graphs.classifier()
        assert client.delete(f"/v1/models/{model['id']}").status_code == 204
        assert client.get(f"/v1/models/{model['id']}").status_code == 404
        (disk / "others").unlink()
        wait_until(reserve.exists, lambda: "the room was not kept back again")
        again = client.post("/v1/models", files={"file": ("m.onnx", graphs.classifier())})
        assert again.status_code == 201
    assert up.end(signal.SIGINT) == 0
    assert up.process.stdout is not None
    up.process.stdout.close()
