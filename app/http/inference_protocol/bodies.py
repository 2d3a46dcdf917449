"""OpenAPI descriptions of the protocol's bodies, which FastAPI cannot derive."""

from typing import Any, Final

from app.http.inference_protocol.errors import documented_failures
from app.http.inference_protocol.messages import BINARY, HEADER_LENGTH
from app.http.responses import JSON
from faceter.contracts.errors import ProblemKind

_BYTES: Final = {"type": "string", "contentMediaType": BINARY, "format": "binary"}
_HEADER_LENGTH: Final = {
    "description": "Size of the JSON at the begin of the body, if binary tensors follow it.",
    "schema": {"type": "integer", "minimum": 0},
    "example": 185,
}

INFER_BODY: Final[dict[str, Any]] = {
    "parameters": [{"name": HEADER_LENGTH, "in": "header", "required": False, **_HEADER_LENGTH}],
    "requestBody": {
        "required": True,
        "description": "Tensors as JSON, or as JSON followed by their bytes.",
        "content": {
            JSON: {
                "schema": {"$ref": "#/components/schemas/InferRequest"},
                "examples": {
                    "image": {
                        "summary": "One input, [1, 1, 2, 2]",
                        "value": {
                            "id": "42",
                            "inputs": [
                                {
                                    "name": "image",
                                    "datatype": "FP32",
                                    "shape": [1, 1, 2, 2],
                                    "data": [0.0, 0.5, 0.5, 1.0],
                                }
                            ],
                        },
                    },
                    "ids of text pairs": {
                        "summary": "Two inputs of token ids, and the output that is asked for",
                        "value": {
                            "inputs": [
                                {"name": "premise", "datatype": "INT64", "shape": [1, 4], "data": [4, 12, 7, 0]},
                                {"name": "hypothesis", "datatype": "INT64", "shape": [1, 4], "data": [4, 9, 0, 0]},
                            ],
                            "outputs": [{"name": "logits"}],
                        },
                    },
                },
            },
            BINARY: {
                "schema": {
                    **_BYTES,
                    "description": "The JSON, with `binary_data_size` among the `parameters` of inputs and no `data`, "
                    "followed by the little-endian bytes of these inputs in their order.",
                }
            },
        },
    },
}

INFER_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The outputs.",
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/InferResponse"}},
            BINARY: {
                "schema": {**_BYTES, "description": "The JSON, followed by the bytes of binary outputs in their order."}
            },
        },
        "headers": {HEADER_LENGTH: _HEADER_LENGTH},
    },
    **documented_failures(
        ProblemKind.MALFORMED_BODY,
        ProblemKind.INVALID_REQUEST,
        ProblemKind.INVALID_INPUT,
        ProblemKind.INFERENCE_FAILED,
        ProblemKind.MODEL_NOT_RUNNABLE,
        ProblemKind.NOT_FOUND,
        ProblemKind.PAYLOAD_TOO_LARGE,
        ProblemKind.UNSUPPORTED_MEDIA_TYPE,
        ProblemKind.TOO_MANY_REQUESTS,
        ProblemKind.OVERLOADED,
        ProblemKind.DEADLINE_EXCEEDED,
        ProblemKind.STORE_UNAVAILABLE,
        ProblemKind.BLOB_MISSING,
        ProblemKind.INTERNAL_ERROR,
    ),
}


def optional_body(schema: str, example: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a JSON body that may be absent."""
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}}
    return {"requestBody": {"required": False, "content": content}}
