"""The gRPC port of real processes."""

import socket
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.app.uploads import add_model
from tests.end_to_end.up_process import Start
from tests.engines import graphs

pytestmark = pytest.mark.end_to_end


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_up_serves_both_ports(tmp_path: Path, start: Start, processes: str) -> None:
    port = free_port()
    arguments = ["--port", "0", "--workers", "0", "--grpc-port", str(port)]
    up = start(tmp_path / "data", *arguments, FACETER_API_PROCESSES=processes)
    with httpx.Client(base_url=up.url, timeout=30) as http:
        up.hears("Ready after")
        model = add_model(http, graphs.adder(), metadata=None)
    array = np.array([[1, 2]], np.float32)
    inputs = [triton.InferInput(name, [1, 2], "FP32") for name in ("a", "b")]
    for item in inputs:
        item.set_data_from_numpy(array)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
    for _ in range(4):
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            assert client.infer(model["id"], inputs).as_numpy("sum").tolist() == [[2, 4]]
    assert "Traceback" not in up.output


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['grpc'] = None; sys.argv[1:] = ['api', '--grpc-port', '0'];"
        "from faceter.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "faceter[grpc]" in done.stderr
    assert "Traceback" not in done.stderr
