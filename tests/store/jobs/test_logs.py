"""Log lines of a job in Redis."""

import pytest
from redis import Redis

from faceter.contracts.base import utc_now
from faceter.contracts.job_logs import JobLogLine
from faceter.store import job_logs


def line(message: str) -> JobLogLine:
    return JobLogLine(at=utc_now(), level="info", attempt=1, message=message)


def test_the_last_lines_are_read_oldest_first(redis: Redis) -> None:
    for number in range(5):
        job_logs.append(redis, "job_1", line(str(number)), 60)
    log = job_logs.read(redis, "job_1", 2)
    assert ([item.message for item in log.items], log.complete) == (["3", "4"], False)
    assert job_logs.read(redis, "job_1", 5).complete
    assert job_logs.read(redis, "job_2", 5).items == []


def test_the_oldest_lines_are_dropped(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "MAX_LINES", 3)
    for number in range(5):
        job_logs.append(redis, "job_1", line(str(number)), 60)
    assert [item.message for item in job_logs.read(redis, "job_1", 9).items] == ["2", "3", "4"]


def test_lines_expire(redis: Redis) -> None:
    job_logs.append(redis, "job_1", line("kept for a minute"), 60)
    job_logs.append(redis, "job_2", line("kept for ever"), -1)
    assert 0 < redis.ttl(job_logs.log_key("job_1")) <= 60
    assert redis.ttl(job_logs.log_key("job_2")) == -1
