"""Damaged files of every format: none is a server error, hangs or leaves memory behind."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.fuzz.damage import damaged
from tests.fuzz.file_formats import FileFormat, file_formats, members_of, with_members
from tests.fuzz.outcome import FuzzOutcome
from tests.fuzz.service import FuzzedService

_SERVER_ERROR = 500
_MEMBERS_SHARE = 0.6
"""Of archives in which a member is damaged, with a correct check sum, rather than the archive."""


class FileFuzzer:
    """Sends damaged files of every format in turn.

    Args:
        service: Where to.
        outcome: What to add to.
        seeded: Seed of all choices.
        shared_data: Folder of real files, if it is there.
    """

    def __init__(self, service: FuzzedService, outcome: FuzzOutcome, seeded: int, shared_data: Path | None) -> None:
        self._service, self._outcome, self._chooser = service, outcome, random.Random(seeded)
        self.formats = file_formats(service.client, shared_data)
        self._others = [file for format_ in self.formats for file in format_.files]

    def send_sound_files(self) -> None:
        """Send each file undamaged; it is a fault if one is refused."""
        for format_ in self.formats:
            for file in format_.files:
                answer = format_.send(self._service.client, file)
                if not answer.is_success:
                    self._outcome.fault(f"{format_.name}: a sound file is refused", answer.text)

    def send(self, each: int, until: float = float("inf")) -> None:
        """Send damaged files.

        Args:
            each: Files of each format.
            until: When to stop, by the monotonic clock.
        """
        for _ in range(each):
            for format_ in self.formats:
                if time.monotonic() < until:
                    self._send(format_)

    def _send(self, format_: FileFormat) -> None:
        content = self._damaged(format_)
        try:
            answer = format_.send(self._service.client, content)
        except httpx.HTTPError as error:
            self._outcome.count(format_.name, "no answer")
            self._outcome.fault(f"{format_.name}: {type(error).__name__}", f"{error}\n{content[:200]!r}")
            return
        self._outcome.count(format_.name, answer.status_code)
        if answer.status_code >= _SERVER_ERROR:
            self._outcome.fault(f"{format_.name}: {answer.status_code}", f"{answer.text}\n{content[:200]!r}")
        elif answer.is_error and not self._says_why(answer):
            self._outcome.fault(f"{format_.name}: no reason given", answer.text)

    def _says_why(self, answer: httpx.Response) -> bool:
        said = answer.json()
        return bool(said.get("detail") or said.get("error"))

    def _damaged(self, format_: FileFormat) -> bytes:
        content, chooser = self._chooser.choice(format_.files), self._chooser
        if not format_.in_zip or chooser.random() > _MEMBERS_SHARE:
            return damaged(content, self._others, chooser)
        members = members_of(content)
        name = chooser.choice(sorted(members))
        return with_members({**members, name: damaged(members[name], self._others, chooser)})


@dataclass(frozen=True)
class Growth:
    """Memory of the API process over damaged files, bytes."""

    before: int
    """After a warm-up."""
    after: int

    @property
    def grown(self) -> int:
        """How much more it is."""
        return self.after - self.before


def fuzz_files(
    service: FuzzedService,
    outcome: FuzzOutcome,
    *,
    each: int,
    warm_up: int,
    seeded: int,
    shared_data: Path | None,
    until: float = float("inf"),
) -> Growth:
    """Send damaged files of every format, and return how the memory of the API process grew after a warm-up.

    Args:
        service: Where to.
        outcome: What to add to.
        each: Files of each format.
        warm_up: Files of each format before the memory is measured.
        seeded: Seed of all choices.
        shared_data: Folder of real files, if it is there.
        until: When to stop, by the monotonic clock.
    """
    fuzzer = FileFuzzer(service, outcome, seeded, shared_data)
    fuzzer.send_sound_files()
    fuzzer.send(warm_up, until)
    before = service.rss()
    fuzzer.send(each, until)
    return Growth(before, service.rss())
