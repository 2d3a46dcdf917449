"""All errors, as RFC 9457 problem documents.

An error is raised once, where the cause is known, with a message that says how to fix it. The API turns it into
a response, a worker stores it with its job; both give the same document.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True)
class _Kind:
    slug: str
    status: int
    title: str


class ProblemKind(Enum):
    """The kinds of problem, stable over versions: slug (the end of ``type``), HTTP status, title."""

    INVALID_REQUEST = _Kind("invalid-request", 422, "The request has missing or invalid fields")
    MALFORMED_BODY = _Kind("malformed-body", 400, "The request body cannot be read")
    NOT_FOUND = _Kind("not-found", 404, "There is no such resource")
    METHOD_NOT_ALLOWED = _Kind("method-not-allowed", 405, "This URL does not support that method")
    NOT_ACCEPTABLE = _Kind("not-acceptable", 406, "The response is not available in the requested format")
    UNSUPPORTED_MEDIA_TYPE = _Kind("unsupported-media-type", 415, "This URL does not accept that media type")
    PAYLOAD_TOO_LARGE = _Kind("payload-too-large", 413, "The body is larger than this server allows")
    RANGE_NOT_SATISFIABLE = _Kind("range-not-satisfiable", 416, "The requested range lies outside the file")
    UNAUTHENTICATED = _Kind("unauthenticated", 401, "The request has no valid API key")
    FORBIDDEN = _Kind("forbidden", 403, "The request is not allowed")
    QUOTA_EXCEEDED = _Kind("quota-exceeded", 403, "The tenant's quota is used up")
    RATE_LIMITED = _Kind("rate-limited", 429, "The API key has sent too many requests")
    HEADERS_TOO_LARGE = _Kind("headers-too-large", 431, "The header of the request is larger than this server allows")
    IDEMPOTENCY_KEY_INVALID = _Kind("idempotency-key-invalid", 400, "The Idempotency-Key cannot be used")
    IDEMPOTENCY_MISMATCH = _Kind("idempotency-key-reused", 422, "The Idempotency-Key was used for another request")
    IDEMPOTENCY_IN_PROGRESS = _Kind("idempotency-key-in-progress", 409, "The first request is still in progress")
    RESOURCE_IN_USE = _Kind("resource-in-use", 409, "The resource is in use")
    JOB_ENDED = _Kind("job-ended", 409, "The job has already ended")
    JOB_NOT_ENDED = _Kind("job-not-ended", 409, "The job has not ended yet")

    NOT_READY = _Kind("not-ready", 409, "The resource is not ready yet")

    INVALID_MODEL = _Kind("invalid-model", 422, "The file is not a usable ONNX model")
    EXTERNAL_DATA = _Kind("external-data", 422, "The model stores weights outside its file")
    CUSTOM_OPERATORS = _Kind("custom-operators", 422, "The model uses operators that are not standard ONNX")
    UNSUPPORTED_OPSET = _Kind("unsupported-opset", 422, "The model's opset is not supported")
    MODEL_NOT_RUNNABLE = _Kind("model-not-runnable", 422, "ONNX Runtime cannot run the model")
    UNSUPPORTED_OPERATOR = _Kind("unsupported-operator", 422, "An operator of the model is not supported by this job")
    INVALID_METADATA = _Kind("invalid-metadata", 422, "The metadata cannot be used")
    METADATA_MISMATCH = _Kind("metadata-mismatch", 422, "The metadata contradicts the model")
    INVALID_TOKENIZER = _Kind("invalid-tokenizer", 422, "The file is not a usable tokenizer")
    ALREADY_QUANTIZED = _Kind("already-quantized", 422, "The model is already quantized")
    NOTHING_TO_QUANTIZE = _Kind("nothing-to-quantize", 422, "The model has no layer that can be quantized")

    METHOD_NOT_APPLICABLE = _Kind("method-not-applicable", 422, "The method does not work for this model")

    INVALID_ARCHIVE = _Kind("invalid-archive", 422, "The file is not a usable zip archive")
    UNSAFE_ARCHIVE = _Kind("unsafe-archive", 422, "The archive has an entry that is not allowed")
    ARCHIVE_TOO_LARGE = _Kind("archive-too-large", 422, "The archive unpacks to more than this server allows")
    INVALID_DATASET = _Kind("invalid-dataset", 422, "The dataset does not have the format of its kind")
    WRONG_DATASET_KIND = _Kind("wrong-dataset-kind", 422, "The dataset is of the wrong kind for this request")
    DATASET_MISMATCH = _Kind("dataset-mismatch", 422, "The dataset does not fit the model")
    INVALID_IMAGE = _Kind("invalid-image", 422, "The image cannot be read")
    IMAGE_TOO_LARGE = _Kind("image-too-large", 422, "The image has more pixels than this server allows")
    INVALID_INPUT = _Kind("invalid-input", 422, "The input does not fit the model")
    INFERENCE_FAILED = _Kind("inference-failed", 422, "The model failed on this input")

    STORE_UNAVAILABLE = _Kind("store-unavailable", 503, "The store cannot be reached")
    STORAGE_FULL = _Kind("storage-full", 507, "There is no storage space left")
    BLOB_MISSING = _Kind("blob-missing", 500, "A stored file is missing")
    TOO_MANY_REQUESTS = _Kind("too-many-requests", 429, "Too many requests for this model are waiting")
    DEADLINE_EXCEEDED = _Kind("deadline-exceeded", 504, "The request was not finished within its time limit")
    OVERLOADED = _Kind("overloaded", 503, "The server is overloaded")
    WORKER_LOST = _Kind("worker-lost", 500, "The worker died while doing this job")
    JOB_TIMEOUT = _Kind("job-timeout", 500, "The job took longer than this server allows")
    TUNING_DIVERGED = _Kind("tuning-diverged", 500, "Tuning diverged")
    TRAINING_DIVERGED = _Kind("training-diverged", 500, "Training diverged")
    OUT_OF_MEMORY = _Kind("out-of-memory", 500, "There was not enough memory for this job")
    INTERNAL_ERROR = _Kind("internal-error", 500, "Internal server error")

    @property
    def type(self) -> str:
        """The stable ``type`` URI reference; this server has a page at that path."""
        return f"/problems/{self.value.slug}"

    @property
    def status(self) -> int:
        """The HTTP status of this kind."""
        return self.value.status

    @property
    def title(self) -> str:
        """Short summary, the same for every occurrence."""
        return self.value.title


class FieldProblem(BaseModel):
    """Error of one field of a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str = Field(examples=["metadata.preprocessing.size"])
    """Path of the field, as in the request."""
    message: str = Field(examples=["Input should be greater than 0"])
    """What is wrong with the field."""


