"""Faceter cuts, inspects and grades neural networks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceter.client import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the client when it is first asked for; the service does not need it."""
    if name in ("AsyncClient", "Client"):
        from faceter import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "AsyncClient", "Client"]
