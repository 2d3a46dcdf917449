"""The OpenAPI document and its page, which loads nothing from other hosts."""

import json
import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_standalone_docs import StandaloneDocs

from app.http.access_responses import add_access
from app.http.openapi_schemas import tighten
from app.services.inference_protocol.contracts import (
    InferRequest,
    InferResponse,
    ProtocolFailure,
    RepositoryCommand,
    RepositoryQuery,
)
from faceter.contracts.errors import FieldProblem, Problem
from faceter.contracts.models import ModelMetadata
from faceter.contracts.predictions import TensorInputs, TextInputs

_SCHEMAS: Final = "#/components/schemas/{model}"
_NAMED_ELSEWHERE: Final = (
    Problem,
    FieldProblem,
    ModelMetadata,
    TensorInputs,
    TextInputs,
    InferRequest,
    InferResponse,
    ProtocolFailure,
    RepositoryCommand,
    RepositoryQuery,
)
_PAGE_SCHEMA: Final = re.compile(r"\bPage_(\w+?)_(?=\W)")
_FASTAPIS_OWN: Final = ("HTTPValidationError", "ValidationError")

DESCRIPTION: Final = """
Faceter is a REST service for neural networks in ONNX format. It quantizes models without training data and serves
them, explains the units of a network as formulas over concepts, grades the samples of generative models, and
translates images between two domains.

**Typical requests**

1. `POST /v1/models` with the ONNX file and `metadata`: the preprocessing of images and the names of the classes.
2. `POST /v1/models/{id}/predict` with an image.
3. `POST /v1/models/{id}/quantizations` with bits and minutes, or with a target. The response is `202` and a job.
4. `GET /v1/jobs/{id}` (or `/events`, live) until the job has succeeded. `links.result` is the quantized model; its
   `quantization` is the report on quality, size, energy and latency.
5. `GET /v1/models/{id}/content` downloads the quantized model; `predict` runs it.
6. `POST /v1/evaluations` with two datasets (`POST /v1/datasets`), real and generated, measures fidelity and diversity
   of the generated samples. `GET /v1/evaluations/{id}` has the values, `…/samples` the samples to inspect.
7. `POST /v1/models/{id}/explanations` with a dataset of labelled images, signals or sentence pairs explains the units
   of a layer. `GET /v1/explanations/{id}/units` has the formulas, `…/units/{unit}/image` shows them.
8. `POST /v1/explanations/{id}/analyses` analyses these formulas: kinds of abstraction, correlation with accuracy,
   copy-paste edits that change predictions, drift of units in quantized models.
9. `POST /v1/translators` with a dataset of two domains (`A/`, `B/`) trains a translator; `…/samples` shows progress.
   `POST /v1/translators/{id}/translate` with an image returns the image in the other domain.

**Conventions**

- Lists are `{"items": […], "next_cursor": …}`, newest first; pass `next_cursor` as `?cursor=`.
- Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents, `application/problem+json`: `type`
  is stable and links to a page, `detail` says how to fix the error, `errors` lists the invalid fields.
  [All kinds](/problems). Errors of `/v2` have the form of that protocol, `{"error": …}`.
- With an `Idempotency-Key`, a POST that creates a resource can be repeated safely.
- Times are RFC 3339 in UTC. Every response has an `X-Request-ID` and a `traceparent`, which are also in the
  logs.
- Where the service needs API keys, a program sends its key as `Authorization: Bearer`. Then any operation may
  respond `401`, `403` or `429`; `431` means that the header of a request is too large.
- `429` and `503` responses have a `Retry-After` header.
"""

TAGS: Final[list[dict[str, Any]]] = [
    {"name": "models", "description": "ONNX models: upload, list, inspect, download, delete."},
    {"name": "predict", "description": "Run a model on images, texts or tensors."},
    {
        "name": "open inference protocol",
        "description": "Run models by the Open Inference Protocol, version 2, with the clients of KServe and Triton.",
    },
    {"name": "quantizations", "description": "Quantize models without training data."},
    {
        "name": "datasets",
        "description": "Datasets for calibration, evaluation, explanation and training; synthetic inputs.",
    },
    {"name": "evaluations", "description": "Grade samples of generative models, inspect samples, compare evaluations."},
    {"name": "explanations", "description": "Explain the units of a network as formulas over concepts."},
    {
        "name": "analyses",
        "description": "Analyse explanations: abstractions, interpretability, copy-paste edits, drift.",
    },
    {"name": "translators", "description": "Train translators between two image domains, and translate images."},
    {"name": "jobs", "description": "Long-running work: follow, cancel, finish early, run again."},
    {"name": "operations", "description": "Health, readiness and monitoring."},
    {"name": "problems", "description": "Kinds of errors and their meaning."},
]


def install(app: FastAPI) -> None:
    """Set the OpenAPI document of ``app`` and serve the scripts of its page."""
    StandaloneDocs(app=app)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    summary=app.summary,
                    description=app.description,
                    routes=app.routes,
                    tags=TAGS,
                    license_info=app.license_info,
                    separate_input_output_schemas=False,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the schemas that routes reference by hand, and without FastAPI's unused ones."""
    document = _with_public_names(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for contract in _NAMED_ELSEWHERE:
        schema = contract.model_json_schema(ref_template=_SCHEMAS)
        for name, part in schema.pop("$defs", {}).items():
            schemas.setdefault(name, part)
        schemas.setdefault(contract.__name__, schema)
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"] = {
                status: response
                for status, response in operation["responses"].items()
                if not _is_fastapis_own(response)
            }
    tighten(document)
    add_access(document)
    return document


def _with_public_names(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with pages named after their items: `ModelPage` instead of `Page_ModelSummary_`."""
    text = json.dumps(document)
    named: dict[str, Any] = json.loads(_PAGE_SCHEMA.sub(lambda match: f"{match[1].removesuffix('Summary')}Page", text))
    for name, schema in named["components"]["schemas"].items():
        if name.endswith("Page"):
            schema["title"] = name
    return named


def _is_fastapis_own(response: dict[str, Any]) -> bool:
    """Return whether this is the 422 that FastAPI adds to operations with parameters but never sends."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith(_FASTAPIS_OWN)
