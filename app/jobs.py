"""Jobs as the API shows them."""

from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.jobs import Job, JobKind, JobStatus


class JobFilter(Contract):
    """Which jobs to list."""

    status: JobStatus | None = None
    """Only jobs that stand so."""
    kind: JobKind | None = None
    """Only jobs of this kind."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only jobs that work on this model, or made it."""


def with_links(job: Job) -> Job:
    """Return the job with the addresses that belong to it."""
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "events": f"{here}/events", "rerun": f"{here}/rerun"}
    links["model"] = f"/v1/models/{job.specification.model_id}"
    if job.result is not None:
        links["result"] = job.result.url
        if job.result.dataset_id is not None:
            links["dataset"] = f"/v1/datasets/{job.result.dataset_id}"
    return job.model_copy(update={"links": links})
