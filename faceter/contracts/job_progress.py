"""Where a job is and how far."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp


class JobStatus(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class Training(Contract):
    """How a job that trains stands."""

    phase: str = Field(examples=["tuning"])
    """What is being done."""
    step: int = Field(examples=[400])
    """Steps taken."""
    losses: dict[str, float] = Field(default_factory=dict, examples=[{"kl": 0.031, "features": 0.012}])
    """Mean of each loss of late, by name."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Agreement with the original on held-out inputs when last measured."""
    accuracy: float | None = Field(default=None, ge=0, le=1, examples=[0.87])
    """Accuracy on a part of the evaluation data when last measured; for you to see, nothing is chosen by it."""
    steps_per_second: float | None = Field(default=None, ge=0, examples=[3.2])
    """Its speed of late."""


class Progress(Contract):
    """How far a running job is."""

    step: str = Field(examples=["evaluating"])
    """What it is doing, in a word or a few."""
    fraction: float = Field(ge=0, le=1, examples=[0.4])
    """How much of the whole job is done."""
    eta_seconds: float | None = Field(default=None, ge=0, examples=[12.5])
    """Seconds left, as estimated; null where it cannot be told."""
    training: Training | None = None
    """For a job that trains: its losses and how good it is by now."""
    updated_at: Timestamp
    """When this was said."""
