"""The `metadata` field of a model upload."""

from pydantic import ValidationError

from app.http.problems import field_problems, invalid_request
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.models import ModelMetadata


def parse_metadata(text: str | None) -> ModelMetadata:
    """Parse the field `metadata`.

    Args:
        text: JSON; None for default metadata.

    Raises:
        FaceterError: `INVALID_METADATA`, with the path of each invalid field, beginning with `metadata`.
    """
    if text is None:
        return ModelMetadata()
    try:
        document = read_json(text)
    except NotJsonError as error:
        raise FaceterError(
            ProblemKind.INVALID_METADATA, f"The metadata is not JSON: {error}.", field="metadata"
        ) from error
    try:
        return ModelMetadata.model_validate(document)
    except ValidationError as error:
        raise invalid_request(
            field_problems([dict(item) for item in error.errors()], "metadata"), ProblemKind.INVALID_METADATA
        ) from error
