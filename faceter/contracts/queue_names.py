"""Names of the job queues."""

from enum import StrEnum


class QueueName(StrEnum):
    """Queue in which a job waits, by what it needs."""

    QUICK = "quick"
    """Done in seconds to a few minutes on any host: rounding methods, analyses."""
    CPU = "cpu"
    """Long, and no faster on a GPU."""
    GPU = "gpu"
    """Long, and faster on a GPU; run by workers without one only while no worker with a GPU lives."""
