"""Addresses, links and actions of resources."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote

from faceter.contracts.base import Page, StoredRecord
from faceter.contracts.errors import Problem, ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.jobs import Job, Specification
from faceter.contracts.references import ResourceName, ResourceReference
from faceter.contracts.translator_records import TranslatorSamples
from faceter.contracts.translators import Translator, TranslatorInTraining
from faceter.contracts.units import Unit
from faceter.resources import TRANSLATORS, resource_of

R = TypeVar("R", bound=StoredRecord)

_TRAINING_VIEWS: Final = ("samples", "curves")

_FILTERED_JOBS: Final = (ResourceName.MODELS, ResourceName.DATASETS)
"""Resources by which the list of jobs can be filtered."""


def address(resource: ResourceName, id: str) -> str:
    """Return the address of a resource."""
    return f"/v1/{resource}/{id}"


def address_of(reference: ResourceReference) -> str:
    """Return the address of a referenced resource."""
    return address(reference.resource, reference.id)


def with_links(record: R) -> R:
    """Return a record with its links and actions."""
    resource = resource_of(record)
    here = address(resource.name, record.id)
    links = {name: f"{here}/files/{quote(name, safe='')}" for name in record.files}
    links |= {"self": here, "content": f"{here}/content"}
    links |= {view: f"{here}/{view}" for view in resource.views}
    links |= {name: address_of(reference) for name, reference in resource.references(record).items()}
    if resource.read_by_jobs and resource.name in _FILTERED_JOBS:
        links["jobs"] = f"/v1/jobs?{resource.noun}_id={record.id}"
    if isinstance(record, Translator) and record.training is None:
        links = {name: link for name, link in links.items() if name not in _TRAINING_VIEWS}
    return record.model_copy(update={"links": links, **_actions(here, resource.actions)})


def training_with_links(translator: TranslatorInTraining) -> TranslatorInTraining:
    """Return a translator in training with its links and actions, and with its job as `instance` of its error."""
    here, job = address(TRANSLATORS.name, translator.id), address(ResourceName.JOBS, translator.job_id)
    links = {
        "self": here,
        **{view: f"{here}/{view}" for view in _TRAINING_VIEWS},
        "job": job,
        "dataset": address(ResourceName.DATASETS, translator.settings.dataset_id),
    }
    error = _with_instance(translator.error, job)
    return translator.model_copy(update={"links": links, "error": error, **_actions(here, TRANSLATORS.actions)})


def samples_with_links(samples: TranslatorSamples, translator_id: str) -> TranslatorSamples:
    """Return contact sheets with links to their images."""
    here = f"{address(TRANSLATORS.name, translator_id)}/samples"
    items = [sample.model_copy(update={"links": {"image": f"{here}/{sample.step}/image"}}) for sample in samples.items]
    return samples.model_copy(update={"items": items})


def unit_with_links(unit: Unit, explanation: Explanation) -> Unit:
    """Return a unit with its links."""
    parent = address(ResourceName.EXPLANATIONS, explanation.id)
    query = f"?layer={quote(unit.layer, safe='')}" if len(explanation.settings.layers) > 1 else ""
    links = {
        "self": f"{parent}/units/{unit.unit}{query}",
        "explanation": parent,
        "model": address(ResourceName.MODELS, explanation.model_id),
    }
    if explanation.about != "text":
        links["image"] = f"{parent}/units/{unit.unit}/image{query}"
    return unit.model_copy(update={"links": links})


def job_with_links(job: Job) -> Job:
    """Return a job with its links and actions, and with its address as `instance` of its error."""
    here = address(ResourceName.JOBS, job.id)
    links = {"self": here, "events": f"{here}/events", "log": f"{here}/log", **_links_to_inputs(job.specification)}
    if job.specification.result is ResourceName.TRANSLATORS:
        translator = address(TRANSLATORS.name, TRANSLATORS.record_id_for_job(job.id))
        links |= {"translator": translator, **{view: f"{translator}/{view}" for view in _TRAINING_VIEWS}}
    if job.error is not None and job.error.type == ProblemKind.INTERNAL_ERROR.type:
        links["error_report"] = f"{here}/error-report.json"
    if job.result is not None:
        links["result"] = address_of(job.result)
        for reference in job.result.by_products:
            links[f"made_{reference.resource}"] = address_of(reference)
    actions = ("rerun",) if job.status.ended else ("cancel", "finish")
    return job.model_copy(
        update={
            "links": links,
            "actions": {name: f"{here}/{name}" for name in actions},
            "error": _with_instance(job.error, here),
        }
    )


def page_with_links(page: Page[Any], resource: ResourceName) -> Page[Any]:
    """Return a page of summaries with a link to each record."""
    items = [item.model_copy(update={"links": {"self": address(resource, item.id)}}) for item in page.items]
    return page.model_copy(update={"items": items})


def _actions(here: str, actions: Mapping[str, str] | None) -> dict[str, dict[str, str]]:
    return {} if actions is None else {"actions": {name: f"{here}/{path}" for name, path in actions.items()}}


def _with_instance(error: Problem | None, job: str) -> Problem | None:
    """Return the error of a job with the job's address as `instance`."""
    return None if error is None else error.model_copy(update={"instance": job})


def _links_to_inputs(specification: Specification) -> dict[str, str]:
    """Return links to the resources that a job reads, named after the last part of the request field."""
    links: dict[str, str] = {}
    for field, reference in specification.references.items():
        name = field.rpartition(".")[2]
        if name.endswith("_id"):
            links.setdefault(name.removesuffix("_id"), address_of(reference))
    return links
