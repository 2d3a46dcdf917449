"""Migrations of the stored data, one file for each version, named after the version it leads to.

A migration is a generator that yields between steps of bounded size. It may be killed at any step and is then run
again from the start, so that a step already done must change nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from redis import Redis

from faceter.store.migrations import v2_lines_and_references


@dataclass(frozen=True)
class Migration:
    """How data gets from the version before to a version."""

    version: int
    """The version it leads to."""
    about: str
    """What it does, for the log."""
    steps: Callable[[Redis], Iterator[None]]
    """Does it, step by step."""


MIGRATIONS: Final = (
    Migration(2, "waiting jobs in lines, references and used bytes counted", v2_lines_and_references.steps),
)
"""All migrations, in order of their versions."""
