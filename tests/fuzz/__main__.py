"""`python -m tests.fuzz`: a long run against a service of its own; the exit status is 1 if there is a fault."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import SHARED_DATA
from tests.fuzz.endpoints import fuzz_endpoints
from tests.fuzz.files import FileFuzzer
from tests.fuzz.outcome import FuzzOutcome
from tests.fuzz.service import MIB, FuzzedService

_EXAMPLES = 5
_FILES = 10
_LARGEST_GROWTH = 120 * MIB
"""Of the API process, from the end of the first round to the end of the last."""


def main() -> int:
    """Fuzz as the arguments say: rounds of requests and of files until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each further one has the next")
    parser.add_argument("--no-worker", action="store_true", help="leave the jobs that requests create in the queue")
    given = parser.parse_args()
    outcome, end = FuzzOutcome(), time.monotonic() + given.minutes * 60
    shared_data = SHARED_DATA if SHARED_DATA.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="fct-") as folder,
        FuzzedService(Path(folder), worker=not given.no_worker) as service,
    ):
        files = FileFuzzer(service, outcome, given.seed, shared_data)
        files.send_sound_files()
        warm, seed = 0, given.seed
        while time.monotonic() < end:
            fuzz_endpoints(service, outcome, examples=_EXAMPLES, seeded=seed, until=end)
            files.send(_FILES, end)
            warm = warm or service.rss()
            seed += 1
            print(
                f"{outcome.requests} requests, {len(outcome.faults)} kinds of faults; {_mib(service)} MiB", flush=True
            )
        if service.rss() - warm > _LARGEST_GROWTH:
            outcome.fault("memory grows", f"from {warm // MIB} to {_mib(service)} MiB")
        outcome.end(service)
        print(*outcome.lines(), f"memory of the API: {warm // MIB} MiB, then {_mib(service)} MiB", sep="\n")
    return 1 if outcome.faults else 0


def _mib(service: FuzzedService) -> int:
    return service.rss() // MIB


if __name__ == "__main__":
    sys.exit(main())
