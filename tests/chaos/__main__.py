"""`python -m tests.chaos`: a long run, with a report; the exit status is 1 if there is a fault."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import Plan, run


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long the service is attacked")
    parser.add_argument("--seed", type=int, default=1, help="of the choices")
    parser.add_argument("--every", type=float, default=2.5, help="mean seconds between attacks")
    parser.add_argument("--keep", type=Path, help="folder for the data and the log, which must not exist")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fct-") as folder:
        root = given.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        outcome = run(Plan(given.minutes * 60, given.seed, given.every), root / "data", verbose=True)
    print(*outcome.lines(), sep="\n")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
