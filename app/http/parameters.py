"""Parameters and documented problems shared by routes."""

from typing import Annotated, Final

from fastapi import Path
from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.errors import ProblemKind

ANYWHERE: Final = (ProblemKind.STORE_UNAVAILABLE, ProblemKind.INTERNAL_ERROR)
"""Problems of every operation that uses the store."""

CREATING: Final = (
    ProblemKind.IDEMPOTENCY_KEY_INVALID,
    ProblemKind.IDEMPOTENCY_MISMATCH,
    ProblemKind.IDEMPOTENCY_IN_PROGRESS,
    ProblemKind.PAYLOAD_TOO_LARGE,
    ProblemKind.STORAGE_FULL,
)
"""Problems of every POST that creates a resource."""

DELETING: Final = (ProblemKind.RESOURCE_IN_USE, ProblemKind.OVERLOADED, ProblemKind.STORAGE_FULL)
"""Problems of every DELETE of a resource that a job may use."""

DOWNLOADING: Final = (ProblemKind.NOT_FOUND, ProblemKind.RANGE_NOT_SATISFIABLE, *ANYWHERE, ProblemKind.BLOB_MISSING)
"""Problems of every download."""

UPLOADING: Final = (
    ProblemKind.MALFORMED_BODY,
    ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    ProblemKind.INVALID_REQUEST,
)
"""Problems of every upload."""

ModelId = Annotated[str, Path(description="Id of the model.", examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])]
FileName = Annotated[
    str,
    Path(description="Name of the file, a key of `files` of the record.", examples=["curves.png"]),
]
DatasetId = Annotated[str, Path(description="Id of the dataset.", examples=["dts_4x8k2m9q0v7r3t6w1y5z"])]
EvaluationId = Annotated[str, Path(description="Id of the evaluation.", examples=["evl_4x8k2m9q0v7r3t6w1y5z"])]
ExplanationId = Annotated[str, Path(description="Id of the explanation.", examples=["exp_4x8k2m9q0v7r3t6w1y5z"])]
TranslatorId = Annotated[str, Path(description="Id of the translator.", examples=["trl_4x8k2m9q0v7r3t6w1y5z"])]
UnitNumber = Annotated[
    int, Path(ge=0, description="Index of the unit along the second axis of the layer's tensor, from 0.", examples=[17])
]
JobId = Annotated[str, Path(description="Id of the job.", examples=["job_4x8k2m9q0v7r3t6w1y5z"])]

LOCATION: Final = {"Location": {"description": "URL of the new resource.", "schema": {"type": "string"}}}
"""Header of responses that created a resource, for the OpenAPI document."""


class Paging(Contract):
    """Page of a list."""

    limit: int = Field(default=20, ge=1, le=1000, examples=[20])
    """Maximum number of items in the page."""
    cursor: str | None = Field(default=None, examples=["WzE3NjQwNjMwMDAwMDAsIm1kbF8xIl0"])
    """`next_cursor` of the previous page; by default the first page, with the newest items."""
