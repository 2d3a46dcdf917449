import re
from collections.abc import Iterator
from typing import Any

import httpx
from pydantic import TypeAdapter

from app.http.middleware.authentication import needed_scope
from app.services.analyses.validation import validate_options as validate_analysis_options
from app.services.evaluations.validation import validate_classifier
from app.services.explanations.units import SORTED_BY
from app.services.explanations.validation import validate_options as validate_explanation_options
from app.services.quantizations.validation import validate_options as validate_quantization_options
from app.services.quantizations.validation import validate_settings
from app.services.translators.validation import validate_options as validate_translator_options
from faceter.contracts.analyses import AnalysisRequest
from faceter.contracts.errors import ProblemKind
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.jobs import Progress
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.translators import TranslatorRequest, TranslatorTraining, UploadedGenerators
from tests.app.http.openapi_document import fields, operations, responses


def test_every_address_of_the_service_is_there(document: dict[str, Any]) -> None:
    assert {name for name, _ in operations(document)} == {
        "POST /v1/models",
        "POST /v1/models/check",
        "GET /v1/models",
        "GET /v1/jobs/{job_id}/error-report.json",
        "GET /v1/models/{model_id}",
        "DELETE /v1/models/{model_id}",
        "GET /v1/models/{model_id}/content",
        "GET /v1/models/{model_id}/files/{name}",
        "GET /v1/models/{model_id}/graph",
        "POST /v1/models/{model_id}/predict",
        "POST /v1/models/{model_id}/load",
        "POST /v1/models/{model_id}/unload",
        "POST /v1/models/{model_id}/quantizations",
        "GET /v1/models/{model_id}/quantizations",
        "POST /v1/datasets",
        "GET /v1/datasets",
        "GET /v1/datasets/{dataset_id}",
        "DELETE /v1/datasets/{dataset_id}",
        "GET /v1/datasets/{dataset_id}/content",
        "GET /v1/datasets/{dataset_id}/files/{name}",
        "GET /v1/datasets/{dataset_id}/samples/{index}/image",
        "POST /v1/evaluations",
        "GET /v1/evaluations",
        "GET /v1/evaluations/{evaluation_id}",
        "DELETE /v1/evaluations/{evaluation_id}",
        "GET /v1/evaluations/{evaluation_id}/content",
        "GET /v1/evaluations/{evaluation_id}/files/{name}",
        "GET /v1/evaluations/{evaluation_id}/samples",
        "GET /v1/evaluations/{evaluation_id}/comparison",
        "POST /v1/models/{model_id}/explanations",
        "GET /v1/models/{model_id}/explanations",
        "GET /v1/models/{model_id}/units",
        "GET /v1/explanations",
        "GET /v1/explanations/{explanation_id}",
        "DELETE /v1/explanations/{explanation_id}",
        "GET /v1/explanations/{explanation_id}/content",
        "GET /v1/explanations/{explanation_id}/files/{name}",
        "GET /v1/explanations/{explanation_id}/units",
        "POST /v1/translators",
        "GET /v1/translators",
        "GET /v1/translators/{translator_id}",
        "DELETE /v1/translators/{translator_id}",
        "POST /v1/translators/{translator_id}/translate",
        "GET /v1/translators/{translator_id}/samples",
        "GET /v1/translators/{translator_id}/samples/{step}/image",
        "GET /v1/translators/{translator_id}/curves",
        "GET /v1/translators/{translator_id}/curves/image",
        "GET /v1/translators/{translator_id}/content",
        "GET /v1/translators/{translator_id}/files/{name}",
        "GET /v1/explanations/{explanation_id}/units/{unit}",
        "GET /v1/explanations/{explanation_id}/units/{unit}/image",
        "POST /v1/explanations/{explanation_id}/analyses",
        "GET /v1/explanations/{explanation_id}/analyses",
        "GET /v1/analyses",
        "GET /v1/analyses/{analysis_id}",
        "DELETE /v1/analyses/{analysis_id}",
        "GET /v1/analyses/{analysis_id}/content",
        "GET /v1/analyses/{analysis_id}/files/{name}",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/finish",
        "POST /v1/jobs/{job_id}/rerun",
        "GET /v1/jobs/{job_id}/events",
        "GET /v1/jobs/{job_id}/log",
        "GET /v2",
        "GET /v2/health/live",
        "GET /v2/health/ready",
        "GET /v2/models/{model_id}",
        "GET /v2/models/{model_id}/ready",
        "POST /v2/models/{model_id}/infer",
        "GET /v2/models/{model_id}/versions/{version}",
        "GET /v2/models/{model_id}/versions/{version}/ready",
        "POST /v2/models/{model_id}/versions/{version}/infer",
        "POST /v2/repository/index",
        "POST /v2/repository/models/{model_id}/load",
        "POST /v2/repository/models/{model_id}/unload",
        "GET /healthz",
        "GET /readyz",
        "GET /v1/system",
        "POST /v1/session",
        "DELETE /v1/session",
        "GET /v1/audit",
        "GET /metrics",
        "GET /problems",
        "GET /problems/{slug}",
    }


