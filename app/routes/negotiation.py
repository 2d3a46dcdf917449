"""Which of two media types a client would rather have."""


def prefers(accept: str, media_type: str, default: str) -> bool:
    """Return whether an `Accept` header asks for ``media_type`` more than for ``default``.

    Args:
        accept: The header; empty accepts everything.
        media_type: Such as `image/png`.
        default: What is answered where neither is asked for more.
    """
    qualities = dict(_range(text) for text in accept.split(","))
    return _quality(qualities, media_type) > _quality(qualities, default)


def _range(text: str) -> tuple[str, float]:
    """Return a media range and its quality; 0 for one that cannot be understood."""
    media_range, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_range, float(parameter.removeprefix("q="))
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(qualities: dict[str, float], media_type: str) -> float:
    """Return the quality of the most specific range that fits."""
    main = media_type.partition("/")[0]
    found = (qualities[fits] for fits in (media_type, f"{main}/*", "*/*") if fits in qualities)
    return next(found, 0.0)
