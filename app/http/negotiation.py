"""Content negotiation by the `Accept` header (RFC 9110, section 12.5.1)."""

from math import isnan

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.encoded_image import ImageFormat


def prefers(accept: str, media_type: str, default: str) -> bool:
    """Return whether an `Accept` header prefers ``media_type`` to ``default``.

    Args:
        accept: The header; empty accepts everything.
        media_type: A media type, such as `text/html`.
        default: The media type of the response unless the other is preferred.
    """
    preference = accepted(accept, media_type)
    return preference[0] > 0 and preference > accepted(accept, default)


def negotiated_format(accept: str) -> ImageFormat:
    """Return the image format that an `Accept` header prefers.

    Among formats of equal quality, explicit media types precede wildcards, then the order is PNG, JPEG, WebP. An empty
    header, ``image/*`` and ``*/*`` therefore give PNG.

    Args:
        accept: The header.

    Raises:
        FaceterError: `NOT_ACCEPTABLE` if it accepts none of the formats.
    """
    preferences = {item: accepted(accept, item.value) for item in ImageFormat}
    best = max(preferences, key=lambda item: preferences[item])
    if preferences[best][0] <= 0:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The Accept header {accept!r} accepts none of the available image formats: "
            f"{', '.join(ImageFormat)}. Accept one of them.",
        )
    return best


def accepted(accept: str, media_type: str) -> tuple[float, bool]:
    """Return the quality of a media type in an `Accept` header.

    Args:
        accept: The header; empty accepts everything.
        media_type: A media type, such as `image/png`.

    Returns:
        The quality, from 0 (not acceptable) to 1, of the most specific matching range, and whether that range is the
        type itself and not a wildcard. An invalid quality is 0.
    """
    qualities = dict(_range(text) for text in accept.split(",")) if accept.strip() else {"*/*": 1.0}
    main = media_type.partition("/")[0]
    for media_range in (media_type, f"{main}/*", "*/*"):
        if media_range in qualities:
            return qualities[media_range], media_range == media_type
    return 0.0, False


def _range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter.removeprefix("q="))
            except ValueError:
                return media_range, 0.0
            return media_range, 0.0 if isnan(quality) else min(max(quality, 0.0), 1.0)
    return media_range, 1.0
