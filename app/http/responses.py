"""JSON responses."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response

from app.http.links import address, job_with_links
from faceter.contracts.jobs import Job
from faceter.contracts.references import ResourceName

JSON = "application/json"


def json_response(contract: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a contract as a JSON response."""
    return Response(contract.model_dump_json(), status, headers, JSON)


def accepted(job: Job) -> Response:
    """Return the response for a queued job: 202, with the job's address in `Location`."""
    return json_response(job_with_links(job), 202, {"Location": address(ResourceName.JOBS, job.id)})
