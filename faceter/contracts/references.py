"""References to resources by collection and id."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract


class ResourceName(StrEnum):
    """Name of a collection, as in `/v1/{name}` and in Redis keys."""

    MODELS = "models"
    DATASETS = "datasets"
    EVALUATIONS = "evaluations"
    EXPLANATIONS = "explanations"
    ANALYSES = "analyses"
    TRANSLATORS = "translators"
    JOBS = "jobs"


class ResourceReference(Contract):
    """Reference to a resource."""

    resource: ResourceName = Field(examples=["models"])
    """Name of the collection."""
    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the resource."""


def model(id: str) -> ResourceReference:
    """Return the reference to a model."""
    return ResourceReference(resource=ResourceName.MODELS, id=id)


def dataset(id: str) -> ResourceReference:
    """Return the reference to a dataset."""
    return ResourceReference(resource=ResourceName.DATASETS, id=id)


def explanation(id: str) -> ResourceReference:
    """Return the reference to an explanation."""
    return ResourceReference(resource=ResourceName.EXPLANATIONS, id=id)


def translator(id: str) -> ResourceReference:
    """Return the reference to a translator."""
    return ResourceReference(resource=ResourceName.TRANSLATORS, id=id)


def job(id: str) -> ResourceReference:
    """Return the reference to a job."""
    return ResourceReference(resource=ResourceName.JOBS, id=id)
