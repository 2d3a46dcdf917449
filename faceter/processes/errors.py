"""Errors of starting the service."""


class SupervisorError(RuntimeError):
    """The service cannot be started; the message gives the reason and the remedy."""
