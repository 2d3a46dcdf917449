"""Provenance of results."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import Any

import faceter
from faceter.contracts.base import Provenance
from faceter.host import memory_bytes, processor_count, processor_name
from workers.host import compute_device, describe_device, device_of_jobs

_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Faceter and of the packages that results depend on."""
    packages = {package: importlib.metadata.version(package) for package in _VERSIONS}
    return {"faceter": faceter.__version__, **packages}


def provenance_of(settings: Mapping[str, Any], inputs: Mapping[str, str], seed: int | None = None) -> Provenance:
    """Return everything needed to reproduce a result.

    Args:
        settings: The request, defaults filled in, as JSON values.
        inputs: SHA-256 of each file, by role.
    """
    return Provenance(
        inputs=dict(inputs),
        settings=dict(settings),
        seed=seed,
        versions=versions(),
        device=describe_device(compute_device()),
        host=_processor(),
    )


def worker_description() -> dict[str, str]:
    """Return device, processor, memory and versions (JSON) of this process as a worker, to be shown to operators."""
    return {
        "device": device_of_jobs(),
        "processor": _processor(),
        "memory_bytes": str(memory_bytes()),
        "versions": json.dumps({"python": platform.python_version(), **versions()}),
    }


def _processor() -> str:
    return f"{processor_name()}, {processor_count()} cores"
