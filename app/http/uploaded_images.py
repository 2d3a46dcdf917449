"""Uploaded images: files of a form, or the body itself."""

from fastapi import Request

from app.http.forms import MEDIA_TYPE as FORM
from app.http.forms import read_form
from app.services.images import UploadedImage
from faceter.contracts.settings import Settings


async def uploaded_images(request: Request, settings: Settings) -> list[UploadedImage] | None:
    """Return the images of a request; None if its media type is neither a form nor an image.

    Args:
        request: Its body has not been read.
        settings: `max_batch` is the maximum number of files.

    Raises:
        FaceterError: See `read_form`.
    """
    content_type = media_type_of(request)
    if content_type.startswith("image/"):
        return [UploadedImage("the body", await request.body())]
    if content_type != FORM:
        return None
    async with read_form(request, settings, files=("file",), fields=(), max_files=settings.max_batch) as form:
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
    """Return the media type of a request's body in lower case, without parameters."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
