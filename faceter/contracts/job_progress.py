"""Status and progress of a job."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp


class JobStatus(StrEnum):
    """Status of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether this status is final."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class Training(Contract):
    """Progress of tuning or training."""

    phase: str = Field(examples=["tuning"])
    """Current phase."""
    step: int = Field(examples=[400])
    """Steps so far."""
    losses: dict[str, float] = Field(default_factory=dict, examples=[{"kl": 0.031, "features": 0.012}])
    """Mean of each loss over the last 100 steps of the phase, by name."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Last measured agreement with the original model on held-out inputs."""
    accuracy: float | None = Field(default=None, ge=0, le=1, examples=[0.87])
    """Last measured accuracy on a part of the evaluation data; for information only, not used for any choice."""
    steps_per_second: float | None = Field(default=None, ge=0, examples=[3.2])
    """Steps per second over the last 100 steps."""


class ShardCount(Contract):
    """Shards of a job that is divided among workers."""

    total: int = Field(ge=1, examples=[8])
    """Number of shards of the current step."""
    done: int = Field(ge=0, examples=[3])
    """How many of them are done."""


class Progress(Contract):
    """Progress of a running job."""

    step: str = Field(examples=["evaluating"])
    """Short description of the current step."""
    fraction: float = Field(ge=0, le=1, examples=[0.4])
    """Completed fraction of the job."""
    eta_seconds: float | None = Field(default=None, ge=0, examples=[12.5])
    """Estimated remaining time; null if unknown."""
    training: Training | None = None
    """For jobs that tune or train: phase, losses, agreement and accuracy."""
    shards: ShardCount | None = None
    """For jobs that are divided among workers: shards of the current step."""
    updated_at: Timestamp
    """Time of this update."""
