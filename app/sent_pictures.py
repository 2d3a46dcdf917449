"""Pictures that come with a request: as a form's files, or as the body itself."""

from dataclasses import dataclass

from fastapi import Request

from app.forms import MEDIA_TYPE as FORM
from app.forms import read_form
from faceter.contracts.settings import Settings


@dataclass(frozen=True)
class Picture:
    """An image file that was sent."""

    name: str
    """What to call it in an error."""
    content: bytes
    """The file."""
    field: str | None = None
    """Where it is in the request."""


async def sent_pictures(request: Request, settings: Settings) -> list[Picture] | None:
    """Return the pictures of a request; None if its body is neither a form nor a picture by its type.

    Args:
        request: Its body has not been read.
        settings: `max_batch` limits the files of a form.

    Raises:
        FaceterError: See `read_form`.
    """
    content_type = media_type_of(request)
    if content_type.startswith("image/"):
        return [Picture("the body", await request.body())]
    if content_type != FORM:
        return None
    async with read_form(request, settings, files=("file",), fields=(), most_files=settings.max_batch) as form:
        files = form.files.get("file", [])
        return [
            Picture(
                file.filename or f"picture {number}",
                await file.read(),
                "file" if len(files) == 1 else f"file.{number - 1}",
            )
            for number, file in enumerate(files, start=1)
        ]


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, in lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
