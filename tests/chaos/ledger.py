"""What the service acknowledged to its clients, and what it did wrong."""

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field

from faceter.contracts.references import ResourceName


@dataclass(frozen=True)
class Upload:
    """An acknowledged upload."""

    collection: ResourceName
    name: str
    sha256: str


@dataclass
class Ledger:
    """A record of everything acknowledged, kept by all clients together.

    Attributes:
        uploads: By id.
        deleting: Ids of uploads whose deletion was asked for, whether or not it was acknowledged.
        deleted: Ids of uploads whose deletion was acknowledged.
        jobs: Names of acknowledged jobs, by id; every job has a name of its own.
        canceling: Ids of jobs whose cancellation was asked for.
        canceled: Ids of jobs whose cancellation was acknowledged.
        sent: Names under which something was sent, whether or not it was acknowledged.
        outcomes: How many calls came to what.
        faults: What was wrong.
    """

    uploads: dict[str, Upload] = field(default_factory=dict)
    deleting: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    jobs: dict[str, str] = field(default_factory=dict)
    canceling: set[str] = field(default_factory=set)
    canceled: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def name(self, client: int, kind: str) -> str:
        """Return a name that nothing had before."""
        with self.lock:
            name = f"{kind} {len(self.sent)} of client {client}"
            self.sent.add(name)
            return name

    def uploaded(self, id: str, collection: ResourceName, name: str, content: bytes) -> None:
        """Record an acknowledged upload."""
        with self.lock:
            self.uploads[id] = Upload(collection, name, hashlib.sha256(content).hexdigest())

    def happened(self, outcome: str) -> None:
        """Count the outcome of a call."""
        with self.lock:
            self.outcomes[outcome] += 1

    def fault(self, text: str) -> None:
        """Record something that must not happen."""
        with self.lock:
            self.faults.append(text)
