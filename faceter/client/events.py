"""Server-sent events of a job."""

from dataclasses import dataclass, field
from typing import Final, Literal, cast

from pydantic import ValidationError

from faceter.client.errors import UnexpectedAnswer, made_up
from faceter.contracts.job_progress import Progress
from faceter.contracts.jobs import Job

_MOST_SHOWN: Final = 200


@dataclass(frozen=True)
class FollowedEvent:
    """An event of a job.

    Attributes:
        name: `status` when it is queued, started, requeued or asked to finish; `progress`; `end`, the last one.
        id: Its position, from which the stream can be continued.
        job: The job; for `progress` None.
        progress: The progress of the job, if it has any.
    """

    name: Literal["status", "progress", "end"]
    id: str | None
    job: Job | None
    progress: Progress | None


@dataclass
class EventParser:
    """Parses the lines of a stream of server-sent events.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """

    _name: str = ""
    _id: str | None = None
    _data: list[str] = field(default_factory=list)

    def feed(self, line: str) -> FollowedEvent | None:
        """Take a line without its line break; return the event that it completes, None for heartbeats and others.

        Raises:
            UnexpectedAnswer: If the event is none of a job.
        """
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            elif name == "id" and "\0" not in value:
                self._id = value
            return None
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if not data or name not in ("status", "progress", "end"):
            return None
        kind = cast(Literal["status", "progress", "end"], name)
        try:
            if kind == "progress":
                return FollowedEvent(kind, self._id, None, Progress.model_validate_json(data, extra="ignore"))
            job = Job.model_validate_json(data, extra="ignore")
        except ValidationError as error:
            detail = f"An event of the job cannot be read: {data[:_MOST_SHOWN]}. Use a client of its version."
            raise UnexpectedAnswer(made_up("The answer cannot be read", detail)) from error
        return FollowedEvent(kind, self._id, job, job.progress)
