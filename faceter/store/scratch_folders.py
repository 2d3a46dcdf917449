"""Scratch folders of jobs on this host."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from faceter.contracts.settings import Settings
from faceter.store.shard_ids import job_of

_JOB_PREFIX: Final = "of-"


def scratch_folder_of(settings: Settings, job_id: str) -> Path:
    """Return the folder of a job, which may not exist."""
    return settings.scratch_dir / f"{_JOB_PREFIX}{job_id}"


def job_folders(settings: Settings) -> dict[str, Path]:
    """Return the folders of jobs that exist, by the job's id."""
    return {path.name.removeprefix(_JOB_PREFIX): path for path in settings.scratch_dir.glob(f"{_JOB_PREFIX}*")}


def left_over(folders: dict[str, Path], active: Collection[str]) -> list[Path]:
    """Return the folders of jobs, and of shards of jobs, that are not active."""
    return [path for id, path in folders.items() if job_of(id) not in active]
