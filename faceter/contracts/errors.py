"""Everything that can go wrong, as RFC 9457 problem documents.

An error is raised once, where the fact is known, in words its reader can act on. The front end turns it into
a response, a worker stores it with its job; both show the same document.
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
    """The stable kinds of problem: slug (the end of ``type``), HTTP status, title."""

    INVALID_REQUEST = _Kind("invalid-request", 422, "The request has fields that are missing or wrong")
    MALFORMED_BODY = _Kind("malformed-body", 400, "The request body cannot be read")
    NOT_FOUND = _Kind("not-found", 404, "There is nothing here by that name")
    METHOD_NOT_ALLOWED = _Kind("method-not-allowed", 405, "This address does not take that method")
    NOT_ACCEPTABLE = _Kind("not-acceptable", 406, "The answer cannot be given in that format")
    UNSUPPORTED_MEDIA_TYPE = _Kind("unsupported-media-type", 415, "The body is of a type this address does not take")
    PAYLOAD_TOO_LARGE = _Kind("payload-too-large", 413, "The body is larger than this server allows")
    RANGE_NOT_SATISFIABLE = _Kind("range-not-satisfiable", 416, "The range asked for lies outside the file")
    IDEMPOTENCY_KEY_INVALID = _Kind("idempotency-key-invalid", 400, "The Idempotency-Key cannot be used")
    IDEMPOTENCY_MISMATCH = _Kind("idempotency-key-reused", 422, "The Idempotency-Key was used for another request")
    IDEMPOTENCY_IN_PROGRESS = _Kind("idempotency-key-in-progress", 409, "The first request is still going on")
    RESOURCE_IN_USE = _Kind("resource-in-use", 409, "Something still needs this")
    JOB_ENDED = _Kind("job-ended", 409, "The job has already ended")
    JOB_NOT_ENDED = _Kind("job-not-ended", 409, "The job has not ended yet")

    NOT_READY = _Kind("not-ready", 409, "It is not ready yet")

    INVALID_MODEL = _Kind("invalid-model", 422, "The file is not a usable ONNX model")
    EXTERNAL_DATA = _Kind("external-data", 422, "The model keeps weights outside its file")
    CUSTOM_OPERATORS = _Kind("custom-operators", 422, "The model uses operators that are not standard ONNX")
    UNSUPPORTED_OPSET = _Kind("unsupported-opset", 422, "The model's opset is not supported")
    MODEL_NOT_RUNNABLE = _Kind("model-not-runnable", 422, "ONNX Runtime cannot run the model")
    UNSUPPORTED_OPERATOR = _Kind("unsupported-operator", 422, "This work does not know one of the model's operators")
    INVALID_METADATA = _Kind("invalid-metadata", 422, "The metadata cannot be used")
    METADATA_MISMATCH = _Kind("metadata-mismatch", 422, "The metadata contradicts the model")
    ALREADY_QUANTIZED = _Kind("already-quantized", 422, "The model is already quantized")
    NOTHING_TO_QUANTIZE = _Kind("nothing-to-quantize", 422, "The model has no layer that can be quantized")

    METHOD_NOT_APPLICABLE = _Kind("method-not-applicable", 422, "The method does not work for this model")

    INVALID_ARCHIVE = _Kind("invalid-archive", 422, "The file is not a usable zip archive")
    UNSAFE_ARCHIVE = _Kind("unsafe-archive", 422, "The archive holds something that is not allowed")
    ARCHIVE_TOO_LARGE = _Kind("archive-too-large", 422, "The archive unpacks to more than this server allows")
    INVALID_DATASET = _Kind("invalid-dataset", 422, "The dataset does not have the form its kind asks for")
    WRONG_DATASET_KIND = _Kind("wrong-dataset-kind", 422, "The dataset is of another kind than this work needs")
    DATASET_MISMATCH = _Kind("dataset-mismatch", 422, "The dataset does not fit the model")
    INVALID_IMAGE = _Kind("invalid-image", 422, "The image cannot be read")
    IMAGE_TOO_LARGE = _Kind("image-too-large", 422, "The image has more pixels than this server allows")
    INVALID_INPUT = _Kind("invalid-input", 422, "The input does not fit the model")
    INFERENCE_FAILED = _Kind("inference-failed", 422, "The model failed on this input")

    STORE_UNAVAILABLE = _Kind("store-unavailable", 503, "The store cannot be reached")
    STORAGE_FULL = _Kind("storage-full", 507, "There is no room left to store this")
    BLOB_MISSING = _Kind("blob-missing", 500, "A stored file is gone")
    OVERLOADED = _Kind("overloaded", 503, "The server has too much to do at the moment")
    WORKER_LOST = _Kind("worker-lost", 500, "The worker died while doing this job")
    JOB_TIMEOUT = _Kind("job-timeout", 500, "The job took longer than this server allows")
    TUNING_DIVERGED = _Kind("tuning-diverged", 500, "Tuning diverged")
    TRAINING_DIVERGED = _Kind("training-diverged", 500, "Training diverged")
    OUT_OF_MEMORY = _Kind("out-of-memory", 500, "There was not enough memory for this job")
    INTERNAL_ERROR = _Kind("internal-error", 500, "Something went wrong on our side")

    @property
    def type(self) -> str:
        """The stable ``type`` URI reference, which this server also serves a page at."""
        return f"/problems/{self.value.slug}"

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return self.value.status

    @property
    def title(self) -> str:
        """A short summary, the same for every occurrence."""
        return self.value.title


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str = Field(examples=["metadata.preprocessing.size"])
    """Path of the field, as in the request."""
    message: str = Field(examples=["Input should be greater than 0"])
    """What is wrong with it."""


class Problem(BaseModel):
    """An RFC 9457 problem document (`application/problem+json`)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str = Field(examples=["/problems/invalid-model"])
    """Stable name of the kind of problem, a URI reference."""
    title: str = Field(examples=["The file is not a usable ONNX model"])
    """Short summary of the kind of problem."""
    status: int = Field(examples=[422])
    """The HTTP status."""
    detail: str = Field(examples=["The file is empty. Upload the .onnx file itself."])
    """What happened here, and what to do about it."""
    instance: str | None = Field(default=None, examples=["/v1/models"])
    """Where it happened."""
    errors: list[FieldProblem] = Field(default_factory=list)
    """The fields at fault, if any."""


class FaceterError(Exception):
    """A problem with a name, a sentence to act on and, where one field is at fault, its path.

    Args:
        kind: Which of the stable kinds it is.
        detail: One or two sentences: what happened, and what to do.
        field: Path of the field at fault, such as ``metadata.labels``.
        errors: Several fields at fault; overrides ``field``.
        retry_after: Seconds after which trying again makes sense; becomes the ``Retry-After`` header.
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
        """Return the same error with the field at fault, if it is one of the request and names none yet."""
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
