"""Which of two media types a client would rather have."""

from faceter.contracts.accept import accepted


def prefers(accept: str, media_type: str, default: str) -> bool:
    """Return whether an `Accept` header asks for ``media_type`` more than for ``default``.

    Args:
        accept: The header; empty accepts everything.
        media_type: Such as `image/png`.
        default: What is answered where neither is asked for more.
    """
    return accepted(accept, media_type)[0] > accepted(accept, default)[0]
