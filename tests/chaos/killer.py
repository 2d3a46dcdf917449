"""Kills processes of the service at random, or stops them for a while."""

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Final

from tests.chaos.service import AttackedService, Target

_WEIGHTS: Final = {Target.JOB: 7, Target.WORKER: 5, Target.API: 5, Target.STORE: 3}
_STOPPED: Final = 0.2
"""Share of attacks that stop a process for a while instead of killing it."""
_STARTING: Final = 0.15
"""Share of the attacks on processes that still start that are carried out; with more, nothing ever works."""


class ProcessKiller(threading.Thread):
    """Attacks until it is told to end; afterwards every process runs.

    Args:
        service: The service.
        seed: Of the choices.
        every: Mean time between attacks, seconds.
        longest_stop: Longest time for which a process is stopped, seconds.
    """

    def __init__(self, service: AttackedService, seed: int, every: float, longest_stop: float) -> None:
        super().__init__(name="killer", daemon=True)
        self.attacks: Counter[str] = Counter()
        self.ended = threading.Event()
        self._service = service
        self._random = random.Random(seed)
        self._every = every
        self._longest_stop = longest_stop
        self._stopped: list[tuple[float, int]] = []

    def run(self) -> None:
        """Attack."""
        try:
            while not self.ended.wait(self._random.uniform(0.2, 1.8) * self._every):
                self._continue(until=time.monotonic())
                self._attack()
        finally:
            self._continue(until=float("inf"))

    @property
    def kills(self) -> int:
        """Number of processes killed."""
        return sum(count for name, count in self.attacks.items() if "killed" in name)

    def _attack(self) -> None:
        found = {target: pids for target, pids in self._service.processes().items() if pids}
        if not found:
            return
        target = self._random.choices(list(found), [_WEIGHTS[target] for target in found])[0]
        pid = self._random.choice(found[target])
        if not self._service.has_started(target, pid) and self._random.random() > _STARTING:
            return
        stop = self._random.random() < _STOPPED
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if stop else signal.SIGKILL)
            self.attacks[f"{target} {'stopped' if stop else 'killed'}"] += 1
            if stop:
                self._stopped.append((time.monotonic() + self._random.uniform(1, self._longest_stop), pid))

    def _continue(self, until: float) -> None:
        for item in [item for item in self._stopped if item[0] <= until]:
            self._stopped.remove(item)
            with suppress(ProcessLookupError):
                os.kill(item[1], signal.SIGCONT)
