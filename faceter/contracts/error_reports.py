"""Report of an internal error of a job, which the operator can attach to an issue."""

from typing import Any

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp
from faceter.contracts.jobs import JobKind


class FailedNode(Contract):
    """Node of a graph at which a job failed."""

    name: str = Field(examples=["node_conv2d_1"])
    """Name of the node."""
    operator: str = Field(examples=["Conv"])
    """ONNX operator."""
    inputs: list[str] = Field(examples=[["float32 [1, 3, 32, 32]", "float32 [16, 3, 3, 3]"]])
    """Type and shape of each input; no values."""


class ErrorReport(Contract):
    """What a developer needs to find an internal error. Has no weights, no samples and no paths of the host."""

    job_id: str = Field(examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the job."""
    kind: JobKind
    """Kind of job."""
    created_at: Timestamp
    """Time of the error."""
    step: str = Field(default="", examples=["measuring"])
    """What the job was doing."""
    error: str = Field(examples=["IndexError: list index out of range"])
    """Class and message of the exception."""
    node: FailedNode | None = None
    """Node of the model at which it happened, if it happened at one."""
    frames: list[str] = Field(examples=[["workers.onnx_module:263 _run", "workers.operators.convolution:40 conv"]])
    """Places in the code, outermost first: module, line and function; of the error and of those that caused it."""
    request: dict[str, Any] = Field(default_factory=dict, examples=[{"method": "rq", "weight_bits": 4}])
    """Specification of the job."""
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"faceter": "0.1.0", "torch": "2.13.0"}])
    """Versions of Faceter, Python and the packages used."""
    device: str = Field(default="cpu", examples=["cpu"])
    """Device on which the job ran."""
