"""How a model is served: settings in its metadata, and what the service measured and chose."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from faceter.contracts.base import Contract

EngineName = Literal["onnxruntime", "openvino"]
"""Inference engines; ONNX Runtime is the reference."""


class Precision(StrEnum):
    """How close the answers of an engine must be to those of the reference."""

    EXACT = "exact"
    """Equal within 1e-4, relative to the largest output above 1."""
    FAST = "fast"
    """Kernels of lower precision, such as bfloat16, are allowed; the difference is measured and reported."""


class ServingSettings(Contract):
    """How a model is served; all by default chosen by measuring."""

    precision: Precision = Field(default=Precision.EXACT, examples=["exact"])
    """Which engines may serve it."""
    max_batch_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(default=None, examples=[8])
    """Most samples of concurrent requests that run as one batch; 1 turns batching off. By default as measured."""
    batch_delay_ms: float = Field(default=0.0, ge=0, le=1000, examples=[0.0])
    """How long a sample waits for others to run with, in milliseconds."""
    instances: Annotated[int, Field(ge=1, le=64)] | None = Field(default=None, examples=[2])
    """Runs of the model at the same time in one process. By default as many as the process runs of all models."""
