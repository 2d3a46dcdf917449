"""How a model is served: settings in its metadata, and what the service measured and chose."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp

EngineName = Literal["onnxruntime", "onnxruntime_cuda", "openvino"]
"""Inference engines; ONNX Runtime on the CPU is the reference."""


class ServingPrecision(StrEnum):
    """How close the answers of an engine must be to those of the reference."""

    EXACT = "exact"
    """Equal within 1e-4, relative to the largest output above 1."""
    FAST = "fast"
    """Kernels of lower precision, such as bfloat16, are allowed up to a difference of 0.2, if nine in ten classes are
    the same; both are measured and reported."""


class ServingSettings(Contract):
    """How a model is served; all by default chosen by measuring."""

    precision: ServingPrecision = Field(default=ServingPrecision.EXACT, examples=["exact"])
    """Which engines may serve it."""
    max_batch_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(default=None, examples=[8])
    """Most samples of concurrent requests that run as one batch; 1 turns batching off. By default as measured."""
    batch_delay_ms: float = Field(default=0.0, ge=0, le=1000, examples=[0.0])
    """How long a sample waits for others to run with, in milliseconds."""
    instances: Annotated[int, Field(ge=1, le=64)] | None = Field(default=None, examples=[2])
    """Runs of the model at the same time in one process. By default as many as the process runs of all models."""


class EngineMeasurement(Contract):
    """An engine, measured on one sample beside the reference."""

    engine: EngineName = Field(examples=["openvino"])
    """Name of the engine."""
    precision: ServingPrecision = Field(examples=["exact"])
    """ServingPrecision that it was loaded with."""
    milliseconds: float | None = Field(default=None, examples=[0.54])
    """Median time of a run; null if it cannot run the model."""
    difference: float | None = Field(default=None, examples=[2.1e-7])
    """Largest difference from the reference, relative to the largest output above 1; null if there is no number."""
    same_class: float | None = Field(default=None, examples=[0.998])
    """Share of samples with the same class, of outputs that look like class scores."""
    excluded: str | None = Field(default=None, examples=["Its outputs differ by 0.002, more than `exact` allows."])
    """Why it does not serve the model; null if it may."""


class BatchMeasurement(Contract):
    """Time of one run of several samples by the engine that serves the model."""

    samples: int = Field(examples=[4])
    """Samples of the run."""
    milliseconds: float = Field(examples=[2.2])
    """Median time of a run."""


class ServingReport(Contract):
    """What serves a model on a host, and what was measured to choose it."""

    engine: EngineName = Field(examples=["onnxruntime"])
    """Engine that serves the model."""
    precision: ServingPrecision = Field(examples=["exact"])
    """Its precision."""
    max_batch_size: int = Field(default=1, examples=[1])
    """Most samples of concurrent requests that run as one batch; 1 if they run one by one."""
    threads: int = Field(examples=[1])
    """Threads of a run."""
    reason: str = Field(examples=["It is the fastest of the engines that agree with the reference."])
    """Why this engine and batch size."""
    engines: list[EngineMeasurement] = Field(default_factory=list)
    """Every engine that was measured; the first is the reference."""
    batches: list[BatchMeasurement] = Field(default_factory=list)
    """Runs of several samples."""
    host: str = Field(examples=["Intel(R) Xeon(R) Processor, 2 cores"])
    """Where it was measured; other hosts measure for themselves."""
    measured_at: Timestamp
    """Time of the measurement."""
