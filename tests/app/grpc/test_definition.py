"""The protocol's definition: its numbers are those of others, and the generated modules are current."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from app.grpc import open_inference_pb2 as pb
from app.grpc.calls import InferenceCalls
from app.services.core import Core
from faceter.contracts.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("app/grpc/open_inference_pb2.py", "app/grpc/open_inference_pb2.pyi")


def shape(message: Any) -> dict[str, Any]:
    """Return numbers, types and labels of the fields of a message, with those of the messages in it."""
    fields = {field.name: (field.number, field.type, field.is_repeated) for field in message.fields}
    return fields | {nested.name: shape(nested) for nested in message.nested_types}


def test_messages_are_those_of_the_client() -> None:
    ours, theirs = pb.DESCRIPTOR.message_types_by_name, service_pb2.DESCRIPTOR.message_types_by_name
    assert len(ours) == 21
    for name, message in ours.items():
        assert shape(message) == shape(theirs[name]), name


def test_every_call_of_the_definition_is_answered(settings: Settings) -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    handler = InferenceCalls(Core.of(settings)).handler()
    for method in service.methods:
        path = f"/{service.full_name}/{method.name}"
        assert handler.service(type("Details", (), {"method": path})) is not None, method.name


@pytest.mark.skipif(find_spec("grpc_tools") is None, reason="grpcio-tools is not installed")
def test_the_generated_modules_are_current(tmp_path: Path) -> None:
    """Written by `scripts/generate-grpc`. The version of the generator, in a comment, does not matter."""
    command = ["bash", "scripts/generate-grpc", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}, check=True)
    for module in MODULES:
        assert code(tmp_path / module) == code(ROOT / module)


def code(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]
