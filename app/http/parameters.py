"""What routes share: paging, ids, headers, answers."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Header, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from faceter.contracts.base import Contract
from faceter.contracts.errors import ProblemKind

ANYWHERE: Final = (ProblemKind.STORE_UNAVAILABLE, ProblemKind.INTERNAL_ERROR)
"""Problems of every operation that asks the store."""

CREATING: Final = (
    ProblemKind.IDEMPOTENCY_KEY_INVALID,
    ProblemKind.IDEMPOTENCY_MISMATCH,
    ProblemKind.IDEMPOTENCY_IN_PROGRESS,
    ProblemKind.PAYLOAD_TOO_LARGE,
    ProblemKind.STORAGE_FULL,
)
"""Problems of every POST that creates."""

DELETING: Final = (ProblemKind.RESOURCE_IN_USE, ProblemKind.OVERLOADED, ProblemKind.STORAGE_FULL)
"""Problems of every DELETE of something that a job may need."""

UPLOADING: Final = (
    ProblemKind.MALFORMED_BODY,
    ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    ProblemKind.INVALID_REQUEST,
)
"""Problems of every upload."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Any text of yours, such as a UUID. Sent again with the same request, it makes the server answer "
        "as it did the first time (with `Idempotency-Replayed: true`) and do nothing twice.",
        examples=["0b1e7d9c-4f0a-4b8e-9a53-2f6d1f0c7c11"],
    ),
]

ModelId = Annotated[str, Path(description="Id of the model.", examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])]
DatasetId = Annotated[str, Path(description="Id of the dataset.", examples=["dts_4x8k2m9q0v7r3t6w1y5z"])]
FileName = Annotated[
    str,
    Path(description="Name of the file, one of those in the record's `files`.", examples=["curves.png"]),
]
EvaluationId = Annotated[str, Path(description="Id of the evaluation.", examples=["evl_4x8k2m9q0v7r3t6w1y5z"])]
ExplanationId = Annotated[str, Path(description="Id of the explanation.", examples=["exp_4x8k2m9q0v7r3t6w1y5z"])]
AnalysisId = Annotated[str, Path(description="Id of the analysis.", examples=["anl_4x8k2m9q0v7r3t6w1y5z"])]
TranslatorId = Annotated[str, Path(description="Id of the translator.", examples=["trl_4x8k2m9q0v7r3t6w1y5z"])]
UnitNumber = Annotated[
    int, Path(ge=0, description="Position of the unit along the layer's second axis, from 0.", examples=[17])
]
JobId = Annotated[str, Path(description="Id of the job.", examples=["job_4x8k2m9q0v7r3t6w1y5z"])]

LOCATION: Final = {"Location": {"description": "Where to find it.", "schema": {"type": "string"}}}
"""The header of an answer that made something, for the OpenAPI page."""


class Paging(Contract):
    """Which page of a list."""

    limit: int = Field(default=20, ge=1, le=100, examples=[20])
    """Most items of the page."""
    cursor: str | None = Field(default=None, examples=["MTc2NDA2MzAwMDAwMDptZGxf"])
    """`next_cursor` of the page before; the newest items if not given."""


def answer(contract: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that carries a contract as JSON."""
    return Response(contract.model_dump_json(), status, headers, "application/json")
