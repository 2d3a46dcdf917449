"""A short run over every format of files. `python -m tests.fuzz` runs longer."""

import pytest

from tests.conftest import SHARED_DATA
from tests.fuzz.files import fuzz_files
from tests.fuzz.outcome import FuzzOutcome
from tests.fuzz.service import MIB, FuzzedService

pytestmark = pytest.mark.end_to_end

_LARGEST_GROWTH = 24 * MIB


def test_damaged_files_are_answered_and_leave_no_memory_behind(service: FuzzedService) -> None:
    outcome = FuzzOutcome()
    shared_data = SHARED_DATA if SHARED_DATA.is_dir() else None
    growth = fuzz_files(service, outcome, each=12, warm_up=4, seeded=5, shared_data=shared_data)
    outcome.end(service)
    report = "\n".join(outcome.lines())
    assert outcome.faults == {}, report
    accepted = sum(count for (_, status), count in outcome.answers.items() if status in ("200", "201"))
    assert 20 < accepted < outcome.requests / 2, report
    assert growth.grown < _LARGEST_GROWTH, f"{growth}\n{report}"
