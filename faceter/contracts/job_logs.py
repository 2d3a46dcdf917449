"""Log lines of a job."""

from typing import Literal

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
"""Severity of a log line."""


class JobLogLine(Contract):
    """A line that the worker logged about a job."""

    at: Timestamp
    """Time of the line."""
    level: LogLevel = Field(examples=["warning"])
    """Severity."""
    attempt: int = Field(examples=[1])
    """Attempt of the job, from 1."""
    message: str = Field(examples=["training goes on from a good state at 0.5 of the rate: the loss is not finite"])
    """The line, at most 1,000 characters."""


class JobLog(Contract):
    """The last log lines of a job, oldest first."""

    items: list[JobLogLine] = Field(default_factory=list)
    """The lines."""
    complete: bool = Field(examples=[True])
    """Whether these are all lines that were kept."""
