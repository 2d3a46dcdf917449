"""Image files in a request."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadedImage:
    """An uploaded image file."""

    name: str
    """Name of the image in error messages."""
    content: bytes
    """Content of the file."""
    field: str | None = None
    """Field of the request, for errors."""
