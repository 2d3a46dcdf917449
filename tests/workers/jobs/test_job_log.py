"""Storing what the worker logs about a job."""

import logging
from collections.abc import Iterator

import pytest
from redis import Redis

from faceter.store import job_logs
from workers.jobs.job_log import JobLogHandler, attempt_log


@pytest.fixture
def logger(redis: Redis) -> Iterator[logging.Logger]:
    logger = logging.getLogger("a worker of the test")
    logger.setLevel(logging.INFO)
    handler = JobLogHandler(redis, 60)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def test_lines_about_the_attempt_are_stored_and_no_others(redis: Redis, logger: logging.Logger) -> None:
    logger.info("before")
    with attempt_log("job_1", 2):
        logger.warning("losses of %d steps are not finite", 3)
        logger.debug("too fine")
    logger.info("after")
    (line,) = job_logs.read(redis, "job_1", 10).items
    assert (line.level, line.attempt, line.message) == ("warning", 2, "losses of 3 steps are not finite")


def test_a_line_has_no_traceback_and_a_bound(redis: Redis, logger: logging.Logger) -> None:
    with attempt_log("job_1", 1):
        try:
            raise ValueError("secret")
        except ValueError:
            logger.exception("x" * 5000)
    (line,) = job_logs.read(redis, "job_1", 10).items
    assert line.message == "x" * 1000


def test_without_redis_the_job_goes_on() -> None:
    handler = JobLogHandler(Redis(port=1), 60)
    with attempt_log("job_1", 1):
        handler.emit(logging.LogRecord("worker", logging.INFO, "", 0, "lost", None, None))