class Problem(BaseModel):
    """An RFC 9457 problem document (`application/problem+json`)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str = Field(examples=["/problems/invalid-model"])
    """Stable identifier of the kind of problem, a URI reference."""
    title: str = Field(examples=["The file is not a usable ONNX model"])
    """Short summary of the kind of problem."""
    status: int = Field(examples=[422])
    """HTTP status code."""
    detail: str = Field(examples=["The file is empty. Upload the .onnx file itself."])
    """What happened, and how to fix it."""
    instance: str | None = Field(default=None, examples=["/v1/models"])
    """Path of the request that failed."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """The invalid fields, if any."""


class FaceterError(Exception):
    """An error with a kind, a message that says how to fix it and, if a field is invalid, its path.

    Args:
        kind: Kind of problem.
        detail: One or two sentences: what happened, and how to fix it.
        field: Path of the invalid field, such as ``metadata.labels``.
        errors: Several invalid fields; overrides ``field``.
        retry_after: Seconds after which to retry; sent as the ``Retry-After`` header.
        **extra: Extension members of the document, JSON values only.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        field: str | None = None,
        errors: list[FieldProblem] | None = None,
        retry_after: int | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = errors or ([FieldProblem(field=field, message=detail)] if field else [])
        self.retry_after = retry_after
        self.extra = extra

    def at(self, field: str) -> "FaceterError":
        """Return this error with ``field`` as invalid field. Unchanged if it has fields or its status is not 422."""
        if self.errors or self.kind.status != ProblemKind.INVALID_REQUEST.status:
            return self
        return FaceterError(self.kind, self.detail, field=field, retry_after=self.retry_after, **self.extra)

    def problem(self, instance: str | None = None) -> Problem:
        """Return the problem document for this error."""
        return Problem(
            type=self.kind.type,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors,
            **self.extra,
        )
