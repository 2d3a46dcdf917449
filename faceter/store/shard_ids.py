"""Ids of shards: that of their job, and numbers. A shard is an RQ job of its own, but no job of the API."""


def shard_id(job_id: str, round: int, number: int) -> str:
    """Return the id of a shard of a job."""
    return f"{job_id}-{round}-{number}"


def is_shard(id: str) -> bool:
    """Return whether the id is that of a shard."""
    return "-" in id


def job_of(id: str) -> str:
    """Return the id of the job of a shard; that of a job itself."""
    return id.partition("-")[0]
