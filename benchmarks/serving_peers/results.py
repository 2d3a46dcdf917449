"""Results, kept in a file, so that a run that was cut off goes on."""

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FIGURES: Final = ("p50_ms", "p99_ms", "cpu_ms", "peak_mib", "others")


@dataclass(frozen=True)
class Summary:
    """A contender under a number of clients, over all rounds: medians, and the sum of the errors."""

    case: str
    contender: str
    clients: int
    rate: float
    """Answers per second."""
    errors: int
    rounds: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    peak_mib: float
    others: float
    """Cores that other programs used meanwhile."""


class Results:
    """Lines of JSON.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: list[dict[str, Any]] = []
        if path.exists():
            self.records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]

    def add(self, kind: str, **values: Any) -> None:
        """Append a record."""
        self.records.append({"kind": kind, **values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.records[-1]) + "\n")

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind."""
        return [record for record in self.records if record["kind"] == kind]

    def has(self, **values: Any) -> bool:
        """Whether there is a measurement with these values."""
        return any(values.items() <= record.items() for record in self.of_kind("measurement"))

    def summaries(self, case: str) -> Iterator[Summary]:
        """Yield a summary for each contender and number of clients, in the order of measuring."""
        groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for record in self.of_kind("measurement"):
            if record["case"] == case:
                groups.setdefault((record["contender"], record["clients"]), []).append(record)
        for (contender, clients), rounds in groups.items():
            yield Summary(
                case=case,
                contender=contender,
                clients=clients,
                rate=statistics.median((item["requests"] - item["errors"]) / item["seconds"] for item in rounds),
                errors=sum(item["errors"] for item in rounds),
                rounds=len(rounds),
                **{name: statistics.median(item.get(name, math.nan) for item in rounds) for name in FIGURES},
            )
