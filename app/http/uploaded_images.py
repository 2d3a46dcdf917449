"""Images that come with a request: as a form's files, or as the body itself."""

from dataclasses import dataclass

from fastapi import Request

from app.http.forms import MEDIA_TYPE as FORM
from app.http.forms import read_form
from faceter.contracts.settings import Settings


@dataclass(frozen=True)
class UploadedImage:
    """An image file that was sent."""

    name: str
    """What to call it in an error."""
    content: bytes
    """The file."""
    field: str | None = None
    """Where it is in the request."""


async def uploaded_images(request: Request, settings: Settings) -> list[UploadedImage] | None:
    """Return the images of a request; None if its body is neither a form nor an image by its type.

    Args:
        request: Its body has not been read.
        settings: `max_batch` limits the files of a form.

    Raises:
        FaceterError: See `read_form`.
    """
    content_type = media_type_of(request)
    if content_type.startswith("image/"):
        return [UploadedImage("the body", await request.body())]
    if content_type != FORM:
        return None
    async with read_form(request, settings, files=("file",), fields=(), most_files=settings.max_batch) as form:
        files = form.files.get("file", [])
        return [
            UploadedImage(
                file.filename or f"image {number}",
                await file.read(),
                "file" if len(files) == 1 else f"file.{number - 1}",
            )
            for number, file in enumerate(files, start=1)
        ]


def media_type_of(request: Request) -> str:
    """Return the media type of a request's body, in lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
