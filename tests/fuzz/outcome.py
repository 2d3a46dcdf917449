"""What came of a run: counts of answers, and faults by their kind."""

from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.service import FuzzedService

_MOST_SHOWN = 4000
_MOST_OF_A_REASON = 160


@dataclass
class FuzzOutcome:
    """Counts and faults of a run."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Answers by operation or format, and by what they were: a status, or `no answer`."""
    faults: dict[str, str] = field(default_factory=dict)
    """The first fault of each kind; empty if all is well."""
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Refused requests that are valid by the document, by operation and reason: what it cannot say."""
    repeated: Counter[str] = field(default_factory=Counter)
    """How often each kind of fault came up."""

    @property
    def requests(self) -> int:
        """Number of requests."""
        return self.answers.total()

    def count(self, what: str, came: object) -> None:
        """Count an answer."""
        self.answers[what, str(came)] += 1

    def fault(self, kind: str, example: str) -> None:
        """Note a fault."""
        self.faults.setdefault(kind, example[:_MOST_SHOWN])
        self.repeated[kind] += 1

    def refusal(self, what: str, why: str) -> None:
        """Count a refused request that is valid by the document."""
        self.refusals[what, why[:_MOST_OF_A_REASON]] += 1

    def end(self, service: FuzzedService) -> None:
        """Note what is wrong with the service after the run."""
        if not service.works():
            self.fault("the service does not work any more", service.log_tail())
        if failures := service.failures():
            self.fault("failures in the log", failures)

    def lines(self) -> list[str]:
        """Return a report: a line for each operation or format, then the faults."""
        by_name: dict[str, dict[str, int]] = {}
        for (what, came), count in sorted(self.answers.items()):
            by_name.setdefault(what, {})[came] = count
        rows = [
            f"{name}: {', '.join(f'{came} × {count}' for came, count in counts.items())}"
            for name, counts in by_name.items()
        ]
        found = [f"FAULT ({self.repeated[kind]} ×) {kind}\n{example}" for kind, example in self.faults.items()]
        refused = [f"refused: {what}: {why} × {count}" for (what, why), count in sorted(self.refusals.items())]
        return [*rows, *refused, *found, f"{self.requests} requests, {len(self.faults)} kinds of faults"]
