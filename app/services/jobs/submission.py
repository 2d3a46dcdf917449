"""Submission of jobs of any kind: validate the specification, lock the resources it reads, and queue it."""

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar, get_args

from app.services.core import Core, Service
from app.services.errors import invalid
from app.services.locks import locked
from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobKind, Specification
from faceter.store.tenants import current_tenant

S = TypeVar("S", bound=Specification)


class JobSubmitter(Service, Generic[S]):
    """Base class that submits jobs of one kind. Subclasses register themselves by their type argument."""

    by_kind: ClassVar[dict[JobKind, type["JobSubmitter[Any]"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, Specification):
                    JobSubmitter.by_kind[argument.model_fields["kind"].default] = cls

    @abstractmethod
    def validate(self, specification: S) -> S:
        """Check that the job can be run, and return its specification with defaults filled in.

        Raises:
            FaceterError: If the request is invalid.
        """

    def submit(self, specification: S) -> Job:
        """Validate and queue a job.

        Raises:
            FaceterError: The errors of `validate`; `NOT_FOUND` or `INVALID_REQUEST` for a resource that does not exist;
                `OVERLOADED`.
        """
        specification = self.validate(_with_name(specification))
        with locked(self.library.redis, specification.uses):
            self._check_exist(specification)
            needed_bytes = self.needed_bytes(specification)
            self._check_waiting()
            return self.queue.enqueue(specification, needed_bytes)  # type: ignore[arg-type]

    def _check_waiting(self) -> None:
        """Check that the tenant may have another job waiting.

        Raises:
            FaceterError: `QUOTA_EXCEEDED`.
        """
        tenant = current_tenant()
        limit = self.core.access.quota(tenant).max_waiting_jobs
        if limit is not None and (waiting := self.queue.waiting_of(tenant)) >= limit:
            raise FaceterError(
                ProblemKind.QUOTA_EXCEEDED,
                f"{waiting} of your jobs are waiting, and {limit} may. Wait for one to start, or cancel one.",
            )

    def needed_bytes(self, specification: S) -> int:
        """Return the memory that the job needs; 0 if that is not known."""
        return 0

    def _check_exist(self, specification: S) -> None:
        """Check that all resources still exist; they may have been deleted during validation."""
        for field, reference in specification.references.items():
            if self.library.find(reference) is not None:
                continue
            error = self.library.not_found(reference)
            raise error if field in specification.addressed else invalid(error.detail, field)


def resubmit(core: Core, job: Job) -> Job:
    """Queue a new job with the specification of an earlier one, if it is still valid.

    Raises:
        FaceterError: The errors of `JobSubmitter.submit`.
    """
    return core.service(JobSubmitter.by_kind[job.kind]).submit(job.specification)


def _with_name(specification: S) -> S:
    """Return the specification with the normalized name of the request.

    The check is not in the contract because stored records must remain valid.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `name`.
    """
    request = getattr(specification, "request", None)
    name = getattr(request, "name", None)
    if request is None or name is None:
        return specification
    return specification.model_copy(update={"request": request.model_copy(update={"name": valid_name(name)})})


def valid_name(name: str) -> str:
    """Return the normalized name.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `name`.
    """
    try:
        return check_name(name)
    except ValueError as error:
        raise invalid(f"The name {error}.", "name") from error
