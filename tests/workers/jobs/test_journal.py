"""A comparison that goes on from its journal gives the very same result as one that was never interrupted."""

import numpy as np
import pytest

from tests.workers.evaluation.samples import gaussian
from tests.workers.jobs.fractions import stage_of
from workers.evaluation.comparison import SetComparison, compare
from workers.jobs.journal import StoredJournal

REAL, GENERATED = gaussian(300, 20), 0.9 * gaussian(250, 20, seed=1) + 0.1
KS = [2, 5]


class StoppedError(Exception):
    pass


def stopped_at(share: float) -> list[bytes]:
    """Compare until a share is done, keeping everything; return all files that were kept."""
    kept: list[bytes] = []
    times = iter(range(10_000))

    def progress(done: float) -> None:
        if done >= share:
            raise StoppedError

    journal = StoredJournal(lambda: None, kept.append, 1, "key", lambda: next(times))
    with pytest.raises(StoppedError):
        compare(REAL, GENERATED, KS, stage_of(progress), journal)
    return kept


def resumed(content: bytes | None, key: str = "key") -> tuple[SetComparison, list[float]]:
    fractions: list[float] = []
    journal = StoredJournal(lambda: content, lambda _: None, 1e9, key)
    return compare(REAL, GENERATED, KS, stage_of(fractions.append), journal), fractions


def equal(one: SetComparison, other: SetComparison) -> bool:
    sides = [(one.real, other.real), (one.generated, other.generated)]
    sides += [(getattr(c, n), getattr(d, n)) for c, d in [(one.cross, other.cross)] for n in _NEIGHBORS]
    pairs = [(getattr(a, n), getattr(b, n)) for a, b in sides for n in ("distances", "indices")]
    pairs += [(getattr(one.cross, n), getattr(other.cross, n)) for n in _ARRAYS]
    return all(np.array_equal(a, b) for a, b in pairs)


_NEIGHBORS = ("nearest_real", "nearest_generated")
_ARRAYS = (
    "real_balls_per_generated",
    "clipped_balls_per_generated",
    "generated_per_real_ball",
    "generated_balls_per_real",
    "log_outside_real",
    "log_outside_generated",
)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.8])
def test_going_on_equals_never_having_stopped(share: float) -> None:
    whole = compare(REAL, GENERATED, KS)
    kept = stopped_at(share)
    found, fractions = resumed(kept[-1])
    assert equal(found, whole)
    assert len(fractions) < len(resumed(None)[1]), "what was done was not done again"


def test_a_journal_of_something_else_is_not_gone_on_from() -> None:
    kept = stopped_at(0.8)
    found, fractions = resumed(kept[-1], key="another")
    assert equal(found, compare(REAL, GENERATED, KS))
    assert len(fractions) == len(resumed(None)[1])


def test_what_is_written_does_not_change_afterwards() -> None:
    """The loop goes on writing into the arrays that it gave to the journal."""
    journal = StoredJournal(lambda: None, lambda _: None, 1e9, "key")
    values = np.zeros(3)
    journal.write("stage", lambda: {"values": values}, finished=True)
    values += 1
    kept = journal.read("stage")
    assert kept is not None
    assert not kept["values"].any()


def test_a_file_is_kept_only_now_and_then() -> None:
    now = [0.0]
    kept: list[bytes] = []
    journal = StoredJournal(lambda: None, kept.append, 10, "key", lambda: now[0])
    for now[0] in (1, 9, 10, 11, 21):
        journal.write("stage", lambda: {"done": np.array(now[0])})
    assert len(kept) == 2
