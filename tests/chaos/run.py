"""One run: load and attacks for a while, then the verdict."""

import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.chaos.clients import ChaosClient
from tests.chaos.killer import ProcessKiller
from tests.chaos.ledger import Ledger
from tests.chaos.service import AttackedService
from tests.chaos.verdict import judge

_FAILURE = re.compile(r"Traceback \(most recent call last\)")


@dataclass(frozen=True)
class Plan:
    """What a run does."""

    seconds: float
    """How long the service is attacked."""
    seed: int
    """Of all choices. What happens depends on the machine's timing too."""
    every: float = 2.5
    """Mean time between attacks, seconds."""
    clients: int = 3
    """Clients at the same time."""
    pause: float = 0.4
    """Mean pause of a client between its calls, seconds."""
    most_jobs: int = 1000
    """Jobs that a client queues at most."""
    longest_stop: float = 10.0
    """Longest time for which a process is stopped, seconds."""
    patience: float = 300.0
    """Seconds that all jobs together may take to end afterwards."""


@dataclass
class Outcome:
    """What came of a run."""

    attacks: Counter[str]
    """Attacks by process."""
    calls: Counter[str]
    """Calls of the clients, by what came of them."""
    checked: Counter[str]
    """What was checked afterwards."""
    faults: list[str]
    """Everything that must not happen; empty if all is well."""
    away: float
    """Longest time without an answer from the API, seconds."""
    kills: int
    """Processes killed."""

    def lines(self) -> list[str]:
        """Return a report."""
        counts = {"attacks": self.attacks, "calls": self.calls, "afterwards": self.checked}
        rows = [
            f"{title}: {name} {count}" for title, counter in counts.items() for name, count in sorted(counter.items())
        ]
        return [
            *rows,
            f"longest time without an answer of the API: {self.away:.1f} s",
            *(f"FAULT {fault}" for fault in self.faults),
            f"{self.kills} kills, {len(self.faults)} faults",
        ]


class _Watch(threading.Thread):
    """Measures how long the API does not answer."""

    def __init__(self, url: str) -> None:
        super().__init__(name="watch", daemon=True)
        self.longest = 0.0
        self.ended = threading.Event()
        self._url = url

    def run(self) -> None:
        last = time.monotonic()
        while not self.ended.wait(0.1):
            try:
                httpx.get(f"{self._url}/healthz", timeout=2).raise_for_status()
            except httpx.HTTPError:
                continue
            finally:
                now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now


def run(plan: Plan, data_dir: Path, *, verbose: bool = False) -> Outcome:
    """Start a service, attack it, and judge it.

    Args:
        plan: What to do.
        data_dir: Data directory of the service; it must not exist.
        verbose: Whether to print the counts every half a minute.
    """
    service = AttackedService(data_dir)
    try:
        return _run(plan, service, verbose)
    finally:
        if service.up.process.poll() is None:
            service.up.process.kill()
            service.up.wait()
        service.up.close()
        (data_dir.parent / "service.log").write_text(service.up.output)


def _run(plan: Plan, service: AttackedService, verbose: bool) -> Outcome:
    ledger, watch = Ledger(), _Watch(service.url)
    killer = ProcessKiller(service, plan.seed, plan.every, plan.longest_stop)
    clients = [
        ChaosClient(number, service.url, ledger, seed=plan.seed, pause=plan.pause, most_jobs=plan.most_jobs)
        for number in range(plan.clients)
    ]
    for thread in (watch, killer, *clients):
        thread.start()
    end = time.monotonic() + plan.seconds
    while (left := end - time.monotonic()) > 0 and service.up.process.poll() is None:
        time.sleep(min(left, 30.0, 1.0 if not verbose else 30.0))
        if verbose:
            print(_progress(killer, ledger, watch), flush=True)
    for client in clients:
        client.ended.set()
    killer.ended.set()
    for thread in (killer, *clients):
        thread.join()
    watch.ended.set()
    watch.join()
    if service.up.process.poll() is not None:
        ledger.fault(f"`faceter up` ended: {service.up.output[-500:]}")
        return Outcome(killer.attacks, ledger.outcomes, Counter(), ledger.faults, watch.longest, killer.kills)
    checked = judge(service, ledger, plan.patience)
    if (status := service.up.end(signal.SIGINT)) != 0:
        ledger.fault(f"`faceter up` ended with status {status}")
    for match in _FAILURE.finditer(service.up.output):
        ledger.fault("a failure in the log: " + service.up.output[match.start() : match.start() + 3000])
    return Outcome(killer.attacks, ledger.outcomes, checked, ledger.faults, watch.longest, killer.kills)


def _progress(killer: ProcessKiller, ledger: Ledger, watch: _Watch) -> str:
    with ledger.lock:
        done = sum(count for name, count in ledger.outcomes.items() if name.endswith("done"))
        return (
            f"{killer.kills} kills, {killer.attacks.total() - killer.kills} stops; {ledger.outcomes.total()} calls, "
            f"{done} done; {len(ledger.uploads)} uploads, {len(ledger.jobs)} jobs; API away {watch.longest:.1f} s; "
            f"{len(ledger.faults)} faults"
        )