def test_every_operation_has_a_description(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert len(operation["description"]) > 20, name
        assert operation["tags"], name


def test_every_parameter_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            where = f"{name} {parameter['name']}"
            schema = parameter["schema"]
            assert parameter.get("description") or schema.get("description"), where
            assert _exampled(document, {**schema, **parameter}), where


def test_every_field_is_described(document: dict[str, Any]) -> None:
    undescribed = [name for name, field in fields(document) if not field.get("description")]
    assert undescribed == []


def test_every_field_has_an_example(document: dict[str, Any]) -> None:
    unexampled = [name for name, field in fields(document) if not _exampled(document, field)]
    assert unexampled == []


def _exampled(document: dict[str, Any], field: dict[str, Any]) -> bool:
    """Return whether a field has an example, default, constant or enumeration, its own or of its items."""
    if any(field.get(key) not in (None, []) for key in ("examples", "example", "default", "const", "enum")):
        return True
    if "$ref" in field:
        return _schema_exampled(document, field["$ref"])
    parts = [part for key in ("anyOf", "allOf", "oneOf") for part in field.get(key, [])]
    if any(_exampled(document, part) for part in parts):
        return True
    inner = field.get("items") or field.get("additionalProperties")
    if isinstance(inner, dict) and ("$ref" in inner or "anyOf" in inner or "examples" in inner):
        return _exampled(document, inner)
    return field.get("type") == "boolean"


def _schema_exampled(document: dict[str, Any], reference: str) -> bool:
    schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return "enum" in schema or "properties" in schema


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_errors_are_problem_documents_with_examples(document: dict[str, Any]) -> None:
    types = {kind.type for kind in ProblemKind}
    for name, operation in operations(document):
        for status, response in responses(document, operation):
            if int(status) < 400 or (name, status) in (("GET /readyz", "503"), ("GET /v2/health/ready", "400")):
                continue
            if " /v2" in name and status != "431":
                # Decision 0029: errors of the Open Inference Protocol have its own form.
                assert list(response["content"]) == ["application/json"], (name, status)
                for example in response["content"]["application/json"]["examples"].values():
                    assert list(example["value"]) == ["error"]
                continue
            content = response["content"]
            assert list(content) == ["application/problem+json"], (name, status)
            for example in content["application/problem+json"]["examples"].values():
                assert example["value"]["status"] == int(status)
                assert example["value"]["type"] in types


def test_operations_that_may_need_a_key_say_so(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"bearer", "cookie"}
    for name, operation in operations(document):
        method, path = name.split()
        may_need_one = needed_scope(method, path) is not None
        statuses = set(operation["responses"])
        assert "431" in statuses, name
        assert ({"401", "403", "429"} <= statuses) is may_need_one, name
        assert operation.get("security", []) == ([{}, {"bearer": []}, {"cookie": []}] if may_need_one else []), name


def test_responses_with_retry_after_document_it(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, response in responses(document, operation):
            if status == "429":
                assert "Retry-After" in response["headers"], name


def test_every_kind_of_a_requests_problem_is_listed_somewhere(document: dict[str, Any]) -> None:
    listed = {
        example["value"]["type"]
        for _, operation in operations(document)
        for _, response in responses(document, operation)
        for media in response.get("content", {}).values()
        for example in (media.get("examples") or {}).values()
        if isinstance(example.get("value"), dict) and "type" in example["value"]
    }
    of_jobs_and_protocol = {
        ProblemKind.WORKER_LOST,
        ProblemKind.JOB_TIMEOUT,
        ProblemKind.OUT_OF_MEMORY,
        ProblemKind.TUNING_DIVERGED,
        ProblemKind.TRAINING_DIVERGED,
        ProblemKind.METHOD_NOT_ALLOWED,
    }
    assert {kind.type for kind in ProblemKind} - listed == {kind.type for kind in of_jobs_and_protocol}


def test_examples_of_quantizations_are_requests_of_their_own(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/models/{model_id}/quantizations"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 4
    for name, example in examples.items():
        assert example["summary"], name
        request = QuantizationRequest.model_validate(example["value"])
        validate_quantization_options(request)
        validate_settings(request, Settings(_env_file=None))


def test_examples_of_translators_are_requests_of_their_own(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/translators"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 3
    requests: TypeAdapter[TranslatorTraining | UploadedGenerators] = TypeAdapter(TranslatorRequest)
    for name, example in examples.items():
        assert example["summary"], name
        request = requests.validate_python(example["value"])
        assert request.model_dump(exclude_unset=True, mode="json") == example["value"]
        if isinstance(request, TranslatorTraining):
            validate_translator_options(request)


def test_examples_of_evaluations_are_requests_of_their_own(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/evaluations"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 3
    for name, example in examples.items():
        assert example["summary"], name
        request = EvaluationRequest.model_validate(example["value"])
        assert request.model_dump(exclude_unset=True, mode="json") == example["value"]
        validate_classifier(request)


def test_evaluations_can_be_used_from_the_page_alone(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/evaluations"]["post"]["description"]
    for word in ("curl", "*Density*", "*Coverage*", "*Precision*", "*recall*", "`expected`", "`subsample`"):
        assert word in described
    samples = document["paths"]["/v1/evaluations/{evaluation_id}/samples"]["get"]
    assert "files/outside.png" in samples["description"]
    schema = document["components"]["schemas"]["Job"]["properties"]["specification"]
    specifications = [part["$ref"].rsplit("/", 1)[1] for part in schema["oneOf"]]
    assert specifications == ["QuantizationJob", "EvaluationJob", "ExplanationJob", "AnalysisJob", "TranslationJob"]


def test_examples_of_explanations_are_requests_of_their_own(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/models/{model_id}/explanations"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert len(examples) >= 3
    for name, example in examples.items():
        assert example["summary"], name
        request = ExplanationRequest.model_validate(example["value"])
        assert request.model_dump(exclude_unset=True, mode="json") == example["value"]
        validate_explanation_options(request)


def test_explanations_can_be_used_from_the_page_alone(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/models/{model_id}/explanations"]["post"]["description"]
    for word in ("curl", "`concepts`", "`text_pairs`", "`derived_concepts`", "IoU", "`ceiling`", "`optimal`"):
        assert word in described
    image = document["paths"]["/v1/explanations/{explanation_id}/units/{unit}/image"]["get"]
    assert list(image["responses"]["200"]["content"]) == ["image/png"]
    units = document["paths"]["/v1/explanations/{explanation_id}/units"]["get"]
    (sort,) = [parameter for parameter in units["parameters"] if parameter["name"] == "sort"]
    words = sort.get("description") or sort["schema"]["description"]
    assert all(f"`{name}`" in words for name in SORTED_BY)


def test_there_is_an_example_of_every_kind_of_analysis(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/explanations/{explanation_id}/analyses"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert set(body["examples"]) == set(body["schema"]["discriminator"]["mapping"])
    for name, example in body["examples"].items():
        assert example["summary"], name
        request = TypeAdapter[AnalysisRequest](AnalysisRequest).validate_python(example["value"])
        assert request.kind == name
        assert request.model_dump(exclude_unset=True, mode="json") == example["value"]
        validate_analysis_options(request)
    assert all(f"**`{name}`**" in operation["description"] for name in body["examples"])
    assert "curl" in operation["description"]


def test_events_show_a_job_that_trains(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/jobs/{job_id}/events"]["get"]
    events = operation["responses"]["200"]["content"]["text/event-stream"]["example"].split("\n\n")
    (progress,) = [event for event in events if "event: progress" in event]
    shown = Progress.model_validate_json(progress.partition("data: ")[2])
    assert shown.training is not None
    assert shown.training.losses
    assert shown.eta_seconds


def test_finishing_a_job_is_described(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/jobs/{job_id}/finish"]["post"]
    assert {"200", "202"} <= set(operation["responses"])
    assert "best" in operation["description"]
    assert operation["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/Job")


def test_creating_posts_take_an_idempotency_key(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        keys = [parameter["name"] for parameter in operation.get("parameters", [])]
        acts = name.endswith(("/predict", "/translate", "/cancel", "/finish", "/load", "/unload", "/check", "/session"))
        creates = name.startswith("POST /v1") and not acts
        assert ("Idempotency-Key" in keys) is creates, name


def test_uploads_show_a_full_example_of_metadata(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/models"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert body["schema"]["properties"]["file"]["format"] == "binary"
    assert set(body["schema"]["properties"]["metadata"]["example"]) == {"task", "preprocessing", "labels"}


def test_the_page_fetches_nothing_from_elsewhere(shared_api: httpx.Client) -> None:
    page = shared_api.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 2
    for source in sources:
        assert source.startswith("/docs/"), source
        assert shared_api.get(source).status_code == 200
    assert "http://" not in page
    assert "https://" not in page


def test_operation_ids_are_verb_and_noun(document: dict[str, Any]) -> None:
    ids = {operation["operationId"] for _, operation in operations(document)}
    assert {
        "add_model",
        "predict",
        "add_quantization",
        "add_evaluation",
        "add_explanation",
        "add_analysis",
        "follow_job",
    } <= ids
    assert len(ids) == len(list(operations(document)))


def test_retry_after_is_documented_only_where_it_is_sent(document: dict[str, Any]) -> None:
    promised = {
        (name, status)
        for name, operation in operations(document)
        for status, response in operation["responses"].items()
        if "Retry-After" in response.get("headers", {})
    }
    assert ("POST /v1/models", "409") in promised
    assert ("DELETE /v1/jobs/{job_id}", "409") not in promised
    assert ("DELETE /v1/models/{model_id}", "409") not in promised
