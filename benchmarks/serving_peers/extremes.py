"""Faceter beyond its capacity, and with a model that is not loaded."""

from pathlib import Path

from benchmarks.serving_peers.results import Results


def overload(work: Path, results: Results) -> None:
    """Later."""


def cold_start(work: Path, results: Results) -> None:
    """Later."""
