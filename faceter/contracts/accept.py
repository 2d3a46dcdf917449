"""What an `Accept` header asks for (RFC 9110, section 12.5.1)."""

from math import isnan


def accepted(accept: str, media_type: str) -> tuple[float, bool]:
    """Return how much a header asks for a media type.

    Args:
        accept: The header; empty accepts everything.
        media_type: Such as `image/png`.

    Returns:
        The quality, from 0 (not wanted) to 1, of the most specific range that fits, and whether that range names the
        type itself rather than by a wildcard. A quality that cannot be understood is 0.
    """
    qualities = dict(_range(text) for text in accept.split(",")) if accept.strip() else {"*/*": 1.0}
    main = media_type.partition("/")[0]
    for fits in (media_type, f"{main}/*", "*/*"):
        if fits in qualities:
            return qualities[fits], fits == media_type
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
