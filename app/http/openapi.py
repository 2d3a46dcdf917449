"""The OpenAPI document and the page that shows it, with nothing fetched from elsewhere."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_standalone_docs import StandaloneDocs

from faceter.contracts.errors import FieldProblem, Problem
from faceter.contracts.models import ModelMetadata
from faceter.contracts.predictions import TensorInputs

_SCHEMAS: Final = "#/components/schemas/{model}"
_NAMED_ELSEWHERE: Final = (Problem, FieldProblem, ModelMetadata, TensorInputs)
_FASTAPIS_OWN: Final = ("HTTPValidationError", "ValidationError")

DESCRIPTION: Final = """
Faceter cuts, inspects and grades neural networks. Upload a trained ONNX model, quantize it without its training data,
serve either over REST, grade what generative models produce, learn what units of a network detect, and translate
images from one domain to another.

**A first tour**

1. `POST /v1/models` with the ONNX file and, as `metadata`, how images become its input and the names of its classes.
2. `POST /v1/models/{id}/predict` with an image.
3. `POST /v1/models/{id}/quantizations` with bits and minutes, or a target; it answers `202` and a job.
4. `GET /v1/jobs/{id}` (or `/events`, live) until the job has succeeded; `result.model_id` is the quantized model, whose
   `quantization` says what it lost and gained.
5. `GET /v1/models/{id}/content` downloads it; `predict` serves it.
6. `POST /v1/evaluations` with two datasets (`POST /v1/datasets`), real and generated, grades the generated one: how
   faithful its samples are, and how diverse. `GET /v1/evaluations/{id}` has the values, `…/samples` what is wrong.
7. `POST /v1/models/{id}/explanations` with a dataset of labelled images, signals or sentences says what each unit of
   a layer detects. `GET /v1/explanations/{id}/units` has the formulas, `…/units/{unit}/image` shows them.
8. `POST /v1/explanations/{id}/analyses` says what to make of that: what kinds of formulas there are, whether they go
   with being right, whether they foretell what the model answers, what became of units in a quantized model.
9. `POST /v1/translators` with a dataset of two domains (`A/`, `B/`) trains a translator; `…/samples` shows it while it
   learns. `POST /v1/translators/{id}/translate` with an image answers that image in the other domain.

**Conventions**

- Lists answer `{"items": […], "next_cursor": …}`, newest first; pass `next_cursor` as `?cursor=`.
- Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents, `application/problem+json`: `type` is
  stable and leads to a page, `detail` says what to do, `errors` names the fields at fault. [All kinds](/problems).
- `Idempotency-Key` on a POST that creates makes it safe to send again.
- Times are RFC 3339 in UTC. Every answer has an `X-Request-ID`, which the logs know too.
- `503` comes with `Retry-After`.
"""

TAGS: Final[list[dict[str, Any]]] = [
    {"name": "models", "description": "ONNX models: upload, list, look into, download, delete."},
    {"name": "predict", "description": "Run a model on images or tensors."},
    {"name": "quantizations", "description": "Make a smaller, faster model of a model, without its training data."},
    {"name": "datasets", "description": "Datasets to calibrate and to evaluate with, and those made without data."},
    {"name": "evaluations", "description": "Grade what generative models produce, look at samples, compare runs."},
    {"name": "explanations", "description": "Say what units of a network detect, as formulas over concepts."},
    {"name": "analyses", "description": "Say what formulas of units are worth: kinds, accuracy, use, drift."},
    {"name": "translators", "description": "Train translators of images between two domains, and translate."},
    {"name": "jobs", "description": "Long work: follow, cancel, do again."},
    {"name": "operations", "description": "For those who keep the service running."},
    {"name": "problems", "description": "What each error means."},
]


def install(app: FastAPI) -> None:
    """Give ``app`` its OpenAPI document and serve the page's own scripts."""
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
    """Return the document with the schemas that are named by hand, and without those nobody answers with."""
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
                status: answer for status, answer in operation["responses"].items() if not _is_fastapis_own(answer)
            }
    return document


def _is_fastapis_own(answer: dict[str, Any]) -> bool:
    """Whether this is the 422 FastAPI adds to every operation with a parameter, in a form that is never answered."""
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith(_FASTAPIS_OWN)
