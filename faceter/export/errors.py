"""The error of an export."""


class ExportError(RuntimeError):
    """The module cannot be exported; the message gives the reason and the remedy."""
